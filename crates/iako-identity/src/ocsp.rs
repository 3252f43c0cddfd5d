//! What an authority says of a certificate, for servers that hand it on (RFC 6960, RFC 6066 §8).
//!
//! Clients check who signed it; here it is only read whether it is about the certificate, and until
//! when it counts.

use std::time::SystemTime;

use x509_parser::{certificate::X509Certificate, prelude::FromDer, time::ASN1Time};

use crate::certificate::at;

/// Why an OCSP response cannot be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OcspError {
    /// The bytes are no response.
    #[error("the OCSP response is malformed")]
    Malformed,
    /// The authority did not answer the question.
    #[error("the OCSP response is unsuccessful, with status {0}")]
    Unsuccessful(u8),
    /// It is about no certificate, or several.
    #[error("the OCSP response is not about one certificate")]
    NotOne,
    /// It is about another certificate.
    #[error("the OCSP response is about another certificate")]
    OfAnother,
    /// It is wanted, and there is none.
    #[error("the certificate has to be shown with an OCSP response, and there is none")]
    Missing,
}

/// Whether and when a server hands on what an authority says of its certificate.
///
/// Source: `DownstreamTlsContext.OcspStaplePolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stapling {
    /// Where there is a response that counts.
    #[default]
    Lenient,
    /// The same; a certificate whose response counts no longer is not shown.
    Strict,
    /// A certificate without a response that counts is not shown.
    Must,
}

/// What is done with one certificate in one handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StapleAction {
    Staple,
    Omit,
    Refuse,
}

impl Stapling {
    /// What happens with a certificate whose response counts until `until`, if it has one.
    pub(crate) fn action(self, until: Option<Until>, now: SystemTime) -> StapleAction {
        let counts = until.is_some_and(|until| until.counts_at(now));
        match (self, counts, until.is_some()) {
            (_, true, _) => StapleAction::Staple,
            (Self::Lenient, false, _) | (Self::Strict, false, false) => StapleAction::Omit,
            (Self::Strict, false, true) | (Self::Must, false, _) => StapleAction::Refuse,
        }
    }
}

/// The time in which a response counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until {
    /// For ever when absent, as Envoy takes it: the authority knows more at any time.
    next_update: Option<SystemTime>,
}

impl Until {
    fn counts_at(self, now: SystemTime) -> bool {
        self.next_update.is_none_or(|next| now < next)
    }
}

const SEQUENCE: u8 = 0x30;
const ENUMERATED: u8 = 0x0a;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const TIME: u8 = 0x18;
const CONTEXT_0: u8 = 0xa0;
/// `id-pkix-ocsp-basic`, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// `id-pe-tlsfeature`, 1.3.6.1.5.5.7.1.24 (RFC 7633).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
/// The feature `status_request`, as an element of that extension.
const STATUS_REQUEST: &[u8] = &[INTEGER, 1, 5];

/// Whether a certificate says that it is only good with a response (RFC 7633).
pub(crate) fn must_be_stapled(certificate: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let extensions = parsed.extensions().iter();
    let mut features = extensions.filter(|one| one.oid.to_id_string() == TLS_FEATURE);
    features.any(|one| one.value.windows(STATUS_REQUEST.len()).any(|at| at == STATUS_REQUEST))
}

/// Reads how long a response counts.
///
/// # Errors
/// When it is malformed, unsuccessful, or not about the certificate alone.
pub(crate) fn read(response: &[u8], certificate: &[u8]) -> Result<Until, OcspError> {
    let single = single_response(response)?;
    let malformed = || OcspError::Malformed;
    let (id, single) = take(SEQUENCE, single).ok_or_else(malformed)?;
    let serial = serial(id).ok_or_else(malformed)?;
    let (_, own) = X509Certificate::from_der(certificate).map_err(|_unreadable| malformed())?;
    if without_sign(serial) != without_sign(own.raw_serial()) {
        return Err(OcspError::OfAnother);
    }
    // Its status, of any form, then when it was found.
    let (_, _, single) = element(single).ok_or_else(malformed)?;
    let (_, rest) = take(TIME, single).ok_or_else(malformed)?;
    let Some((next, _)) = take(CONTEXT_0, rest) else { return Ok(Until { next_update: None }) };
    let (_, next) = ASN1Time::from_der(next).map_err(|_unreadable| malformed())?;
    Ok(Until { next_update: Some(at(next.timestamp())) })
}

/// The content of the only `SingleResponse`.
fn single_response(response: &[u8]) -> Result<&[u8], OcspError> {
    let malformed = || OcspError::Malformed;
    let (whole, after) = take(SEQUENCE, response).ok_or_else(malformed)?;
    let (status, whole) = take(ENUMERATED, whole).ok_or_else(malformed)?;
    match (status, after.is_empty()) {
        ([0], true) => {}
        ([status], true) => return Err(OcspError::Unsuccessful(*status)),
        _ => return Err(malformed()),
    }
    let basic = || {
        let (bytes, _) = take(CONTEXT_0, whole)?;
        let (bytes, _) = take(SEQUENCE, bytes)?;
        let (kind, bytes) = take(OBJECT, bytes)?;
        let (basic, _) = take(OCTETS, bytes).filter(|_| kind == BASIC)?;
        let (basic, _) = take(SEQUENCE, basic)?;
        let (data, _) = take(SEQUENCE, basic)?;
        // The version, which may be left out; who answers; when.
        let data = take(CONTEXT_0, data).map_or(data, |(_, rest)| rest);
        let (_, _, data) = element(data)?;
        let (_, data) = take(TIME, data)?;
        take(SEQUENCE, data).map(|(responses, _)| responses)
    };
    let responses = basic().ok_or_else(malformed)?;
    match take(SEQUENCE, responses) {
        Some((single, [])) => Ok(single),
        _ => Err(OcspError::NotOne),
    }
}

