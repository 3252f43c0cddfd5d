//! Scalars of the wire as values: durations, shares, ports, addresses, enums.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use iako_types::{CidrRange, Fraction, FractionDenominator, Percent};
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::r#type::v3 as kind;
use prost_types::Any;

use crate::problem::{At, Fault};
use iako_proxy_config::{HeaderName, Keyed};

/// A value of an enum field that the schema has.
pub(super) fn known<E: TryFrom<i32>>(value: i32, at: &At<'_>) -> Result<E, Fault> {
    let help = "use one of the values of the schema; docs/xds-support.md names the field's message";
    E::try_from(value)
        .map_err(|_unknown| at.invalid(format!("{value} is not a value of this field"), help))
}

/// A duration that is not negative.
pub(super) fn duration(value: &prost_types::Duration, at: &At<'_>) -> Result<Duration, Fault> {
    let (seconds, nanos) = (u64::try_from(value.seconds), u32::try_from(value.nanos));
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(at.invalid("is not a duration of zero or more", "write seconds, such as `10s`")),
    }
}

/// A duration whose absence means something of its own.
pub(super) fn optional(
    value: Option<&prost_types::Duration>,
    at: &At<'_>,
) -> Result<Option<Duration>, Fault> {
    value.map(|value| duration(value, at)).transpose()
}

/// A duration with a default.
pub(super) fn duration_or(
    value: Option<&prost_types::Duration>,
    default: Duration,
    at: &At<'_>,
) -> Result<Duration, Fault> {
    Ok(optional(value, at)?.unwrap_or(default))
}

/// A limit in time: zero switches it off, absence means the default.
pub(super) fn limit(
    value: Option<&prost_types::Duration>,
    default: Option<Duration>,
    at: &At<'_>,
) -> Result<Option<Duration>, Fault> {
    Ok(match optional(value, at)? {
        None => default,
        Some(Duration::ZERO) => None,
        some @ Some(_) => some,
    })
}

/// A duration above zero.
pub(super) fn positive(value: Duration, at: &At<'_>) -> Result<Duration, Fault> {
    if value.is_zero() {
        return Err(at.invalid("must be more than zero", "write seconds, such as `10s`"));
    }
    Ok(value)
}

pub(super) fn non_zero(value: u32, at: &At<'_>) -> Result<NonZeroU32, Fault> {
    NonZeroU32::new(value)
        .ok_or_else(|| at.invalid("must be at least 1", "write a whole number from 1"))
}

pub(super) fn non_zero_long(value: u64, at: &At<'_>) -> Result<NonZeroU64, Fault> {
    NonZeroU64::new(value)
        .ok_or_else(|| at.invalid("must be at least 1", "write a whole number from 1"))
}

/// A TCP port from 0 to 65535.
pub(super) fn port(value: u32, at: &At<'_>) -> Result<u16, Fault> {
    u16::try_from(value).map_err(|_too_large| {
        at.invalid(format!("{value} is not a port"), "write a number from 0 to 65535")
    })
}

/// An HTTP status in a range.
pub(super) fn status(value: u32, least: u16, at: &At<'_>) -> Result<u16, Fault> {
    match u16::try_from(value) {
        Ok(status) if (least..600).contains(&status) => Ok(status),
        _ => Err(at.invalid(
            format!("{value} is not an HTTP status here"),
            format!("write a number from {least} to 599"),
        )),
    }
}

pub(super) fn percent(value: f64, at: &At<'_>) -> Result<Percent, Fault> {
    Percent::from_f64(value).map_err(|_outside| {
        at.invalid(format!("{value} is not a percentage"), "write a number from 0 to 100")
    })
}

pub(super) fn whole_percent(value: u32, at: &At<'_>) -> Result<Percent, Fault> {
    percent(f64::from(value), at)
}

pub(super) fn fraction(value: &kind::FractionalPercent, at: &At<'_>) -> Result<Percent, Fault> {
    parts(value, at).map(Percent::from_fraction)
}

