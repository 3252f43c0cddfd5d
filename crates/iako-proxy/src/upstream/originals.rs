//! Live numbers of endpoints that are not listed, found by a worker without asking anybody.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iako_proxy_config::EndpointAddress;
use iako_traffic::EndpointState;

use crate::snapshot::UpstreamCluster;

/// Endpoints that one worker remembers; for others it asks the cluster, which takes a lock.
const REMEMBERED_MAX: usize = 16 * 1024;
/// One that was not used for so long is forgotten. Envoy default of `cleanup_interval`: 5 s.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// A version of a cluster, and an address.
type Place = (u64, SocketAddr);

/// A state, and when it was used last.
type Used = (Arc<EndpointState>, Instant);

/// The endpoints of original-destination and forwarding clusters that one worker used lately.
#[derive(Debug, Default)]
pub(crate) struct Originals(RefCell<HashMap<Place, Used>>);

impl Originals {
    /// The state of the endpoint at this address, the same for all workers.
    pub(crate) fn state(
        &self,
        cluster: &UpstreamCluster,
        address: SocketAddr,
        now: Instant,
    ) -> Arc<EndpointState> {
        let mut known = self.0.borrow_mut();
        if let Some((state, used)) = known.get_mut(&(cluster.id, address)) {
            *used = now;
            return Arc::clone(state);
        }
        let state = cluster.state.endpoint(&EndpointAddress::Socket(address));
        if known.len() < REMEMBERED_MAX {
            known.insert((cluster.id, address), (Arc::clone(&state), now));
        }
        state
    }

    /// Forgets what was not used lately.
    pub(crate) fn sweep(&self, now: Instant) {
        let is_fresh = |used: Instant| now.saturating_duration_since(used) < FORGOTTEN_AFTER;
        self.0.borrow_mut().retain(|_, (_, used)| is_fresh(*used));
    }
}
