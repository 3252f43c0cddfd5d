//! Replacing an identity before it expires.

use std::{
    error::Error,
    future::Future,
    time::{Duration, SystemTime},
};

use iako_rt::{Rng, clock};
use iako_types::SpiffeId;

use crate::{
    request::SigningRequest,
    source::{Identity, IdentitySource, RenewalState},
};

/// First pause after a failed attempt.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause after a failed attempt.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Share of the half life by which workloads spread their renewals, so that a mesh that was
/// started at once does not renew at once.
const JITTER: f64 = 0.1;

/// What to ask for, and for how long.
#[derive(Debug, Clone)]
pub struct RenewalSettings {
    /// The identity to ask for.
    pub id: SpiffeId,
    /// The lifetime to ask for; the signer may shorten it. Istio's default: 24 h.
    pub lifetime: Duration,
}

/// When to replace a certificate that was received at `received` and expires at `not_after`:
/// after half of the time that is left, up to a tenth of it earlier.
#[must_use]
pub fn renew_at(received: SystemTime, not_after: SystemTime, rng: &mut Rng) -> SystemTime {
    let left = not_after.duration_since(received).unwrap_or(Duration::ZERO);
    let share = 0.5 * (1.0 - JITTER * rng.unit());
    received.checked_add(left.mul_f64(share)).unwrap_or(received)
}

/// How long to wait after the `failures`-th failed attempt in a row: 1 s doubling to 60 s, and
/// between half and all of that by chance.
#[must_use]
pub fn retry_after(failures: u32, rng: &mut Rng) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = RETRY_FIRST.saturating_mul(1_u32 << doublings).min(RETRY_MAX);
    full.mul_f64(0.5 * (1.0 + rng.unit()))
}

/// Obtains an identity, publishes it in `source`, and replaces it at half of its life, for ever.
///
/// `fetch` hands a PEM request and the wanted lifetime to the signer and returns its answer: PEM
/// elements, leaf first, roots last. Every attempt has a fresh key. While attempts fail, the last
/// good identity stays and every failure is logged, louder once it has expired.
pub async fn keep_renewed<Fetch, Answer, Failure>(
    source: &IdentitySource,
    settings: &RenewalSettings,
    mut fetch: Fetch,
    mut rng: Rng,
) where
    Fetch: FnMut(String, Duration) -> Answer,
    Answer: Future<Output = Result<Vec<String>, Failure>>,
    Failure: Error + 'static,
{
    let mut failures = 0_u32;
    loop {
        let wait = match attempt(settings, &mut fetch).await {
            Ok(identity) => {
                failures = 0;
                let (received, not_after) = (clock::wall(), identity.svid.not_after());
                tracing::info!(
                    id = %identity.svid.id(),
                    serial = %identity.svid.certificate().facts().serial,
                    seconds_left = seconds_between(received, not_after),
                    "identity issued"
                );
                source.publish(identity);
                let at = renew_at(received, not_after, &mut rng);
                // A signer that hands out nearly dead certificates must not be hammered.
                at.duration_since(received).unwrap_or(Duration::ZERO).max(RETRY_FIRST)
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                warn_of(source, settings, &error, failures);
                source.note(RenewalState { failures, last_error: Some(error), next_attempt: None });
                retry_after(failures, &mut rng)
            }
        };
        let last_error = source.renewal().last_error.clone().filter(|_| failures > 0);
        let next_attempt = clock::wall().checked_add(wait);
        source.note(RenewalState { next_attempt, failures, last_error });
        pause(wait).await;
    }
}

async fn attempt<Fetch, Answer, Failure>(
    settings: &RenewalSettings,
    fetch: &mut Fetch,
) -> Result<Identity, String>
where
    Fetch: FnMut(String, Duration) -> Answer,
    Answer: Future<Output = Result<Vec<String>, Failure>>,
    Failure: Error + 'static,
{
    let request = SigningRequest::generate(&settings.id).map_err(|error| chain(&error))?;
    let answer = fetch(request.csr_pem().to_owned(), settings.lifetime).await;
    let elements = answer.map_err(|error| chain(&error))?;
    Identity::from_issued(&elements, request.into_key(), &settings.id, clock::wall())
        .map_err(|error| chain(&error))
}

/// Waits in steps that look at the wall clock: a machine that slept must not oversleep its
/// certificate, and tokio's timers stand still while it sleeps.
async fn pause(wait: Duration) {
    const STEP: Duration = Duration::from_secs(60);
    let Some(until) = clock::wall().checked_add(wait) else { return };
    while let Ok(left) = until.duration_since(clock::wall()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(STEP)).await;
    }
}

fn warn_of(source: &IdentitySource, settings: &RenewalSettings, error: &str, failures: u32) {
    let now = clock::wall();
    let id = &settings.id;
    match source.current().map(|current| current.svid.not_after()) {
        Some(not_after) if not_after > now => tracing::warn!(
            %id, %error, failures, seconds_left = seconds_between(now, not_after),
            "identity not renewed; the last one stays"
        ),
        Some(_) => tracing::error!(
            %id, %error, failures, "identity not renewed and expired; peers refuse us"
        ),
        None => tracing::warn!(%id, %error, failures, "no identity yet"),
    }
}

fn seconds_between(from: SystemTime, to: SystemTime) -> u64 {
    to.duration_since(from).unwrap_or(Duration::ZERO).as_secs()
}

/// An error with its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_falls_shortly_before_half_life_and_never_after_it() {
        let received = SystemTime::UNIX_EPOCH;
        let day = Duration::from_secs(86_400);
        let mut rng = Rng::from_seed(1);
        for _ in 0..1000 {
            let at = renew_at(received, received + day, &mut rng);
            let after = at.duration_since(received).unwrap();
            assert!(after <= day / 2 && after >= day.mul_f64(0.45), "{after:?}");
        }
        assert_eq!(renew_at(received + day, received, &mut rng), received + day);
    }

    #[test]
    fn retries_back_off_to_a_minute() {
        let mut rng = Rng::from_seed(1);
        let bounds = |failures, rng: &mut Rng| {
            let draws: Vec<_> = (0..200).map(|_| retry_after(failures, rng)).collect();
            (*draws.iter().min().unwrap(), *draws.iter().max().unwrap())
        };
        let (low, high) = bounds(1, &mut rng);
        assert!(low >= RETRY_FIRST / 2 && high <= RETRY_FIRST);
        let (low, high) = bounds(u32::MAX, &mut rng);
        assert!(low >= RETRY_MAX / 2 && high <= RETRY_MAX);
    }
}
