//! Tokens as Envoy was seen to judge them.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use iako_proxy_config::{ClaimToHeader, JwtHeader, JwtRule, RouteMatch};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::{ConnectionInfo, HeaderList, Metadata};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

thread_local! {
    /// What all verifiers of a test remember, as those of a worker do.
    static MEMORY: RefCell<JwtMemory> = RefCell::default();
}

fn jwks(key_id: &str) -> String {
    let key = base64url::encode(SECRET.as_bytes());
    json!({"keys": [{"kty": "oct", "kid": key_id, "alg": "HS256", "k": key}]}).to_string()
}

fn token_by(secret: &str, key_id: &str, claims: &Value) -> String {
    let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

fn token(claims: &Value) -> String {
    token_by(SECRET, "k1", claims)
}

fn provider() -> JwtProvider {
    JwtProvider::new("me", Jwks::Inline(jwks("k1")))
}

fn by(name: &str) -> JwtRequirement {
    JwtRequirement::Provider { name: name.to_owned(), audiences: Vec::new() }
}

fn verifier(providers: &[(&str, JwtProvider)], requirement: JwtRequirement) -> JwtVerifier {
    let named = |(name, provider): &(&str, JwtProvider)| ((*name).to_owned(), provider.clone());
    JwtVerifier::compile(Arc::new(JwtAuthn {
        providers: providers.iter().map(named).collect(),
        rules: vec![JwtRule { matcher: RouteMatch::any(), requirement: Some(requirement) }],
        ..JwtAuthn::default()
    }))
}

fn ask(verifier: &JwtVerifier, target: &str, headers: &[(&str, &str)]) -> JwtDecision {
    ask_at(verifier, NOW, target, headers)
}

fn ask_at(verifier: &JwtVerifier, now: u64, target: &str, headers: &[(&str, &str)]) -> JwtDecision {
    let connection =
        ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap());
    let headers: HeaderList = headers.iter().copied().collect();
    let head = RequestHead {
        method: "GET",
        scheme: "http",
        authority: "a.test",
        path_and_query: target,
        headers: &headers,
    };
    let metadata = Metadata::default();
    let client = "10.0.0.9".parse().unwrap();
    let facts = RequestFacts {
        head,
        connection: &connection,
        metadata: &metadata,
        client,
        internal: false,
    };
    let now = UNIX_EPOCH + Duration::from_secs(now);
    MEMORY.with_borrow_mut(|memory| verifier.decide(&facts, None, now, memory))
}

fn bearer(verifier: &JwtVerifier, token: &str) -> JwtDecision {
    ask(verifier, "/m", &[("authorization", &format!("Bearer {token}"))])
}

fn refused(decision: JwtDecision) -> (u16, String) {
    match decision {
        JwtDecision::Refuse(refusal) => (refusal.status, refusal.rejection.to_string()),
        JwtDecision::Pass(_) => (200, String::new()),
        JwtDecision::Misnamed(misnamed) => panic!("{misnamed}"),
    }
}

fn passed(decision: JwtDecision) -> JwtChanges {
    match decision {
        JwtDecision::Pass(changes) => changes,
        refused @ (JwtDecision::Refuse(_) | JwtDecision::Misnamed(_)) => panic!("{refused:?}"),
    }
}

// Fact 15.
#[test]
fn tokens_are_refused_in_the_words_of_envoy() {
    let audience = JwtProvider { audiences: vec!["shop".to_owned()], ..provider() };
    let plain = verifier(&[("p", provider())], by("p"));
    let bound = verifier(&[("p", audience)], by("p"));
    let said = |verifier, claims: Value| refused(bearer(verifier, &token(&claims)));
    let ok = (200, String::new());
    assert_eq!(said(&plain, json!({"iss": "me", "exp": NOW + 10})), ok);
    assert_eq!(said(&plain, json!({"iss": "me", "exp": NOW - 50})), ok, "within the skew");
    assert_eq!(said(&plain, json!({"iss": "me", "exp": NOW - 61})), (401, "Jwt is expired".into()));
    assert_eq!(
        said(&plain, json!({"iss": "me", "nbf": NOW + 61})),
        (401, "Jwt not yet valid".into())
    );
    assert_eq!(said(&plain, json!({"iss": "you"})), (401, "Jwt issuer is not configured".into()));
    assert_eq!(
        said(&bound, json!({"iss": "me"})),
        (403, "Audiences in Jwt are not allowed".into())
    );
    assert_eq!(said(&bound, json!({"iss": "me", "aud": ["x", "https://shop/"]})), ok);
    assert_eq!(
        said(&plain, json!({"iss": "me", "exp": "soon"})),
        (401, "Jwt payload [exp] field is not an integer".into())
    );
    let forged = token_by("another secret of 32 bytes......", "k1", &json!({"iss": "me"}));
    assert_eq!(refused(bearer(&plain, &forged)), (401, "Jwt verification fails".into()));
    let stranger = token_by(SECRET, "k2", &json!({"iss": "me"}));
    assert_eq!(
        refused(bearer(&plain, &stranger)),
        (401, "Jwks doesn't have key to match kid or alg from Jwt".into())
    );
    let missing = (401, "Jwt is missing".to_owned());
    assert_eq!(refused(ask(&plain, "/", &[])), missing);
    assert_eq!(refused(ask(&plain, "/", &[("authorization", "Basic YTpi")])), missing);
}

