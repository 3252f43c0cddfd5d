//! Fingerprints of certificates.

use aws_lc_rs::digest;

use crate::certificate;

/// SHA-256 of a certificate, lower-case hexadecimal.
#[must_use]
pub fn sha256(certificate: &[u8]) -> String {
    certificate::hex(&certificate::sha256(certificate))
}

/// SHA-1 of a certificate, lower-case hexadecimal. A name for people and old tools: nothing is
/// trusted by it.
#[must_use]
pub fn sha1(certificate: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    certificate::hex(digest.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_other_tools() {
        assert_eq!(sha1(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(sha256(b"abc").starts_with("ba7816bf8f01cfea"));
    }
}
