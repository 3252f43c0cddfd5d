//! Choices of instances, as Envoy was seen to make them and by their shares.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may be blunt, also outside of the test functions"
)]

#[path = "balance/outlier.rs"]
mod outlier;
#[path = "balance/place.rs"]
mod place;
#[path = "balance/policy.rs"]
mod policy;
#[path = "balance/rig.rs"]
mod rig;
#[path = "balance/subset.rs"]
mod subset;