#[test]
fn a_remembered_signature_does_not_make_a_token_younger() {
    let plain = verifier(&[("p", provider())], by("p"));
    let short = token(&json!({"iss": "me", "exp": NOW}));
    let long = token(&json!({"iss": "me", "exp": NOW + 600}));
    for _ in 0..2 {
        assert_eq!(refused(bearer(&plain, &short)).0, 200);
    }
    let mut forged = short.clone();
    forged.pop();
    forged.push('x');
    assert_eq!(refused(bearer(&plain, &forged)).0, 401);
    let mixed =
        format!("{}.{}", long.rsplit_once('.').unwrap().0, short.rsplit_once('.').unwrap().1);
    assert_eq!(refused(bearer(&plain, &mixed)), (401, "Jwt verification fails".into()));
    let late = ask_at(&plain, NOW + 100, "/", &[("authorization", &format!("Bearer {short}"))]);
    assert_eq!(refused(late), (401, "Jwt is expired".into()));
    let rotated = JwtProvider::new("me", Jwks::Inline(jwks("k2")));
    let rotated = verifier(&[("p", rotated)], by("p"));
    assert_eq!(refused(bearer(&rotated, &short)).0, 401, "nor keys that are gone good");
}

#[test]
fn an_unsigned_token_is_never_accepted() {
    let plain = verifier(&[("p", provider())], by("p"));
    let header = base64url::encode(br#"{"alg":"none"}"#);
    let payload = base64url::encode(br#"{"iss":"me"}"#);
    let unsigned = format!("{header}.{payload}.");
    let parts = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    assert_eq!(refused(bearer(&plain, &unsigned)), (401, parts.into()));
    assert_eq!(
        refused(bearer(&plain, &format!("{unsigned}AAAA"))),
        (401, "Jwt header [alg] is not supported".into())
    );
}

// Case jwt-optional.
#[test]
fn a_missing_token_may_pass_where_a_bad_one_does_not() {
    let optional = |last| verifier(&[("p", provider())], JwtRequirement::Any(vec![by("p"), last]));
    let missing = optional(JwtRequirement::AllowMissing);
    assert_eq!(refused(ask(&missing, "/m", &[])).0, 200);
    let JwtDecision::Refuse(refusal) = bearer(&missing, "abc") else { panic!("a bad token") };
    assert_eq!(refusal.challenge, "Bearer realm=\"http://a.test/m\", error=\"invalid_token\"");
    assert_eq!(
        refusal.details(),
        "jwt_authn_access_denied{Jwt_is_not_in_the_form_of_Header.Payload.Signature_with_two_dots_\
         and_3_sections}"
    );
    let failed = optional(JwtRequirement::AllowMissingOrFailed);
    assert_eq!(refused(bearer(&failed, "abc")).0, 200);
    let alone = verifier(&[("p", provider())], JwtRequirement::AllowMissing);
    assert_eq!(refused(ask(&alone, "/", &[])).0, 200);
    assert_eq!(refused(bearer(&alone, "abc")).0, 401);
    let JwtDecision::Refuse(refusal) = ask(&verifier(&[("p", provider())], by("p")), "/x?y", &[])
    else {
        panic!("no token")
    };
    assert_eq!(refusal.challenge, "Bearer realm=\"http://a.test/x?y\"");
}

#[test]
fn one_of_several_issuers_is_enough() {
    let other = JwtProvider::new("other", Jwks::Inline(jwks("k1")));
    let providers = [("p", provider()), ("q", other)];
    let each = |name| JwtRequirement::Any(vec![by(name), JwtRequirement::AllowMissing]);
    let all = JwtRequirement::All(vec![each("p"), each("q")]);
    let any = verifier(&providers, JwtRequirement::Any(vec![by("p"), by("q"), all]));
    assert_eq!(refused(bearer(&any, &token(&json!({"iss": "other"})))).0, 200);
    assert_eq!(refused(ask(&any, "/", &[])).0, 200);
    assert_eq!(
        refused(bearer(&any, &token(&json!({"iss": "third"})))),
        (401, "Jwt issuer is not configured".into())
    );
    let alone = verifier(&providers, JwtRequirement::AllowMissing);
    assert_eq!(refused(bearer(&alone, &token(&json!({"iss": "other"})))).0, 200);
}

#[test]
fn an_accepted_token_leaves_its_facts_and_goes() {
    let claim = |header: &str, claim: &str| ClaimToHeader {
        header: header.parse().unwrap(),
        claim: claim.split('.').map(str::to_owned).collect(),
    };
    let settings = JwtProvider {
        payload_header: Some("x-payload".parse().unwrap()),
        claim_to_headers: vec![
            claim("x-sub", "sub"),
            claim("x-role", "realm.role"),
            claim("x-no", "no"),
        ],
        payload_in_metadata: "payload".to_owned(),
        space_delimited_claims: vec!["scope".to_owned()],
        clear_route_cache: true,
        ..provider()
    };
    let verifier = verifier(&[("p", settings)], by("p"));
    let claims = json!({"iss": "me", "sub": "ann", "realm": {"role": 7}, "scope": "read write"});
    let token = token(&claims);
    let target = format!("/x?a=1&access_token={token}&b");
    let mut changes = passed(ask(&verifier, &target, &[("x-sub", "forged"), ("x-role", "admin")]));
    assert_eq!(changes.path_and_query.as_deref(), Some("/x?a=1&b"));
    assert_eq!(changes.remove_headers, ["x-sub", "x-role"]);
    let payload = token.split('.').nth(1).unwrap();
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        changes.set_headers,
        [set("x-payload", payload), set("x-sub", "ann"), set("x-role", "7")]
    );
    let mut metadata = Metadata::default();
    changes.keep(&mut metadata);
    let path = ["payload", "scope"].map(str::to_owned);
    assert_eq!(metadata.find(JWT_METADATA, &path), Some(&json!(["read", "write"])));
    let header = format!("Bearer {token}");
    let changes = passed(ask(&verifier, "/", &[("authorization", &header)]));
    assert_eq!(changes.remove_headers, ["authorization"]);
    assert!(changes.clear_route_cache);
}

#[test]
fn tokens_are_found_where_they_are_looked_for() {
    let settings = JwtProvider {
        forward: true,
        from_headers: vec![JwtHeader { name: "x-jwt".parse().unwrap(), prefix: "jwt=".to_owned() }],
        from_params: vec!["t".to_owned()],
        from_cookies: vec!["c".to_owned()],
        ..provider()
    };
    let verifier = verifier(&[("p", settings)], by("p"));
    let token = token(&json!({"iss": "me"}));
    let ok =
        |target: &str, headers: &[(&str, &str)]| refused(ask(&verifier, target, headers)).0 == 200;
    assert!(ok("/", &[("x-jwt", &format!("jwt={token}"))]));
    assert!(ok(&format!("/?t={token}"), &[]));
    assert!(ok("/", &[("cookie", &format!("a=b; c={token}"))]));
    assert!(!ok("/", &[("authorization", &format!("Bearer {token}"))]));
    assert!(!ok(&format!("/?t={token}"), &[("cookie", "c=bad")]), "every token must be good");
}

#[test]
fn keys_of_remote_issuers_come_later_and_stay() {
    let remote = Jwks::Remote {
        uri: "https://issuer.test/keys".to_owned(),
        cluster: "issuer".to_owned(),
        timeout: Duration::from_secs(5),
        cache: Duration::from_secs(300),
        retry: None,
    };
    let build = || verifier(&[("p", JwtProvider::new("me", remote.clone()))], by("p"));
    let first = build();
    let token = token(&json!({"iss": "me"}));
    assert_eq!(refused(bearer(&first, &token)), (401, "Jwks remote fetch is failed".into()));
    assert_eq!(first.wanted_jwks().map(|wanted| wanted.provider).collect::<Vec<_>>(), ["p"]);
    first.update_jwks("p", &jwks("k1")).unwrap();
    assert_eq!(refused(bearer(&first, &token)).0, 200);
    assert!(first.update_jwks("p", "{\"keys\": []}").is_err());
    assert_eq!(refused(bearer(&first, &token)).0, 200, "the old keys stay");
    let next = build();
    next.inherit(&first);
    assert_eq!(refused(bearer(&next, &token)).0, 200);
}

#[test]
fn a_strange_key_does_not_lose_the_others() {
    let good: Value = serde_json::from_str(&jwks("k1")).unwrap();
    let keys = json!({"keys": [{"kty": "XX"}, {"kty": "RSA", "n": "!"}, good["keys"][0]]});
    let verifier =
        verifier(&[("p", JwtProvider::new("me", Jwks::Inline(keys.to_string())))], by("p"));
    assert_eq!(refused(bearer(&verifier, &token(&json!({"iss": "me"})))).0, 200);
}
