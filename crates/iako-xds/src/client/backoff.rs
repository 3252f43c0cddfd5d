//! How long to wait before dialling again.

use std::time::Duration;

use iako_rt::Rng;

/// Pauses between attempts to connect: doubling, bounded, and spread by chance so that the
/// clients of a restarted control plane do not return as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after `failures` failed attempts in a row, at least one: between half and all of
    /// `first` doubled for each further one.
    #[must_use]
    pub fn pause(&self, failures: u32, rng: &mut Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let full = self.first.saturating_mul(1_u32 << doublings).min(self.longest);
        full.mul_f64(0.5 * (1.0 + rng.unit()))
    }
}

/// 500 ms to 30 s, as Envoy.
impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}