/// The serial number of a `CertID`.
fn serial(id: &[u8]) -> Option<&[u8]> {
    let (_, id) = take(SEQUENCE, id)?;
    let (_, id) = take(OCTETS, id)?;
    let (_, id) = take(OCTETS, id)?;
    take(INTEGER, id).map(|(serial, _)| serial)
}

fn without_sign(serial: &[u8]) -> &[u8] {
    match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    }
}

/// The content of an element of this kind, and what follows it.
fn take(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(own, _, _)| *own == kind).map(|(_, content, rest)| (content, rest))
}

/// One element of DER: its kind, its content, and what follows it.
type Element<'a> = (u8, &'a [u8], &'a [u8]);

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&[kind, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(one, rest)| (usize::from(*one), rest))?,
        0x82 => {
            let (two, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*two)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((kind, content, rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn der(kind: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 0x82], &length[..], &content].concat()
    }

    fn certificate() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.serial_number = Some(vec![0x80, 7].into());
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn single(serial: &[u8], next: &[&[u8]]) -> Vec<u8> {
        let hash = der(OCTETS, &[b"hash"]);
        let id = der(SEQUENCE, &[&der(SEQUENCE, &[]), &hash, &hash, &der(INTEGER, &[serial])]);
        let found = der(TIME, &[b"20260101000000Z"]);
        der(SEQUENCE, &[&[&id[..], &[0x80, 0], &found].concat(), &next.concat()])
    }

    fn response(status: u8, singles: &[&[u8]]) -> Vec<u8> {
        let who = der(0xa2, &[&der(OCTETS, &[b"key"])]);
        let when = der(TIME, &[b"20260101000000Z"]);
        let data = der(SEQUENCE, &[&who, &when, &der(SEQUENCE, singles)]);
        let basic = der(SEQUENCE, &[&data]);
        let bytes = der(SEQUENCE, &[&der(OBJECT, &[BASIC]), &der(OCTETS, &[&basic])]);
        der(SEQUENCE, &[&[ENUMERATED, 1, status], &der(CONTEXT_0, &[&bytes])])
    }

    #[test]
    fn a_response_counts_until_the_next_one_is_due() {
        let own = certificate();
        let next = der(CONTEXT_0, &[&der(TIME, &[b"20300102030405Z"])]);
        let until = read(&response(0, &[&single(&[0, 0x80, 7], &[&next])]), &own).unwrap();
        let due = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_553_445);
        assert_eq!(until.next_update, Some(due));
        assert!(until.counts_at(due - Duration::from_secs(1)));
        assert!(!until.counts_at(due));
        let until = read(&response(0, &[&single(&[0, 0x80, 7], &[])]), &own).unwrap();
        assert!(until.counts_at(due));
    }

    #[test]
    fn a_response_that_is_not_about_the_certificate_alone_is_refused() {
        let own = certificate();
        let good = single(&[0, 0x80, 7], &[]);
        let other = single(&[0, 0x80, 8], &[]);
        assert_eq!(read(&response(0, &[&other]), &own), Err(OcspError::OfAnother));
        assert_eq!(read(&response(0, &[&good, &other]), &own), Err(OcspError::NotOne));
        assert_eq!(read(&response(0, &[]), &own), Err(OcspError::NotOne));
        assert_eq!(read(&response(3, &[&good]), &own), Err(OcspError::Unsuccessful(3)));
        let whole = response(0, &[&good]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end], &own).is_err(), "{end}");
        }
    }

    #[test]
    fn a_certificate_may_say_that_it_must_be_stapled() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        assert!(!must_be_stapled(params.self_signed(&key).unwrap().der()));
        let feature = [SEQUENCE, 3, INTEGER, 1, 5].to_vec();
        let oid = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(oid, feature)];
        assert!(must_be_stapled(params.self_signed(&key).unwrap().der()));
    }

    #[test]
    fn the_policy_decides_what_becomes_of_a_certificate_without_a_response_that_counts() {
        use StapleAction::{Omit, Refuse, Staple};
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let good = Some(Until { next_update: None });
        let old = Some(Until { next_update: Some(SystemTime::UNIX_EPOCH) });
        for (policy, expected) in [
            (Stapling::Lenient, [Staple, Omit, Omit]),
            (Stapling::Strict, [Staple, Refuse, Omit]),
            (Stapling::Must, [Staple, Refuse, Refuse]),
        ] {
            assert_eq!([good, old, None].map(|until| policy.action(until, now)), expected);
        }
    }
}
