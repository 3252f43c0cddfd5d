//! What the authority signs, keeps and refuses.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may be blunt")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use iako_ca::{
    CaError, CertificateAuthority, FileError, Issued, JoinTokens, ROOT_CERTIFICATE_FILE,
    ROOT_KEY_FILE, SignError, TOKEN_KEY_FILE, TokenError,
};
use iako_identity::{CertificateFacts, Identity, SigningRequest, certificates_from_pem};
use iako_types::{SpiffeId, TrustDomain};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    // 2026-11-21; the tests do not depend on the day they run on.
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

fn cart() -> SpiffeId {
    "spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap()
}

fn open(directory: &Path) -> CertificateAuthority {
    CertificateAuthority::open(directory, &TrustDomain::cluster_local(), now()).unwrap()
}

fn leaf(issued: &Issued) -> CertificateFacts {
    CertificateFacts::read(&certificates_from_pem(&issued.elements[0]).unwrap()[0]).unwrap()
}

#[test]
fn a_workload_receives_the_identity_the_caller_proved_and_never_the_one_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path());
    let liar: SpiffeId = "spiffe://cluster.local/ns/shop/sa/payment".parse().unwrap();
    let request = SigningRequest::generate(&liar).unwrap();
    let issued = authority.sign(request.csr_pem(), &cart(), None, now()).unwrap();
    let facts = leaf(&issued);
    assert_eq!(facts.uri_sans, [cart().as_str()]);
    assert_eq!(facts.subject, "");
    assert!(!facts.is_ca);
    assert_eq!(facts.not_before, now() - Duration::from_secs(120));
    assert_eq!(facts.not_after, now() + DAY);
    assert!(issued.elements.iter().all(|element| element.ends_with("-----\n")));
    assert_eq!(issued.elements.last().unwrap(), &authority.roots_pem());
    let identity = Identity::from_issued(&issued.elements, request.into_key(), &cart(), now());
    assert_eq!(identity.unwrap().svid.id(), &cart());
}

#[test]
fn lifetimes_are_clamped_to_90_days_and_to_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path());
    let request = SigningRequest::generate(&cart()).unwrap();
    let sign = |lifetime, at| authority.sign(request.csr_pem(), &cart(), lifetime, at);
    assert_eq!(sign(Some(1000 * DAY), now()).unwrap().not_after, now() + 90 * DAY);
    assert_eq!(sign(Some(Duration::ZERO), now()).unwrap().not_after, now() + DAY);
    let late = now() + 3645 * DAY;
    assert_eq!(sign(Some(90 * DAY), late).unwrap().not_after, now() + 3650 * DAY);
    assert!(matches!(sign(None, now() + 3651 * DAY), Err(SignError::SignerExpired)));
}

#[test]
fn a_request_without_proof_of_possession_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path());
    let request = SigningRequest::generate(&cart()).unwrap();
    // Flips a character in the middle of the last line, which lies in the signature.
    let mut pem = request.csr_pem().to_owned().into_bytes();
    let text = String::from_utf8(pem.clone()).unwrap();
    let at = text.find("\n-----END").or_else(|| text.find("\r\n-----END")).unwrap() - 8;
    pem[at] = if pem[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(pem).unwrap();
    let refused = authority.sign(&forged, &cart(), None, now());
    assert!(matches!(refused, Err(SignError::NoPossession)), "{refused:?}");
    let refused = authority.sign("hello", &cart(), None, now());
    assert!(matches!(refused, Err(SignError::Unreadable { .. })));
}

#[test]
fn an_identity_of_another_trust_domain_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path());
    let foreign: SpiffeId = "spiffe://other/ns/shop/sa/cart".parse().unwrap();
    let request = SigningRequest::generate(&foreign).unwrap();
    let refused = authority.sign(request.csr_pem(), &foreign, None, now());
    assert!(matches!(refused, Err(SignError::ForeignTrustDomain { .. })));
}

#[test]
fn the_root_survives_a_restart_and_its_key_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).roots_pem();
    assert_eq!(open(directory.path()).roots_pem(), first);
    let mode = |name: &str| {
        fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(ROOT_KEY_FILE), 0o600);
    assert_eq!(mode(ROOT_CERTIFICATE_FILE), 0o644);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "a draft was left behind");
}

