//! Why a token is not accepted.

/// Why a request is refused for its token. The texts are those that clients of Envoy know; they
/// are the body of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtRejection {
    /// There is no token.
    #[error("Jwt is missing")]
    Missing,
    /// Its issuer is nobody's here.
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    /// It is no JWS in compact form.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    BadFormat,
    /// Its header is no base64url.
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderBase64,
    /// Its header is no JSON object.
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    /// Its header names no algorithm.
    #[error("Jwt header [alg] field is required and must be a string")]
    HeaderAlgorithm,
    /// Its algorithm is not supported; `none` never is.
    #[error("Jwt header [alg] is not supported")]
    AlgorithmUnsupported,
    /// Its key's name is no text.
    #[error("Jwt header [kid] field is not a string")]
    HeaderKeyId,
    /// Its payload is no base64url.
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadBase64,
    /// Its payload is no JSON object.
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    /// A claim that must be a text is none.
    #[error("Jwt payload [{0}] field is not a string")]
    ClaimNotText(&'static str),
    /// A claim that must be a time is none.
    #[error("Jwt payload [{0}] field is not an integer")]
    ClaimNotNumber(&'static str),
    /// A claim that must be a time is before 1970, or too large.
    #[error("Jwt payload [{0}] field is not a positive 64 bit integer")]
    ClaimOutOfRange(&'static str),
    /// Its audiences are no texts.
    #[error("Jwt payload [aud] field is not a string or string list")]
    AudienceNotText,
    /// Its signature is no base64url.
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureBase64,
    /// It is not valid yet.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// It is valid no more.
    #[error("Jwt is expired")]
    Expired,
    /// It was made for others.
    #[error("Audiences in Jwt are not allowed")]
    Audience,
    /// The issuer's keys are not there (yet).
    #[error("Jwks remote fetch is failed")]
    NoKeys,
    /// The issuer has no key of that name and algorithm.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoMatchingKey,
    /// No key fits its signature; or its subject or its lifetime is not allowed, which Envoy tells so.
    #[error("Jwt verification fails")]
    Signature,
}

impl JwtRejection {
    /// Envoy's number for it, as filters find it in the metadata of a request. Source: the list of
    /// states in Envoy's reader of tokens, as observed.
    #[must_use]
    pub fn code(self) -> u32 {
        // The three claims that are times have two numbers each.
        let of_time = |claim| match claim {
            "iat" => 14,
            "nbf" => 16,
            _ => 18,
        };
        match self {
            Self::Missing => 1,
            Self::NotYetValid => 2,
            Self::Expired => 3,
            Self::BadFormat => 4,
            Self::HeaderBase64 => 5,
            Self::HeaderJson => 6,
            Self::HeaderAlgorithm => 7,
            Self::AlgorithmUnsupported => 8,
            Self::HeaderKeyId => 9,
            Self::PayloadBase64 => 10,
            Self::PayloadJson => 11,
            Self::ClaimNotText("iss") => 12,
            Self::ClaimNotText("sub") => 13,
            Self::ClaimNotText(_) => 20,
            Self::ClaimNotNumber(claim) => of_time(claim),
            Self::ClaimOutOfRange(claim) => of_time(claim) + 1,
            Self::AudienceNotText => 21,
            Self::SignatureBase64 => 22,
            Self::UnknownIssuer => 24,
            Self::Audience => 25,
            Self::Signature => 26,
            Self::NoMatchingKey => 32,
            Self::NoKeys => 40,
        }
    }

    /// How much it says, for choosing among several: missing says least, then a strange issuer.
    pub(super) const fn weight(self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::UnknownIssuer => 1,
            Self::BadFormat
            | Self::HeaderBase64
            | Self::HeaderJson
            | Self::HeaderAlgorithm
            | Self::AlgorithmUnsupported
            | Self::HeaderKeyId
            | Self::PayloadBase64
            | Self::PayloadJson
            | Self::ClaimNotText(_)
            | Self::ClaimNotNumber(_)
            | Self::ClaimOutOfRange(_)
            | Self::AudienceNotText
            | Self::SignatureBase64
            | Self::NotYetValid
            | Self::Expired
            | Self::Audience
            | Self::NoKeys
            | Self::NoMatchingKey
            | Self::Signature => 2,
        }
    }
}
