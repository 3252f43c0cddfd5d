//! The descriptors of every message that the codec knows, for reflection.

use std::io::Read as _;

use parking_lot::Mutex;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Four megabytes: kept only while configuration is read or shown, see [`release_pool`].
static POOL: Mutex<Option<DescriptorPool>> = Mutex::new(None);

fn load() -> DescriptorPool {
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(iako_xds_api::DESCRIPTORS_GZ).read_to_end(&mut bytes);
    // The descriptors are a constant of the program, and a test reads them.
    debug_assert!(read.is_ok(), "the built-in descriptors do not unpack: {read:?}");
    let pool = DescriptorPool::decode(bytes.as_slice());
    debug_assert!(pool.is_ok(), "the built-in descriptors do not decode: {pool:?}");
    pool.unwrap_or_default()
}

/// Descriptors of Envoy's, xDS's and Istio's messages, as far as a mesh needs them. Loaded at the
/// first use, in some ten milliseconds.
pub fn pool() -> DescriptorPool {
    POOL.lock().get_or_insert_with(load).clone()
}

/// Lets go of what [`pool`] loaded, which weighs more than the rest of an idle proxy; the next use
/// loads it anew. Says whether anything was held. For whoever knows that no configuration is being
/// read.
pub fn release_pool() -> bool {
    POOL.lock().take().is_some()
}

/// The message that a type URL (`type.googleapis.com/envoy.config.cluster.v3.Cluster`) or a full
/// name stands for, when it is one we know.
pub(crate) fn message(type_url: &str) -> Option<MessageDescriptor> {
    pool().get_message_by_name(full_name(type_url))
}

/// The full name of the message in a type URL: what follows the last slash.
pub(crate) fn full_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}
