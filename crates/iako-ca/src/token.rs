//! Tokens by which a workload without a certificate proves its service account.

use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use iako_types::{Namespace, ServiceAccount};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::{
    authority::{SignError, random_octets},
    open::{CaError, own_key},
};

/// The key that signs tokens, in the authority's directory. Secret: mode 0600.
pub const TOKEN_KEY_FILE: &str = "token-key.pem";
/// Whom tokens are for. Istio's audience for its certificate service.
pub const TOKEN_AUDIENCE: &str = "istio-ca";

const ISSUER: &str = "iako";
const SUBJECT_PREFIX: &str = "system:serviceaccount:";
/// Longest token in bytes; bounds the work for an answer.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// Why a token is not made or not believed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token of ours: malformed, signed by another key, for another audience.
    #[error("the token is not acceptable")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// It is longer than any token of ours.
    #[error("the token is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// It is expired, or not valid yet.
    #[error("the token is expired or not valid yet")]
    NotValidNow,
    /// Its subject names no service account.
    #[error("the token's subject {subject:?} is no service account")]
    Subject {
        /// The subject.
        subject: String,
    },
    /// It could not be signed.
    #[error("the token could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
    /// Its number could not be made.
    #[error("the token has no number")]
    Random(#[source] SignError),
}

/// A signed token. A secret: whoever holds it can become the workload.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(String);

impl JoinToken {
    /// The compact form, for a file or an `authorization: Bearer` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

/// Whom a good token vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The namespace of the service account.
    pub namespace: Namespace,
    /// The service account.
    pub service_account: ServiceAccount,
    /// The token's own number, for logs.
    pub token_id: String,
    /// The token is good up to this moment.
    pub expires: SystemTime,
}

/// Signs and verifies join tokens with one key (ES256).
pub struct JoinTokens {
    signing: EncodingKey,
    verifying: DecodingKey,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

/// One audience is written as a text, several as a list. Source: RFC 7519 §4.1.3.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl JoinTokens {
    /// The signer whose key is kept in `directory`, made there at the first call.
    ///
    /// # Errors
    /// When the key cannot be read or written, or others than its owner can read it.
    pub fn open(directory: &Path) -> Result<Self, CaError> {
        let key = own_key(&directory.join(TOKEN_KEY_FILE))?;
        Ok(Self {
            signing: EncodingKey::from_ec_der(key.serialized_der()),
            verifying: DecodingKey::from_ec_der(key.public_key_raw()),
        })
    }

    /// A token for a service account, good from `now` for `lifetime`.
    ///
    /// # Errors
    /// When signing fails.
    pub fn mint(
        &self,
        namespace: &Namespace,
        service_account: &ServiceAccount,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<JoinToken, TokenError> {
        let issued_at = seconds(now);
        let number = random_octets().map_err(TokenError::Random)?;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: Audience::Several(vec![TOKEN_AUDIENCE.to_owned()]),
            sub: format!("{SUBJECT_PREFIX}{namespace}:{service_account}"),
            iat: issued_at,
            nbf: issued_at,
            exp: issued_at.saturating_add(lifetime.as_secs()),
            jti: number.iter().map(|octet| format!("{octet:02x}")).collect(),
        };
        let header = Header::new(Algorithm::ES256);
        let signed = jsonwebtoken::encode(&header, &claims, &self.signing);
        signed.map(JoinToken).map_err(TokenError::Signing)
    }

    /// Whom `token` vouches for, if it is ours and good `now`, give or take a minute.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Joining, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes_max: TOKEN_BYTES_MAX });
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[TOKEN_AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        // The library would look at the system's clock; we are told what time it is.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation);
        let claims = decoded.map_err(TokenError::Invalid)?.claims;
        let (now, leeway) = (seconds(now), LEEWAY.as_secs());
        if claims.exp.saturating_add(leeway) < now || now.saturating_add(leeway) < claims.nbf {
            return Err(TokenError::NotValidNow);
        }
        let (namespace, service_account) = account_of(&claims.sub)
            .ok_or_else(|| TokenError::Subject { subject: claims.sub.clone() })?;
        let expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp));
        let expires = expires.ok_or(TokenError::NotValidNow)?;
        Ok(Joining { namespace, service_account, token_id: claims.jti, expires })
    }
}

impl fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("JoinTokens").finish_non_exhaustive()
    }
}

fn account_of(subject: &str) -> Option<(Namespace, ServiceAccount)> {
    let (namespace, account) = subject.strip_prefix(SUBJECT_PREFIX)?.split_once(':')?;
    Some((namespace.parse().ok()?, account.parse().ok()?))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
