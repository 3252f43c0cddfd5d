//! Entry points for fuzzers: configuration by anybody. Any bytes in, no panic, and what was taken can
//! be told again and is taken again.
//!
//! The targets in `fuzz/` call these; an ordinary test calls them with every input that is kept there.

use prost_types::Any;

use crate::{bootstrap, decode, encode, type_url};

/// Reads the bytes as a bootstrap in YAML or JSON.
pub fn fuzz_bootstrap(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Refused is as good as taken here.
    drop(bootstrap::parse("fuzz.yaml", text));
}

/// Reads the bytes as a resource, of the type that the first byte chooses.
pub fn fuzz_resource(input: &[u8]) {
    let Some((kind, value)) = input.split_first() else { return };
    let any = |url: &str| Any { type_url: url.to_owned(), value: value.to_vec() };
    match kind % 10 {
        0 => again(&any(type_url::LISTENER), decode::listener, encode::listener),
        1 => again(
            &any(type_url::ROUTE_CONFIGURATION),
            decode::route_configuration,
            encode::route_configuration,
        ),
        2 => again(&any(type_url::CLUSTER), decode::cluster, encode::cluster),
        3 => again(&any(type_url::ENDPOINTS), decode::endpoints, encode::endpoints),
        4 => again(&any(type_url::SECRET), decode::secret, encode::secret),
        5 => drop(decode::runtime(&any(RUNTIME))),
        6 => drop(decode::virtual_host(&any(VIRTUAL_HOST))),
        7 => again(&any(SCOPE), decode::scope, encode::scope),
        8 => drop(decode::http_extension(&any(EXTENSION))),
        _ => drop(decode::network_extension(&any(EXTENSION))),
    }
}

const RUNTIME: &str = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
const SCOPE: &str = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// What was taken, told and read again, is taken too.
fn again<T>(
    resource: &Any,
    decode: impl Fn(&Any) -> decode::Decoded<T>,
    encode: impl Fn(&T) -> Any,
) {
    let Ok((value, _)) = decode(resource) else { return };
    let told = encode(&value);
    let read = decode(&told);
    debug_assert!(read.is_ok(), "what was told is refused: {:?}", read.err());
}
