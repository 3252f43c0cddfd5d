//! Which gRPC calls are counted apart.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use iako_proxy_config::{CountedMethods, GrpcStats};

/// The methods that are counted apart, compiled.
///
/// Source: `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
#[derive(Debug)]
pub struct CountedCalls {
    which: Which,
    replaces_dots: bool,
}

#[derive(Debug)]
enum Which {
    Together,
    Each,
    Listed(HashMap<String, HashSet<String>>),
}

/// How a call is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountedCall<'p> {
    /// Not at all: its target is none of gRPC.
    Not,
    /// With all others.
    Together,
    /// Apart.
    Apart {
        /// The service, as its statistics name it.
        service: Cow<'p, str>,
        /// The method.
        method: &'p str,
    },
}

/// Service and method of a gRPC target.
fn parts(target: &str) -> Option<(&str, &str)> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut parts = path.strip_prefix('/')?.split('/');
    let found = (parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !found.0.is_empty() && !found.1.is_empty();
    is_whole.then_some(found)
}

impl CountedCalls {
    /// Compiles settings.
    #[must_use]
    pub fn compile(settings: &GrpcStats) -> Self {
        let which = match &settings.methods {
            CountedMethods::Together => Which::Together,
            CountedMethods::Each => Which::Each,
            CountedMethods::Listed(services) => {
                let mut listed: HashMap<String, HashSet<String>> = HashMap::new();
                for service in services {
                    let methods = listed.entry(service.service.clone()).or_default();
                    methods.extend(service.methods.iter().cloned());
                }
                Which::Listed(listed)
            }
        };
        Self { which, replaces_dots: settings.replaces_dots }
    }

    /// How a call to this target is counted.
    #[must_use]
    pub fn call<'p>(&self, target: &'p str) -> CountedCall<'p> {
        let Some((service, method)) = parts(target) else { return CountedCall::Not };
        match &self.which {
            Which::Together => CountedCall::Together,
            // Envoy the same: listed names stay as they are.
            Which::Listed(listed) => {
                let is_listed = listed.get(service).is_some_and(|known| known.contains(method));
                if is_listed {
                    CountedCall::Apart { service: service.into(), method }
                } else {
                    CountedCall::Together
                }
            }
            Which::Each if self.replaces_dots => {
                CountedCall::Apart { service: service.replace('.', "_").into(), method }
            }
            Which::Each => CountedCall::Apart { service: service.into(), method },
        }
    }
}

/// Whether content of this type is messages with a head of five bytes each: those of gRPC, and those
/// of streams of Connect. Source: `application/connect+…`.
#[must_use]
pub fn is_framed_content_type(value: &[u8]) -> bool {
    crate::is_grpc_content_type(value) || value.starts_with(b"application/connect+")
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::GrpcServiceMethods;

    use super::*;

    #[test]
    fn calls_are_counted_apart_where_their_method_is_listed() {
        let listed = GrpcServiceMethods { service: "a.B".into(), methods: vec!["C".into()] };
        let methods = CountedMethods::Listed(vec![listed]);
        let settings = GrpcStats { methods, replaces_dots: true, ..GrpcStats::default() };
        let calls = CountedCalls::compile(&settings);
        let apart = CountedCall::Apart { service: "a.B".into(), method: "C" };
        assert_eq!(calls.call("/a.B/C?q"), apart);
        assert_eq!(calls.call("/a.B/D"), CountedCall::Together);
        for target in ["/a.B", "/a.B/C/D", "//C", "/a.B/", "a.B/C"] {
            assert_eq!(calls.call(target), CountedCall::Not, "{target}");
        }
        let together = CountedCalls::compile(&GrpcStats::default());
        assert_eq!(together.call("/a.B/C"), CountedCall::Together);
    }
}