/// A share with the size of its parts.
pub(super) fn parts(value: &kind::FractionalPercent, at: &At<'_>) -> Result<Fraction, Fault> {
    use kind::fractional_percent::DenominatorType;
    let denominator = match known::<DenominatorType>(value.denominator, &at.field("denominator"))? {
        DenominatorType::Hundred => FractionDenominator::Hundred,
        DenominatorType::TenThousand => FractionDenominator::TenThousand,
        DenominatorType::Million => FractionDenominator::Million,
    };
    Ok(Fraction { numerator: value.numerator, denominator })
}

/// Whether a share is more than the whole.
pub(super) const fn exceeds_whole(value: &kind::FractionalPercent) -> bool {
    let whole = match value.denominator {
        0 => 100,
        1 => 10_000,
        _ => 1_000_000,
    };
    value.numerator > whole
}

/// A share that a runtime key can change.
pub(super) fn runtime_fraction(
    value: Option<&core::RuntimeFractionalPercent>,
    default: Percent,
    at: &At<'_>,
) -> Result<Keyed<Percent>, Fault> {
    let Some(value) = value else { return Ok(Keyed::fixed(default)) };
    let share = match &value.default_value {
        Some(value) => fraction(value, &at.field("default_value"))?,
        None => default,
    };
    Ok(Keyed::new(share, &value.runtime_key))
}

/// A switch that a runtime key can change; off when absent.
pub(super) fn runtime_flag(value: Option<&core::RuntimeFeatureFlag>) -> Keyed<bool> {
    let on = value.and_then(|value| value.default_value).unwrap_or_default();
    Keyed::new(on, value.map_or("", |value| &value.runtime_key))
}

/// An IP address and port.
pub(super) fn socket_address(
    address: Option<&core::Address>,
    at: &At<'_>,
) -> Result<SocketAddr, Fault> {
    use core::address::Address;
    match address.and_then(|address| address.address.as_ref()) {
        Some(Address::SocketAddress(address)) => ip_and_port(address, &at.field("socket_address")),
        Some(Address::Pipe(_)) => {
            Err(at.field("pipe").invalid("is not supported here", "write a `socket_address`"))
        }
        Some(Address::EnvoyInternalAddress(_)) => Err(at
            .field("envoy_internal_address")
            .invalid("is not supported here", "write a `socket_address`")),
        None => Err(at.missing("write a `socket_address` with `address` and `port_value`")),
    }
}

/// The name of a listener within the proxy.
pub(super) fn internal_listener<'a>(
    address: &'a core::EnvoyInternalAddress,
    at: &At<'_>,
) -> Result<&'a str, Fault> {
    use core::envoy_internal_address::AddressNameSpecifier;
    match &address.address_name_specifier {
        Some(AddressNameSpecifier::ServerListenerName(name)) if !name.is_empty() => Ok(name),
        Some(AddressNameSpecifier::ServerListenerName(_)) | None => {
            Err(at.field("server_listener_name").missing("name the listener"))
        }
    }
}

/// An IP address and port for datagrams.
pub(super) fn datagram_address(
    address: Option<&core::Address>,
    at: &At<'_>,
) -> Result<SocketAddr, Fault> {
    use core::{address::Address, socket_address::Protocol};
    let at = at.field("socket_address");
    let Some(Address::SocketAddress(address)) =
        address.and_then(|address| address.address.as_ref())
    else {
        return Err(at.missing("write a `socket_address` with `address` and `port_value`"));
    };
    if known::<Protocol>(address.protocol, &at.field("protocol"))? != Protocol::Udp {
        let at = at.field("protocol");
        return Err(at.invalid("is not UDP, as that of the first address", "write UDP"));
    }
    let mut of_streams = address.clone();
    of_streams.protocol = Protocol::Tcp.into();
    ip_and_port(&of_streams, &at)
}

pub(super) fn ip_and_port(address: &core::SocketAddress, at: &At<'_>) -> Result<SocketAddr, Fault> {
    let (name, port) = host_and_port(address, at)?;
    let ip: IpAddr = name.parse().map_err(|_not_an_ip| {
        at.field("address")
            .invalid(format!("`{name}` is not an IP address"), "write an IPv4 or IPv6 address")
    })?;
    Ok(SocketAddr::new(ip, port))
}

