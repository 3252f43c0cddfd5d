//! Peers whose certificates were verified before.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use crate::{
    certificate::{CertificateError, CertificateFacts},
    peer::PeerIdentity,
};

/// Peers that one verifier remembers; the oldest is forgotten for a new one. About 3 KiB each.
const PEERS_MAX: usize = 128;

/// What one verifier found out about chains of certificates.
///
/// A chain that it has accepted once is accepted again while every certificate of it is valid:
/// signatures of the same bytes under the same roots stay good, and a verifier does not outlive its
/// roots, names and revocation lists. That the peer holds the key is proved anew in every handshake.
/// A sidecar speaks to the same few workloads again and again, and to verify and read a chain is a
/// fifth of what such a handshake costs.
#[derive(Debug, Default)]
pub(crate) struct KnownPeers {
    newest_last: Mutex<VecDeque<Known>>,
}

#[derive(Debug)]
struct Known {
    identity: Arc<PeerIdentity>,
    /// When all certificates of the chain are valid.
    not_before: SystemTime,
    not_after: SystemTime,
}

impl KnownPeers {
    /// A peer that showed this very chain before, all of which is valid now.
    pub(crate) fn find(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Option<Arc<PeerIdentity>> {
        let known = self.newest_last.lock();
        let is_same = |known: &&Known| {
            let chain = known.identity.chain().split_first();
            chain.is_some_and(|(leaf, rest)| leaf == end_entity && rest == intermediates)
        };
        let found = known.iter().rev().find(is_same)?;
        let is_valid = found.not_before <= now && now <= found.not_after;
        is_valid.then(|| Arc::clone(&found.identity))
    }

    /// Remembers a chain that was verified.
    ///
    /// # Errors
    /// When a certificate of it cannot be read.
    pub(crate) fn add(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), CertificateError> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let identity = Arc::new(PeerIdentity::read(&chain)?);
        let (mut not_before, mut not_after) = (identity.facts.not_before, identity.facts.not_after);
        for certificate in intermediates {
            let facts = CertificateFacts::read(certificate)?;
            not_before = not_before.max(facts.not_before);
            not_after = not_after.min(facts.not_after);
        }
        let mut known = self.newest_last.lock();
        // Two handshakes of one peer may have been verified at a time.
        known.retain(|known| known.identity.chain() != identity.chain());
        if known.len() >= PEERS_MAX {
            known.pop_front();
        }
        known.push_back(Known { identity, not_before, not_after });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn certificate() -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["a.example".to_owned()];
        rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_same_chain_is_known_while_all_of_it_is_valid() {
        let (leaf, between, other) = (certificate(), certificate(), certificate());
        let known = KnownPeers::default();
        known.add(&leaf, std::slice::from_ref(&between)).unwrap();
        let facts = CertificateFacts::read(&leaf).unwrap();
        let during = facts.not_before + Duration::from_secs(60);
        let found = known.find(&leaf, std::slice::from_ref(&between), during).unwrap();
        assert_eq!(found.facts.dns_sans, ["a.example"]);
        assert!(known.find(&leaf, &[], during).is_none());
        assert!(known.find(&leaf, std::slice::from_ref(&other), during).is_none());
        assert!(known.find(&other, std::slice::from_ref(&between), during).is_none());
        let after = facts.not_after + Duration::from_secs(1);
        assert!(known.find(&leaf, &[between], after).is_none());
    }

    #[test]
    fn the_oldest_is_forgotten_for_a_new_one() {
        let chains: Vec<_> = (0..=PEERS_MAX).map(|_| certificate()).collect();
        let known = KnownPeers::default();
        for leaf in chains.iter().chain(chains.last()) {
            known.add(leaf, &[]).unwrap();
        }
        let now = CertificateFacts::read(&chains[0]).unwrap().not_before;
        assert!(known.find(&chains[0], &[], now).is_none());
        assert!(chains[1..].iter().all(|leaf| known.find(leaf, &[], now).is_some()));
    }
}
