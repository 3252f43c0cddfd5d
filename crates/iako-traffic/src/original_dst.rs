//! Where something goes that goes where its client meant to, when a filter says otherwise. Source: Envoy
//! `envoy.clusters.original_dst`.

use std::net::SocketAddr;

use iako_proxy_config::MetadataPath;
use serde_json::Value;

use crate::Metadata;

/// Under this name a filter keeps the address.
const STATE: &str = "envoy.network.transport_socket.original_dst_address";

/// What filters say of where something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalName {
    /// Nothing.
    Absent,
    /// Something that is no address.
    Invalid,
    /// There.
    At(SocketAddr),
}

/// What filters say of where something goes: an object before metadata, what is nearer before what is
/// farther (a request before its connection).
#[must_use]
pub fn original_name(facts: &[&Metadata], key: Option<&MetadataPath>) -> OriginalName {
    let state = facts.iter().find_map(|facts| facts.state(STATE)?.parse().ok());
    if let Some(address) = state {
        return OriginalName::At(address);
    }
    let told = |facts: &&Metadata| {
        let key = key?;
        facts.find(&key.filter, &key.path).and_then(Value::as_str).map(str::parse)
    };
    match facts.iter().find_map(told) {
        None => OriginalName::Absent,
        Some(Ok(address)) => OriginalName::At(address),
        Some(Err(_)) => OriginalName::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_before_metadata_and_a_request_before_its_connection() {
        let key = MetadataPath { filter: "f".to_owned(), path: vec!["to".to_owned()] };
        let (mut near, mut far) = (Metadata::default(), Metadata::default());
        let says = |near: &Metadata, far: &Metadata| original_name(&[near, far], Some(&key));
        let at = |text: &str| OriginalName::At(text.parse().unwrap());
        assert_eq!(says(&near, &far), OriginalName::Absent);
        far.set("f", "to", Value::from("10.0.0.1:1"));
        assert_eq!(says(&near, &far), at("10.0.0.1:1"));
        near.set("f", "to", Value::from("nowhere"));
        assert_eq!(says(&near, &far), OriginalName::Invalid);
        near.set("f", "to", Value::from("10.0.0.2:2"));
        assert_eq!(says(&near, &far), at("10.0.0.2:2"));
        assert_eq!(original_name(&[&near, &far], None), OriginalName::Absent);
        far.set_state(STATE, "10.0.0.3:3".to_owned());
        assert_eq!(says(&near, &far), at("10.0.0.3:3"));
    }
}
