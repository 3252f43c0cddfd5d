//! Functions that Kubernetes gives to rules. Source: Kubernetes "Common Expression Language in
//! Kubernetes", libraries of URLs, addresses and patterns.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use regex::RegexBuilder;

use crate::Value;
use crate::evaluate::{Evaluation, Failure};
use crate::function::Function;
use crate::limits::{LATE_PATTERN_BYTES_MAX, LATE_PATTERN_STEPS};

type Outcome<'a> = Result<Value<'a>, Failure>;

/// Calls one of them.
pub(crate) fn apply<'a>(
    evaluation: &mut Evaluation<'a>,
    function: Function,
    arguments: &[Value<'a>],
) -> Outcome<'a> {
    use Function as F;
    match (function, arguments) {
        (F::IsUrl, [Value::Text(text)]) => Ok(Value::Bool(Url::read(text).is_some())),
        (F::Url, [Value::Text(text)]) => Url::read(text).map(Url::value).ok_or(Failure::Argument),
        (F::UrlScheme, [url]) => part(url, "scheme"),
        (F::UrlHost, [url]) => part(url, "host"),
        (F::UrlHostname, [url]) => part(url, "hostname"),
        (F::UrlPort, [url]) => part(url, "port"),
        (F::UrlEscapedPath, [url]) => part(url, "path"),
        (F::IsIp, [Value::Text(text)]) => Ok(Value::Bool(address(text).is_some())),
        (F::IsCidr, [Value::Text(text)]) => Ok(Value::Bool(is_network(text))),
        (F::Find, [Value::Text(text), Value::Text(pattern)]) => {
            let found = found(evaluation, text, pattern, Some(1))?;
            Ok(found.into_iter().next().unwrap_or(Value::Text(Cow::Borrowed(""))))
        }
        (F::FindAll, [Value::Text(text), Value::Text(pattern)]) => {
            Ok(Value::List(Arc::new(found(evaluation, text, pattern, None)?)))
        }
        (F::FindAll, [Value::Text(text), Value::Text(pattern), Value::Int(most)]) => {
            // A negative number asks for all.
            let most = usize::try_from(*most).ok();
            Ok(Value::List(Arc::new(found(evaluation, text, pattern, most)?)))
        }
        _ => Err(Failure::Kind),
    }
}

fn part<'a>(url: &Value<'a>, name: &str) -> Outcome<'a> {
    let Value::Record(fields) = url else { return Err(Failure::Kind) };
    let found = fields.iter().find(|(own, _)| *own == name);
    found.map(|(_, value)| value.clone()).ok_or(Failure::Kind)
}

fn found<'a>(
    evaluation: &mut Evaluation<'a>,
    text: &str,
    pattern: &str,
    most: Option<usize>,
) -> Result<Vec<Value<'a>>, Failure> {
    evaluation.spend(LATE_PATTERN_STEPS)?;
    let regex = RegexBuilder::new(pattern).size_limit(LATE_PATTERN_BYTES_MAX).build();
    let regex = regex.map_err(|_no_pattern| Failure::Argument)?;
    let parts = regex.find_iter(text).take(most.unwrap_or(usize::MAX));
    Ok(parts.map(|part| Value::Text(Cow::Owned(part.as_str().to_owned()))).collect())
}

/// An address without a zone; one of IPv4 in the clothes of IPv6 is none.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let is_mapped = matches!(address, IpAddr::V6(v6) if Ipv6Addr::to_ipv4_mapped(&v6).is_some());
    (!is_mapped).then_some(address)
}

fn is_network(text: &str) -> bool {
    let Some((network, bits)) = text.split_once('/') else { return false };
    let is_plain = bits == "0" || !bits.starts_with(['0', '+', '-']);
    let most = match address(network) {
        Some(IpAddr::V4(_)) => 32,
        Some(IpAddr::V6(_)) => 128,
        None => return false,
    };
    is_plain && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// A URL as the target of a request: whole, or a path from the root.
struct Url<'t> {
    scheme: String,
    /// With the port.
    host: &'t str,
    hostname: &'t str,
    port: &'t str,
    path: &'t str,
}

impl<'t> Url<'t> {
    fn read(text: &'t str) -> Option<Self> {
        if text.is_empty() || text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return None;
        }
        let (scheme, rest) = scheme(text)?;
        let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
        let none = |scheme: &str, path| Self {
            scheme: scheme.to_ascii_lowercase(),
            host: "",
            hostname: "",
            port: "",
            path,
        };
        if !rest.starts_with('/') {
            // What stands behind a scheme alone is opaque.
            return (!scheme.is_empty() || text == "*").then(|| none(scheme, ""));
        }
        let authority = (!scheme.is_empty()).then(|| rest.strip_prefix("//")).flatten();
        let Some(authority) = authority else {
            return is_escaped(rest).then(|| none(scheme, rest));
        };
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, path) = authority.split_at_checked(end)?;
        let host = match authority.rsplit_once('@') {
            Some((user, host)) if is_user(user) => host,
            Some(_) => return None,
            None => authority,
        };
        let (hostname, port) = host_and_port(host)?;
        let scheme = scheme.to_ascii_lowercase();
        is_escaped(path).then_some(Self { scheme, host, hostname, port, path })
    }

    fn value<'a>(self) -> Value<'a> {
        let text = |text: &str| Value::Text(Cow::Owned(text.to_owned()));
        Value::Record(Arc::new(vec![
            ("scheme", text(&self.scheme)),
            ("host", text(self.host)),
            ("hostname", text(self.hostname)),
            ("port", text(self.port)),
            ("path", text(self.path)),
        ]))
    }
}

/// The scheme, empty when there is none, and what is behind it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return None,
            b':' => return Some((text.get(..at)?, text.get(at.saturating_add(1)..)?)),
            _ => return Some(("", text)),
        }
    }
    Some(("", text))
}

/// Host without brackets, and port.
fn host_and_port(host: &str) -> Option<(&str, &str)> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            (name, after)
        }
        None => host.split_at_checked(host.rfind(':').unwrap_or(host.len()))?,
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let is_port = port.is_empty()
        || (port.starts_with(':') && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let allowed = |byte: u8| {
        byte >= 0x80 || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
    };
    (is_port && name.bytes().all(allowed)).then_some((name, digits))
}

fn is_user(user: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    user.bytes().all(allowed) && is_escaped(user)
}

/// Whether every percent sign is followed by two digits of base 16.
fn is_escaped(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}
