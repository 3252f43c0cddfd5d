//! How repeated requests are meant to spread.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The class of a spread over upstreams.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Spread {
    /// Each port gets its share, as far as chance allows.
    Shares(BTreeMap<u16, f64>),
    /// Each port gets its exact number.
    Exact(BTreeMap<u16, usize>),
    /// The ring of Envoy's `RING_HASH`, by the values of this header.
    RingHash(String),
    /// The table of Envoy's `MAGLEV`, by the values of this header, with these weights.
    Maglev(String, BTreeMap<u16, u32>),
    /// The table of `MAGLEV`, by this parameter of the query.
    MaglevQuery(String),
    /// All go to one port, whichever.
    One,
    /// Each goes where it went when the case was recorded.
    Recorded,
}
