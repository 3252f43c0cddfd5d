//! The keys of an issuer.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::{DecodingKey, jwk::Jwk};
use serde_json::Value;

use super::{reject::JwtRejection, token::Token};

/// Tokens with a good signature that a worker remembers, in each of two generations. Bounds memory:
/// tokens have a few hundred bytes, and a header at most some KiB; what was read of them is about
/// four times as much.
const REMEMBERED_MAX: usize = 512;

/// Public keys of an issuer. Source: RFC 7517.
#[derive(Debug)]
pub(super) struct KeySet {
    /// No other set of this process has it: what old keys signed is not remembered for new ones.
    id: u64,
    keys: Vec<Key>,
}

impl Default for KeySet {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

/// Tokens with a good signature as they were read, and the keys that made it. Clients send the same
/// token with every request, and reading and checking it costs more than all the rest of a request.
///
/// Belongs to one worker, so that none waits for another.
#[derive(Default)]
pub struct JwtMemory {
    newer: HashMap<Box<str>, Read>,
    older: HashMap<Box<str>, Read>,
}

impl fmt::Debug for JwtMemory {
    /// Tokens are secrets: none is shown.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.newer.len().saturating_add(self.older.len());
        to.debug_struct("JwtMemory").field("tokens", &tokens).finish_non_exhaustive()
    }
}

/// A token, and what is known of its signature.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) token: Rc<Token>,
    /// The set of keys that made its signature; none before that was looked at.
    keys: Option<u64>,
}

impl JwtMemory {
    /// Most tokens that are remembered.
    pub const TOKENS_MAX: usize = REMEMBERED_MAX * 2;

    /// Reads a token, or remembers what was read. It is not to be believed yet: the keys may have
    /// changed.
    ///
    /// # Errors
    /// When the text is no token.
    pub(super) fn read(&self, text: &str) -> Result<Read, JwtRejection> {
        match self.newer.get(text).or_else(|| self.older.get(text)) {
            Some(known) => Ok(known.clone()),
            None => Ok(Read { token: Rc::new(Token::parse(text)?), keys: None }),
        }
    }

    fn add(&mut self, keys: u64, token: &Rc<Token>) {
        if self.newer.len() >= REMEMBERED_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        let read = Read { token: Rc::clone(token), keys: Some(keys) };
        self.newer.insert(token.text().into(), read);
    }
}

#[derive(Debug)]
struct Key {
    /// Its name; empty when it has none.
    id: String,
    /// The one algorithm it is for; empty when any of its family.
    algorithm: String,
    key: DecodingKey,
}

/// Why a text is no set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is no JSON object with a list `keys`.
    #[error("expected a JSON object with a list named keys")]
    Shape,
    /// None of its keys can be used.
    #[error("none of the {count} keys is of a kind that can verify signatures")]
    NoUsableKey {
        /// How many keys it has.
        count: usize,
    },
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of unknown kinds are passed over.
    pub(super) fn parse(text: &str) -> Result<Self, JwksError> {
        let document: Value = serde_json::from_str(text).map_err(|_not_json| JwksError::Shape)?;
        let listed = document.get("keys").and_then(Value::as_array).ok_or(JwksError::Shape)?;
        let keys: Vec<Key> = listed.iter().filter_map(Key::parse).collect();
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey { count: listed.len() });
        }
        Ok(Self::of(keys))
    }

    fn of(keys: Vec<Key>) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self { id: IDS.fetch_add(1, Ordering::Relaxed), keys }
    }

    /// Whether one of the keys made the signature.
    pub(super) fn verify(&self, read: &Read, memory: &mut JwtMemory) -> Result<(), JwtRejection> {
        if read.keys == Some(self.id) {
            return Ok(());
        }
        self.verify_anew(&read.token)?;
        memory.add(self.id, &read.token);
        Ok(())
    }

    fn verify_anew(&self, token: &Token) -> Result<(), JwtRejection> {
        if self.keys.is_empty() {
            return Err(JwtRejection::NoKeys);
        }
        let mut rejection = JwtRejection::NoMatchingKey;
        for key in self.keys.iter().filter(|key| key.fits(token)) {
            rejection = JwtRejection::Signature;
            if key.key.family() != token.algorithm.family() {
                continue;
            }
            let signed = token.signed().as_bytes();
            let verified =
                jsonwebtoken::crypto::verify(token.signature(), signed, &key.key, token.algorithm);
            if verified.is_ok_and(|good| good) {
                return Ok(());
            }
        }
        Err(rejection)
    }
}

impl Key {
    fn parse(value: &Value) -> Option<Self> {
        let text = |field| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut known = value.clone();
        // An algorithm or use that the library does not know must not lose the key.
        if let Some(fields) = known.as_object_mut() {
            fields.retain(|field, _| !matches!(field.as_str(), "alg" | "use" | "key_ops"));
        }
        let jwk: Jwk = serde_json::from_value(known).ok()?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: text("kid"), algorithm: text("alg"), key })
    }

    fn fits(&self, token: &Token) -> bool {
        let named = self.id.is_empty() || token.key_id.is_empty() || self.id == token.key_id;
        let meant = self.algorithm.is_empty() || self.algorithm == token.algorithm_name;
        named && meant
    }
}
