//! Addresses and sockets of listeners.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::listener::v3 as pb;
use prost_types::value::Kind;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConnectionBalance, Listener, PipeAddress, SocketOption, SocketOptionValue, SocketSettings,
    SocketState, TcpKeepalive,
};

/// The section of a listener's metadata in which our control plane says what Envoy's schema has no
/// field for.
pub(crate) const OWN_METADATA: &str = "iako.listener";
/// Its key for the most connections.
pub(crate) const CONNECTIONS_MAX: &str = "connections_max";

/// Reads an address of streams or of datagrams.
type ReadAddress = fn(Option<&core::Address>, &At<'_>) -> Result<SocketAddr, Fault>;

/// Every address of a listener.
pub(super) fn addresses(
    listener: &pb::Listener,
    value: &mut Listener,
    read: ReadAddress,
    at: &At<'_>,
) -> Result<(), Fault> {
    value.addresses.clear();
    address(listener.address.as_ref(), value, read, &at.field("address"))?;
    let at = at.field("additional_addresses");
    for (index, additional) in listener.additional_addresses.iter().enumerate() {
        address(additional.address.as_ref(), value, read, &at.index(index).field("address"))?;
    }
    Ok(())
}

fn address(
    address: Option<&core::Address>,
    value: &mut Listener,
    read: ReadAddress,
    at: &At<'_>,
) -> Result<(), Fault> {
    let Some(core::address::Address::Pipe(pipe)) = address.and_then(|one| one.address.as_ref())
    else {
        value.addresses.push(read(address, at)?);
        return Ok(());
    };
    let at = at.field("pipe");
    if pipe.path.is_empty() {
        return Err(at.field("path").missing("write the path of the socket"));
    }
    if pipe.mode > 0o777 {
        let problem = format!("{:o} is no set of permissions", pipe.mode);
        return Err(at.field("mode").invalid(problem, "write a number from 0 to 511 (0o777)"));
    }
    value.pipes.push(PipeAddress { path: pipe.path.clone().into(), mode: pipe.mode });
    Ok(())
}

/// How its sockets are opened.
pub(super) fn settings(listener: &pb::Listener, at: &At<'_>) -> Result<SocketSettings, Fault> {
    use pb::listener::connection_balance_config::BalanceType;
    let at_balance = at.field("connection_balance_config");
    let balance = listener.connection_balance_config.as_ref();
    let balance = match balance.map(|balance| &balance.balance_type) {
        None => ConnectionBalance::Fair,
        Some(Some(BalanceType::ExactBalance(_))) => ConnectionBalance::Exact,
        Some(Some(_)) => {
            let help = "write `exact_balance: {}`";
            return Err(at_balance.invalid("is not a balance that this proxy has", help));
        }
        Some(None) => return Err(at_balance.missing("write `exact_balance: {}`")),
    };
    let at_keepalive = at.field("tcp_keepalive");
    Ok(SocketSettings {
        reuse_port: listener.enable_reuse_port.unwrap_or(true),
        balance,
        keepalive: listener.tcp_keepalive.as_ref().map(keepalive),
        fast_open_queue: listener.tcp_fast_open_queue_length,
        multipath: listener.enable_mptcp,
        options: wire::list(&listener.socket_options, &at.field("socket_options"), socket_option)?,
    })
    .inspect(|_| {
        if listener.tcp_keepalive.is_some_and(|keepalive| keepalive.keepalive_probes == Some(0)) {
            at_keepalive.field("keepalive_probes").warn("0 leaves it to the operating system");
        }
    })
}

fn keepalive(keepalive: &core::TcpKeepalive) -> TcpKeepalive {
    let seconds = |value: Option<u32>| {
        value.filter(|value| *value > 0).map(|value| Duration::from_secs(value.into()))
    };
    TcpKeepalive {
        probes: keepalive.keepalive_probes.and_then(NonZeroU32::new),
        time: seconds(keepalive.keepalive_time),
        interval: seconds(keepalive.keepalive_interval),
    }
}

fn socket_option(option: &core::SocketOption, at: &At<'_>) -> Result<SocketOption, Fault> {
    use core::socket_option::{SocketState as State, Value};
    let number = |value: i64, field: &'static str| {
        i32::try_from(value).map_err(|_too_large| {
            let help = "write the operating system's number";
            at.field(field).invalid(format!("{value} is no number of an option"), help)
        })
    };
    let value = match &option.value {
        Some(Value::IntValue(value)) => SocketOptionValue::Number(number(*value, "int_value")?),
        Some(Value::BufValue(bytes)) => SocketOptionValue::Bytes(bytes.to_vec().into()),
        None => return Err(at.missing("write `int_value` or `buf_value`")),
    };
    Ok(SocketOption {
        description: option.description.clone(),
        level: number(option.level, "level")?,
        name: number(option.name, "name")?,
        value,
        state: match wire::known::<State>(option.state, &at.field("state"))? {
            State::StatePrebind => SocketState::Prebind,
            State::StateBound => SocketState::Bound,
            State::StateListening => SocketState::Listening,
        },
    })
}

/// The limit of connections that our control plane tells.
pub(super) fn connections_max(listener: &pb::Listener) -> Option<u32> {
    let section = listener.metadata.as_ref()?.filter_metadata.get(OWN_METADATA)?;
    let Some(Kind::NumberValue(number)) = section.fields.get(CONNECTIONS_MAX)?.kind else {
        return None;
    };
    let whole = (1.0..=f64::from(u32::MAX)).contains(&number).then(|| number.to_string())?;
    whole.parse().ok()
}