#[test]
fn an_exposed_or_foreign_root_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let key = directory.path().join(ROOT_KEY_FILE);
    let cluster_local = TrustDomain::cluster_local();
    let open = || CertificateAuthority::open(directory.path(), &cluster_local, now());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(), Err(CaError::File(FileError::Exposed { .. }))));
    fs::remove_file(&key).unwrap();
    assert!(matches!(open(), Err(CaError::Inconsistent { .. })), "a new key under an old root");
}

#[test]
fn an_istio_cacerts_directory_can_be_plugged_in() {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.not_after = (now() + 10 * DAY).into();
        params
    };
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root = ca("root").self_signed(&root_key).unwrap();
    let root_params = ca("root");
    let issuer = Issuer::from_params(&root_params, &root_key);
    let intermediate = ca("intermediate").signed_by(&key, &issuer).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("ca-cert.pem", &intermediate.pem());
    write("ca-key.pem", &key.serialize_pem());
    write("cert-chain.pem", &(intermediate.pem() + &root.pem()));
    write("root-cert.pem", &root.pem());
    let cluster_local = TrustDomain::cluster_local();
    let plug = || CertificateAuthority::plugged_in(directory.path(), &cluster_local, now());
    let request = SigningRequest::generate(&cart()).unwrap();
    let issued = plug().unwrap().sign(request.csr_pem(), &cart(), Some(90 * DAY), now()).unwrap();
    assert_eq!(issued.elements.len(), 3, "leaf, intermediate, root");
    assert_eq!(issued.not_after, now() + 10 * DAY);
    Identity::from_issued(&issued.elements, request.into_key(), &cart(), now()).unwrap();
    // A root that did not sign the intermediate is found out at the start.
    let other = ca("other").self_signed(&KeyPair::generate().unwrap()).unwrap();
    write("root-cert.pem", &other.pem());
    assert!(matches!(plug(), Err(CaError::Inconsistent { .. })));
    fs::remove_file(directory.path().join("ca-key.pem")).unwrap();
    assert!(matches!(plug(), Err(CaError::Missing { .. })));
}

#[test]
fn the_control_plane_receives_a_certificate_for_its_names_and_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let authority = open(directory.path());
    let id: SpiffeId = "spiffe://cluster.local/ns/istio-system/sa/istiod".parse().unwrap();
    let address = "127.15.0.1".parse().unwrap();
    let svid = authority
        .server_certificate(&id, &["istiod.istio-system.svc", "localhost"], &[address], now())
        .unwrap();
    let facts = svid.certificate().facts();
    assert_eq!(facts.dns_sans, ["istiod.istio-system.svc", "localhost"]);
    assert_eq!(facts.ip_sans, [address]);
    assert_eq!(svid.id(), &id);
}

#[test]
fn a_join_token_vouches_for_its_account_until_it_expires_and_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = JoinTokens::open(directory.path()).unwrap();
    let (namespace, account) = ("shop".parse().unwrap(), "cart".parse().unwrap());
    let token = tokens.mint(&namespace, &account, DAY, now()).unwrap();
    let restarted = JoinTokens::open(directory.path()).unwrap();
    let joining = restarted.verify(token.as_str(), now() + DAY).unwrap();
    assert_eq!((joining.namespace, joining.service_account), (namespace.clone(), account.clone()));
    assert_eq!(joining.expires, now() + DAY);
    let verify = |token: &str, at| restarted.verify(token, at);
    let late = verify(token.as_str(), now() + DAY + Duration::from_secs(61));
    assert!(matches!(late, Err(TokenError::NotValidNow)));
    let early = verify(token.as_str(), now() - Duration::from_secs(61));
    assert!(matches!(early, Err(TokenError::NotValidNow)));
    assert!(!format!("{token:?} {tokens:?}").contains(token.as_str()));
    // Another mesh's token, and one without a signature.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = JoinTokens::open(elsewhere.path()).unwrap();
    let foreign = other.mint(&namespace, &account, DAY, now()).unwrap();
    assert!(matches!(verify(foreign.as_str(), now()), Err(TokenError::Invalid(_))));
    let unsigned = token.as_str().rsplit_once('.').unwrap().0.to_owned() + ".";
    assert!(matches!(verify(&unsigned, now()), Err(TokenError::Invalid(_))));
    assert!(directory.path().join(TOKEN_KEY_FILE).exists());
}
