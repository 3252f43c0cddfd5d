//! Parts of route tables that are the same bytes as when they were read last: the value that was made
//! of them then serves again. One changed route of thousands costs little more than itself, here and in
//! what is compiled of the table.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, LazyLock, Weak};

use foldhash::quality::RandomState;
use iako_xds_api::envoy::config::route::v3 as pb;
use parking_lot::Mutex;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{Message, Name};

use super::route::{self, Table};
use crate::problem::{At, Fault};
use crate::support;
use iako_proxy_config::{Route, VirtualHost};

/// `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;
/// `VirtualHost.routes`.
const ROUTES: u32 = 3;
/// So many are remembered before it is looked for the first time which of them are gone.
const SWEEP_AT: usize = 1024;

/// What is alive of what was read, by the bytes that it was made of.
#[derive(Default)]
struct Known {
    hosts: HashMap<u128, Weak<VirtualHost>, foldhash::fast::RandomState>,
    routes: HashMap<u128, Weak<Route>, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Known {
    /// Forgets what nobody holds any more, each time that there is twice as much as was alive.
    fn sweep(&mut self) {
        if self.hosts.len().saturating_add(self.routes.len()) < self.sweep_at.max(SWEEP_AT) {
            return;
        }
        self.hosts.retain(|_, host| host.strong_count() > 0);
        self.routes.retain(|_, route| route.strong_count() > 0);
        let alive = self.hosts.len().saturating_add(self.routes.len());
        self.sweep_at = alive.saturating_mul(2);
    }
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
/// Two hashes that nobody outside can foresee: 128 bits tell all tables of a process apart.
static HASHES: LazyLock<[RandomState; 2]> =
    LazyLock::new(|| [RandomState::default(), RandomState::default()]);

/// What a part is known by: its bytes, and what else it is read by.
fn key(bytes: &[u8], table: Table<'_>) -> u128 {
    let [high, low] = HASHES.each_ref().map(|state| {
        let mut hasher = state.build_hasher();
        hasher.write_u128(table.key);
        hasher.write(bytes);
        u128::from(hasher.finish())
    });
    high << 64 | low
}

/// What all parts of a table are read by besides their own bytes.
pub(super) fn table_key(body_bytes_max: u32, specifiers: &[u8]) -> u128 {
    if specifiers.is_empty() {
        return body_bytes_max.into();
    }
    let [high, low] = HASHES.each_ref().map(|state| {
        let mut hasher = state.build_hasher();
        hasher.write_u32(body_bytes_max);
        hasher.write(specifiers);
        u128::from(hasher.finish())
    });
    high << 64 | low
}

/// A message without the elements of one of its fields, and those elements.
pub(super) struct Split<'b> {
    rest: Vec<u8>,
    parts: Vec<&'b [u8]>,
}

/// Takes a route configuration apart; none when the bytes are no message.
pub(super) fn split_table(bytes: &[u8]) -> Option<Split<'_>> {
    split(bytes, VIRTUAL_HOSTS)
}

impl Split<'_> {
    /// What is left of the message.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }
}

fn split(bytes: &[u8], number: u32) -> Option<Split<'_>> {
    let mut split = Split { rest: Vec::new(), parts: Vec::new() };
    let mut left = bytes;
    while !left.is_empty() {
        let field = left;
        let (found, wire_type) = decode_key(&mut left).ok()?;
        if found == number && wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut left).ok()?).ok()?;
            split.parts.push(left.get(..length)?);
            left.advance(length);
            continue;
        }
        skip_field(wire_type, found, &mut left, DecodeContext::default()).ok()?;
        let taken = field.len().checked_sub(left.len())?;
        split.rest.extend_from_slice(field.get(..taken)?);
    }
    Some(split)
}

/// The virtual hosts of a table that was taken apart.
pub(super) fn virtual_hosts(
    split: &Split<'_>,
    table: Table<'_>,
    at: &At<'_>,
) -> Result<Vec<Arc<VirtualHost>>, Fault> {
    let known = &mut *KNOWN.lock();
    known.sweep();
    let hosts = split.parts.iter().enumerate();
    hosts.map(|(index, bytes)| virtual_host(bytes, table, &at.index(index), known)).collect()
}

fn virtual_host(
    bytes: &[u8],
    table: Table<'_>,
    at: &At<'_>,
    known: &mut Known,
) -> Result<Arc<VirtualHost>, Fault> {
    let key = key(bytes, table);
    if let Some(host) = known.hosts.get(&key).and_then(Weak::upgrade) {
        return Ok(host);
    }
    let warned = at.warnings();
    let split = split(bytes, ROUTES).ok_or_else(|| broken(&pb::VirtualHost::full_name(), at))?;
    let message: pb::VirtualHost = checked(&split.rest, at)?;
    let at_routes = at.field("routes");
    let routes = split.parts.iter().enumerate();
    let routes = routes.map(|(index, bytes)| route(bytes, table, &at_routes.index(index), known));
    let routes = routes.collect::<Result<Vec<_>, Fault>>()?;
    let host = Arc::new(route::virtual_host(&message, routes, table, at)?);
    // What was warned of is read again, so that it is said again.
    if at.warnings() == warned {
        known.hosts.insert(key, Arc::downgrade(&host));
    }
    Ok(host)
}

fn route(
    bytes: &[u8],
    table: Table<'_>,
    at: &At<'_>,
    known: &mut Known,
) -> Result<Arc<Route>, Fault> {
    let key = key(bytes, table);
    if let Some(route) = known.routes.get(&key).and_then(Weak::upgrade) {
        return Ok(route);
    }
    let warned = at.warnings();
    let message: pb::Route = checked(bytes, at)?;
    let route = Arc::new(route::route(&message, table, at)?);
    if at.warnings() == warned {
        known.routes.insert(key, Arc::downgrade(&route));
    }
    Ok(route)
}

/// A part as a message, of which every field was looked at.
fn checked<M: Message + Name + Default>(bytes: &[u8], at: &At<'_>) -> Result<M, Fault> {
    let message = M::decode(bytes).map_err(|_broken| broken(&M::full_name(), at))?;
    support::check_part(at, &M::full_name(), bytes)?;
    Ok(message)
}

fn broken(name: &str, at: &At<'_>) -> Fault {
    let help = "send the bytes of the message that the type URL names";
    at.invalid(format!("does not decode as `{name}`"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Nothing of a message is lost or doubled, whatever its fields are.
    #[test]
    fn a_message_is_what_is_left_and_its_parts() {
        let host = |name: &str| pb::VirtualHost {
            name: name.to_owned(),
            domains: vec![name.to_owned()],
            include_request_attempt_count: true,
            ..Default::default()
        };
        let table = pb::RouteConfiguration {
            name: "t".to_owned(),
            virtual_hosts: vec![host("a"), host("b")],
            max_direct_response_body_size_bytes: Some(9),
            most_specific_header_mutations_wins: true,
            ..Default::default()
        };
        let bytes = table.encode_to_vec();
        let split = split_table(&bytes).unwrap();
        let mut back = pb::RouteConfiguration::decode(split.rest()).unwrap();
        assert!(back.virtual_hosts.is_empty());
        back.virtual_hosts =
            split.parts.iter().map(|part| pb::VirtualHost::decode(*part).unwrap()).collect();
        assert_eq!(back, table);
        assert!(split_table(bytes.get(..bytes.len() - 1).unwrap()).is_none());
    }
}
