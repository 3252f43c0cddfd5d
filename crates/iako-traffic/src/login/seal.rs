//! Signing and encrypting of what browsers keep for us, as Envoy's filter does, so that sessions live
//! on when one takes the place of the other.

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::{constant_time, digest, hmac};

use crate::base64;
use crate::jwt::base64url;

/// Length of the initialization vector before what is encrypted.
pub(super) const IV_BYTES: usize = 16;

/// What cookies are signed and encrypted with. Never printed.
pub(super) struct Keys {
    signing: hmac::Key,
    /// SHA-256 of the secret: the key of AES.
    encrypting: digest::Digest,
}

impl Keys {
    pub(super) fn of(secret: &[u8]) -> Self {
        Self {
            signing: hmac::Key::new(hmac::HMAC_SHA256, secret),
            encrypting: digest::digest(&digest::SHA256, secret),
        }
    }

    /// The signature of a text, in base64.
    pub(super) fn sign(&self, text: &str) -> String {
        base64::encode(hmac::sign(&self.signing, text.as_bytes()).as_ref())
    }

    /// Whether somebody with this key signed the text. Older versions of Envoy wrote the signature in
    /// hexadecimal before base64.
    pub(super) fn is_signature(&self, text: &str, signature: &str) -> bool {
        let own = hmac::sign(&self.signing, text.as_bytes());
        let hexadecimal: String = own.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = is_same(&base64::encode(own.as_ref()), signature);
        plain | is_same(&base64::encode(hexadecimal.as_bytes()), signature)
    }

    /// The text encrypted, with the vector before it, in base64 of URLs; none when the library fails.
    pub(super) fn seal(&self, text: &str, iv: [u8; IV_BYTES]) -> Option<String> {
        let key = UnboundCipherKey::new(&AES_256, self.encrypting.as_ref()).ok()?;
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
        let mut bytes = text.as_bytes().to_vec();
        key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(iv.into())).ok()?;
        Some(base64url::encode(&[iv.as_slice(), &bytes].concat()))
    }

    /// The text that was encrypted; none when it was not, or with another key.
    pub(super) fn open(&self, sealed: &str) -> Option<String> {
        let bytes = base64url::decode(sealed)?;
        let (iv, encrypted) = bytes.split_first_chunk::<IV_BYTES>()?;
        if encrypted.is_empty() {
            return None;
        }
        let key = UnboundCipherKey::new(&AES_256, self.encrypting.as_ref()).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let mut encrypted = encrypted.to_vec();
        let context = DecryptionContext::Iv128((*iv).into());
        let plain = key.decrypt(&mut encrypted, context).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

/// Whether texts are the same, in a time that does not say where they differ.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// SHA-256 in base64 of URLs: what a verifier is announced by. Source: RFC 7636, section 4.2.
pub(super) fn challenge(verifier: &str) -> String {
    base64url::encode(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_with_the_same_key_only() {
        let keys = Keys::of(b"secret");
        let sealed = keys.seal("a token", [7; IV_BYTES]).unwrap();
        assert_eq!(keys.open(&sealed).as_deref(), Some("a token"));
        assert_ne!(Keys::of(b"other").open(&sealed).as_deref(), Some("a token"));
        for broken in ["", "a token", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(keys.open(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_signature_is_of_one_text_and_one_key() {
        let keys = Keys::of(b"secret");
        let signature = keys.sign("text");
        assert!(keys.is_signature("text", &signature));
        assert!(!keys.is_signature("text2", &signature));
        assert!(!Keys::of(b"other").is_signature("text", &signature));
        assert!(!keys.is_signature("text", ""));
    }

    // RFC 7636, appendix B.
    #[test]
    fn a_verifier_is_announced_by_its_digest() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
