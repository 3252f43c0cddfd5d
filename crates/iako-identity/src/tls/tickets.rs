//! Session tickets: sessions that clients keep for us, encrypted.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use iako_rt::clock;
use rustls::{
    crypto::GetRandomFailed,
    server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions},
    ticketer::TicketRotator,
};

use super::{TlsError, provider};
use crate::certificate::sha256;

/// How long a ticket is good where nobody says otherwise, in seconds. rustls's own are.
const LIFETIME_SECONDS: u32 = 12 * 60 * 60;
/// Bytes that name a key.
const NAME_BYTES: usize = 16;
/// Bytes of the time at which a ticket was given.
const TIME_BYTES: usize = 8;

/// How sessions of clients may be taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSessions {
    /// Those that clients keep. Default: with keys of this server's own.
    pub tickets: TicketSource,
    /// Whether some are kept here, for clients of TLS 1.2 without tickets and, where no tickets are
    /// given, for those of TLS 1.3. Default: yes.
    pub stored: bool,
    /// How long a ticket is good. Default: 12 hours.
    pub lifetime: Option<Duration>,
}

impl Default for ServerSessions {
    fn default() -> Self {
        Self { tickets: TicketSource::Own, stored: true, lifetime: None }
    }
}

/// Whose keys encrypt tickets.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum TicketSource {
    /// There are no tickets.
    Off,
    /// Keys that are made here and change by themselves.
    #[default]
    Own,
    /// These: 16 bytes that name one and 64 of chance. The first encrypts, each decrypts.
    Keys(Vec<[u8; 80]>),
}

impl fmt::Debug for TicketSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Own => "Own",
            Self::Keys(_) => "Keys(hidden)",
        })
    }
}

impl ServerSessions {
    /// None at all.
    pub const OFF: Self = Self { tickets: TicketSource::Off, stored: false, lifetime: None };

    /// Makes a server's settings follow.
    pub(super) fn apply(&self, config: &mut rustls::ServerConfig) -> Result<(), TlsError> {
        let seconds = self.lifetime.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        match &self.tickets {
            TicketSource::Off => {}
            TicketSource::Own => config.ticketer = own(seconds)?,
            TicketSource::Keys(keys) => {
                config.ticketer = Arc::new(Keyed::new(keys, seconds).ok_or(TlsError::TicketKeys)?);
            }
        }
        if !self.stored {
            let none: Arc<dyn StoresServerSessions> = Arc::new(NoServerSessionStorage {});
            config.session_storage = none;
            if self.tickets == TicketSource::Off {
                config.send_tls13_tickets = 0;
            }
        }
        Ok(())
    }
}

/// Tickets with keys that are made here, and forgotten after twice the time that tickets are good.
fn own(seconds: Option<u32>) -> Result<Arc<dyn ProducesTickets>, TlsError> {
    let seconds = seconds.unwrap_or(LIFETIME_SECONDS);
    let rotator = TicketRotator::new(seconds.max(1).div_ceil(2), generate);
    let tickets = rotator.map_err(TlsError::Settings)?;
    Ok(Arc::new(Bounded { tickets, seconds }))
}

fn generate() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    let mut key = [0; 80];
    provider().secure_random.fill(&mut key)?;
    match Keyed::new(&[key], None) {
        Some(tickets) => Ok(Box::new(tickets)),
        None => Err(GetRandomFailed),
    }
}

/// Tells clients how long tickets are good.
#[derive(Debug)]
struct Bounded {
    tickets: TicketRotator,
    seconds: u32,
}

impl ProducesTickets for Bounded {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.seconds
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(cipher)
    }
}

/// Tickets with keys that are given: a name, a nonce, then the time of giving and the session,
/// encrypted by AES-256-GCM.
#[derive(Debug)]
struct Keyed {
    keys: Vec<TicketKey>,
    seconds: u32,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(hidden)")
    }
}

impl Keyed {
    fn new(keys: &[[u8; 80]], seconds: Option<u32>) -> Option<Self> {
        let key = |bytes: &[u8; 80]| {
            let (name, secret) = bytes.split_first_chunk::<NAME_BYTES>()?;
            // An Envoy signs with one half of the secret and encrypts with the other; one key is
            // enough here, and depends on both.
            let key = RandomizedNonceKey::new(&AES_256_GCM, &sha256(secret)).ok()?;
            Some(TicketKey { name: *name, key })
        };
        let keys = keys.iter().map(key).collect::<Option<Vec<_>>>()?;
        (!keys.is_empty()).then(|| Self { keys, seconds: seconds.unwrap_or(LIFETIME_SECONDS) })
    }

    fn is_good(&self, given: u64) -> bool {
        seconds_now().checked_sub(given).is_some_and(|age| age <= u64::from(self.seconds))
    }
}

impl ProducesTickets for Keyed {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.seconds
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let first = self.keys.first()?;
        let mut sealed = [&seconds_now().to_be_bytes()[..], plain].concat();
        let nonce = first.key.seal_in_place_append_tag(Aad::from(first.name), &mut sealed).ok()?;
        Some([&first.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let opened = key.key.open_in_place(nonce, Aad::from(*name), &mut sealed).ok()?;
        let (given, plain) = opened.split_first_chunk::<TIME_BYTES>()?;
        self.is_good(u64::from_be_bytes(*given)).then(|| plain.to_vec())
    }
}

fn seconds_now() -> u64 {
    clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_key_opens_its_tickets_and_nobody_else() {
        let (first, second) = ([1; 80], [2; 80]);
        let giver = Keyed::new(&[first, second], None).unwrap();
        let ticket = giver.encrypt(b"session").unwrap();
        let opened = |keys: &[[u8; 80]]| Keyed::new(keys, None).unwrap().decrypt(&ticket);
        assert_eq!(opened(&[second, first]).unwrap(), b"session");
        assert_eq!(opened(&[second]), None);
        // The same name and another secret.
        let mut other = first;
        other[79] = 9;
        assert_eq!(opened(&[other]), None);
        assert!(!ticket.windows(7).any(|part| part == b"session"));
        let mut broken = ticket.clone();
        broken[20] ^= 1;
        assert_eq!(giver.decrypt(&broken), None);
        assert_eq!(giver.decrypt(b"short"), None);
    }

    #[test]
    fn a_ticket_is_good_for_its_time_only() {
        let tickets = Keyed::new(&[[1; 80]], Some(60)).unwrap();
        let now = seconds_now();
        assert!(tickets.is_good(now));
        assert!(tickets.is_good(now - 50));
        assert!(!tickets.is_good(now - 100));
        assert!(!tickets.is_good(now + 100), "not from the future");
    }
}
