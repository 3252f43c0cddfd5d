//! Values as scalars of the wire.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use iako_types::{CidrRange, Fraction, FractionDenominator, Percent};
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::r#type::v3 as kind;
use prost_types::Any;

use iako_proxy_config::{Keyed, TcpKeepalive};

/// A message as an extension.
pub(super) fn any<M: prost::Message + prost::Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

pub(super) fn extension<M: prost::Message + prost::Name>(
    name: &str,
    message: &M,
) -> core::TypedExtensionConfig {
    core::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(message)) }
}

/// Durations beyond the wire's range (10,000 years) become the longest there is.
pub(super) fn duration(value: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(315_576_000_000).min(315_576_000_000),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

/// A limit in time, zero when there is none.
pub(super) fn limit(value: Option<Duration>) -> Option<prost_types::Duration> {
    Some(duration(value.unwrap_or(Duration::ZERO)))
}

pub(super) fn percent(value: Percent) -> kind::Percent {
    kind::Percent { value: value.as_f64() }
}

/// A share in the coarsest parts that hold it exactly, as a person would write it.
pub(super) fn fraction(value: Percent) -> kind::FractionalPercent {
    use kind::fractional_percent::DenominatorType;
    let millionths = value.parts_per_million();
    let (numerator, denominator) = if millionths.is_multiple_of(10_000) {
        (millionths / 10_000, DenominatorType::Hundred)
    } else {
        (millionths, DenominatorType::Million)
    };
    kind::FractionalPercent { numerator, denominator: denominator.into() }
}

/// A share with the size of its parts.
pub(super) fn parts(value: Fraction) -> kind::FractionalPercent {
    use kind::fractional_percent::DenominatorType;
    let denominator = match value.denominator {
        FractionDenominator::Hundred => DenominatorType::Hundred,
        FractionDenominator::TenThousand => DenominatorType::TenThousand,
        FractionDenominator::Million => DenominatorType::Million,
    };
    kind::FractionalPercent { numerator: value.numerator, denominator: denominator.into() }
}

pub(super) fn runtime_fraction(value: &Keyed<Percent>) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent {
        default_value: Some(fraction(value.value)),
        runtime_key: value.key().to_owned(),
    }
}

pub(super) fn runtime_flag(value: &Keyed<bool>) -> core::RuntimeFeatureFlag {
    core::RuntimeFeatureFlag {
        default_value: Some(value.value),
        runtime_key: value.key().to_owned(),
    }
}

pub(crate) fn address(value: SocketAddr) -> core::Address {
    core::Address { address: Some(core::address::Address::SocketAddress(socket_address(value))) }
}

pub(super) fn socket_address(value: SocketAddr) -> core::SocketAddress {
    host_and_port(&value.ip().to_string(), value.port())
}

pub(super) fn host_and_port(host: &str, port: u16) -> core::SocketAddress {
    core::SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    }
}

pub(super) fn pipe(path: &std::path::Path) -> core::Address {
    let path = path.to_string_lossy().into_owned();
    core::Address { address: Some(core::address::Address::Pipe(core::Pipe { path, mode: 0 })) }
}

pub(super) fn cidr(range: &CidrRange) -> core::CidrRange {
    core::CidrRange {
        address_prefix: range.addr().to_string(),
        prefix_len: Some(range.prefix_len().into()),
    }
}

pub(super) fn cidrs(ranges: &[CidrRange]) -> Vec<core::CidrRange> {
    ranges.iter().map(cidr).collect()
}

pub(super) fn text_source(text: &str) -> core::DataSource {
    let specifier = Some(core::data_source::Specifier::InlineString(text.to_owned()));
    core::DataSource { specifier, ..Default::default() }
}

pub(super) fn bytes_source(bytes: &bytes::Bytes) -> core::DataSource {
    use core::data_source::Specifier;
    let specifier = std::str::from_utf8(bytes).map_or_else(
        |_binary| Specifier::InlineBytes(bytes.clone()),
        |text| Specifier::InlineString(text.to_owned()),
    );
    core::DataSource { specifier: Some(specifier), ..Default::default() }
}

pub(super) fn keepalive(value: &TcpKeepalive) -> core::TcpKeepalive {
    let seconds = |value: Option<Duration>| {
        value.map(|value| u32::try_from(value.as_secs()).unwrap_or(u32::MAX))
    };
    core::TcpKeepalive {
        keepalive_probes: value.probes.map(NonZeroU32::get),
        keepalive_time: seconds(value.time),
        keepalive_interval: seconds(value.interval),
    }
}