/// A host name or IP address, and a port.
pub(super) fn host_and_port<'a>(
    address: &'a core::SocketAddress,
    at: &At<'_>,
) -> Result<(&'a str, u16), Fault> {
    use core::socket_address::{PortSpecifier, Protocol};
    if known::<Protocol>(address.protocol, &at.field("protocol"))? == Protocol::Udp {
        return Err(at.field("protocol").invalid("UDP is not supported", "use TCP"));
    }
    let port = match &address.port_specifier {
        Some(PortSpecifier::PortValue(value)) => port(*value, &at.field("port_value"))?,
        Some(PortSpecifier::NamedPort(_)) => {
            return Err(at.field("named_port").invalid("is not supported", "write a `port_value`"));
        }
        None => 0,
    };
    if address.address.is_empty() {
        return Err(at.field("address").missing("write an address"));
    }
    Ok((&address.address, port))
}

pub(super) fn cidr(range: &core::CidrRange, at: &At<'_>) -> Result<CidrRange, Fault> {
    let at_prefix = at.field("address_prefix");
    let ip: IpAddr = range.address_prefix.parse().map_err(|_not_an_ip| {
        let problem = format!("`{}` is not an IP address", range.address_prefix);
        at_prefix.invalid(problem, "write an IPv4 or IPv6 address")
    })?;
    let length = range.prefix_len.unwrap_or(0);
    u8::try_from(length).ok().and_then(|length| CidrRange::new(ip, length).ok()).ok_or_else(|| {
        at.field("prefix_len").invalid(
            format!("{length} is not a prefix length for {ip}"),
            "write at most 32 for IPv4, 128 for IPv6",
        )
    })
}

pub(super) fn cidrs(ranges: &[core::CidrRange], at: &At<'_>) -> Result<Vec<CidrRange>, Fault> {
    list(ranges, at, cidr)
}

pub(super) fn header_name(name: &str, at: &At<'_>) -> Result<HeaderName, Fault> {
    name.parse().map_err(|error: iako_proxy_config::HeaderNameError| {
        at.invalid(error.to_string(), "write a header name, such as `x-request-id`")
    })
}

pub(super) fn header_names(names: &[String], at: &At<'_>) -> Result<Vec<HeaderName>, Fault> {
    list(names, at, |name, at| header_name(name, at))
}

/// Every element of a repeated field.
pub(super) fn list<M, V>(
    items: &[M],
    at: &At<'_>,
    decode: impl Fn(&M, &At<'_>) -> Result<V, Fault>,
) -> Result<Vec<V>, Fault> {
    items.iter().enumerate().map(|(index, item)| decode(item, &at.index(index))).collect()
}

/// The message inside an extension.
pub(super) fn unpack<M: prost::Message + prost::Name + Default>(
    any: &Any,
    at: &At<'_>,
) -> Result<M, Fault> {
    M::decode(any.value.as_slice()).map_err(|error| {
        let problem = format!("does not decode as `{}`: {error}", M::full_name());
        at.invalid(problem, "send the bytes of the message that the type URL names")
    })
}

/// Content that is written in place or in a file of this machine.
pub(super) fn data_source(source: &core::DataSource, at: &At<'_>) -> Result<Vec<u8>, Fault> {
    use core::data_source::Specifier;
    match &source.specifier {
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.to_vec()),
        Some(Specifier::Filename(path)) => std::fs::read(path).map_err(|error| {
            let at = at.field("filename");
            at.invalid(
                format!("cannot read `{path}`: {error}"),
                "name a file that this process may read",
            )
        }),
        Some(Specifier::EnvironmentVariable(_)) => Err(at
            .field("environment_variable")
            .invalid("is not supported", "write the content inline or name a file")),
        None => Err(at.missing("write `inline_string`, `inline_bytes` or `filename`")),
    }
}

pub(super) fn text_source(source: &core::DataSource, at: &At<'_>) -> Result<String, Fault> {
    String::from_utf8(data_source(source, at)?)
        .map_err(|_binary| at.invalid("is not UTF-8 text", "write text, such as PEM"))
}
