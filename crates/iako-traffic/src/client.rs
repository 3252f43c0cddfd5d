//! Who the client of a request is.

use std::net::IpAddr;

use iako_proxy_config::{ClientCertDetails, ForwardClientCert, HttpConnectionManager, IpDetection};
use iako_types::CidrRange;

use crate::{ConnectionInfo, Headers, PeerCertificate};

/// The client of a request, as far as `x-forwarded-for` is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// Its address.
    pub client: IpAddr,
    /// Whether it counts as internal: a single trusted address inside
    /// `HttpConnectionManager::internal_addresses`. Only then are `x-envoy-*` headers honoured.
    pub internal: bool,
    /// Whether the request comes from outside to this proxy at the edge: `x-envoy-*` headers are
    /// removed and `x-envoy-external-address` is set.
    pub edge: bool,
    /// What is appended to `x-forwarded-for`.
    pub append: Option<IpAddr>,
    /// Whether `x-forwarded-proto` is kept when it was sent; else the connection says it.
    pub trusts_forwarded_proto: bool,
    /// The status with which the request is refused because nobody knows who sent it.
    pub refuse_with: Option<u16>,
}

/// What a way to find out who the client is has found.
#[derive(Debug, Clone, Copy, Default)]
struct Detected {
    client: Option<IpAddr>,
    /// Whether the client may count as internal.
    trusted: bool,
    /// Whether `x-forwarded-for` gets our neighbour.
    appends: bool,
    refuse_with: Option<u16>,
}

impl ClientAddress {
    /// Finds out who sent a request.
    ///
    /// Source: Envoy, "HTTP header manipulation", `x-forwarded-for`; `use_remote_address` and
    /// `xff_num_trusted_hops`.
    #[must_use]
    pub fn resolve(
        settings: &HttpConnectionManager,
        connection: &ConnectionInfo,
        headers: &dyn Headers,
    ) -> Self {
        let remote = connection.remote.ip();
        let hops = usize::try_from(settings.xff_trusted_hops).unwrap_or(usize::MAX);
        if !settings.ip_detection.is_empty() {
            return Self::detected(settings, connection, headers);
        }
        let (forwarded, single) = if settings.use_remote_address {
            // Our own neighbour counts as the first hop.
            let forwarded = hops.checked_sub(1).and_then(|hops| forwarded_for(headers, hops));
            let sent = headers.value("x-forwarded-for", 0).is_some();
            (Some(forwarded.map_or(remote, |(address, _)| address)), !sent)
        } else {
            let forwarded = forwarded_for(headers, hops);
            (forwarded.map(|(address, _)| address), forwarded.is_some_and(|(_, single)| single))
        };
        let inside = |address: IpAddr| {
            settings.internal_addresses.iter().any(|range| range.contains(&address))
        };
        let internal = single && forwarded.is_some_and(inside);
        let at_edge = settings.use_remote_address;
        Self {
            client: forwarded.unwrap_or(remote),
            internal,
            edge: at_edge && !internal,
            append: (at_edge && !settings.skip_xff_append).then_some(remote),
            trusts_forwarded_proto: !at_edge || settings.xff_trusted_hops > 0,
            refuse_with: None,
        }
    }

    /// Finds out who sent a request by the configured ways; the first that knows counts.
    fn detected(
        settings: &HttpConnectionManager,
        connection: &ConnectionInfo,
        headers: &dyn Headers,
    ) -> Self {
        let remote = connection.remote.ip();
        let mut ways = settings.ip_detection.iter().map(|way| detect(way, remote, headers));
        let mut appends = false;
        let found = ways.find(|found| {
            appends |= found.appends;
            found.client.is_some() || found.refuse_with.is_some()
        });
        let found = found.unwrap_or_default();
        let inside = |address: IpAddr| {
            settings.internal_addresses.iter().any(|range| range.contains(&address))
        };
        Self {
            client: found.client.unwrap_or(remote),
            internal: found.trusted && found.client.is_some_and(inside),
            edge: false,
            append: appends.then_some(remote),
            trusts_forwarded_proto: true,
            refuse_with: found.refuse_with,
        }
    }
}

fn detect(way: &IpDetection, remote: IpAddr, headers: &dyn Headers) -> Detected {
    match way {
        IpDetection::ForwardedFor { trusted_hops, trusted, skip_append } => {
            let hops = usize::try_from(*trusted_hops).unwrap_or(usize::MAX);
            let forwarded = if trusted.is_empty() {
                forwarded_for(headers, hops)
            } else if trusted.iter().any(|range| range.contains(&remote)) {
                first_untrusted(headers, trusted)
            } else {
                None
            };
            Detected {
                client: forwarded.map(|(address, _)| address),
                trusted: forwarded.is_some_and(|(_, single)| single),
                // Envoy the same, even where the header says nothing.
                appends: !skip_append,
                refuse_with: None,
            }
        }
        IpDetection::Header { name, trusted, reject_with } => {
            let value = headers.value(name.as_str(), 0);
            let text = value.and_then(|value| std::str::from_utf8(value).ok());
            let client = text.and_then(|text| text.parse().ok());
            Detected {
                client,
                trusted: *trusted,
                appends: false,
                refuse_with: if client.is_none() { *reject_with } else { None },
            }
        }
    }
}

/// The entries of `x-forwarded-for`, from the left.
fn forwarded_entries(headers: &dyn Headers) -> Vec<&str> {
    let values = (0..).map_while(|nth| headers.value("x-forwarded-for", nth));
    let texts = values.filter_map(|value| std::str::from_utf8(value).ok());
    texts.flat_map(|text| text.split(',')).map(str::trim).collect()
}

/// The first address from the right that is no trusted proxy, and whether it is the only entry; the
/// leftmost one where all are trusted.
fn first_untrusted(headers: &dyn Headers, trusted: &[CidrRange]) -> Option<(IpAddr, bool)> {
    let entries = forwarded_entries(headers);
    let mut last = None;
    for entry in entries.iter().rev() {
        let address: IpAddr = entry.parse().ok()?;
        last = Some((address, entries.len() == 1));
        if !trusted.iter().any(|range| range.contains(&address)) {
            break;
        }
    }
    last
}

/// The address that stands `skip` entries from the right of `x-forwarded-for`, and whether it is
/// the only entry.
fn forwarded_for(headers: &dyn Headers, skip: usize) -> Option<(IpAddr, bool)> {
    let entries = forwarded_entries(headers);
    let address = entries.iter().rev().nth(skip)?.parse().ok()?;
    Some((address, entries.len() == 1))
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertHeader {
    /// It stays as it was sent.
    Keep,
    /// It is removed.
    Remove,
    /// It becomes this.
    Set(String),
}

impl ClientCertHeader {
    /// Composes the header.
    ///
    /// Source: Envoy, `x-forwarded-client-cert`; elements in the order `By`, `Hash`, `Cert`,
    /// `Chain`, `Subject`, `URI`, `DNS`.
    #[must_use]
    pub fn compose(
        mode: ForwardClientCert,
        details: ClientCertDetails,
        connection: &ConnectionInfo,
        sent: Option<&str>,
    ) -> Self {
        let own = || match (&connection.tls, connection.peer()) {
            (Some(tls), Some(peer)) => Some(element(&tls.local_uris, peer, details)),
            _ => None,
        };
        match mode {
            ForwardClientCert::AlwaysForwardOnly => Self::Keep,
            ForwardClientCert::Sanitize => Self::Remove,
            ForwardClientCert::ForwardOnly => own().map_or(Self::Remove, |_mutual| Self::Keep),
            ForwardClientCert::SanitizeSet => own().map_or(Self::Remove, Self::Set),
            ForwardClientCert::AppendForward => match (own(), sent.filter(|sent| !sent.is_empty()))
            {
                (Some(own), Some(sent)) => Self::Set(format!("{sent},{own}")),
                (Some(own), None) => Self::Set(own),
                (None, _) => Self::Remove,
            },
        }
    }
}

fn element(local_uris: &[String], peer: &PeerCertificate, details: ClientCertDetails) -> String {
    let mut parts: Vec<String> =
        local_uris.first().map(|uri| format!("By={uri}")).into_iter().collect();
    if !peer.sha256.is_empty() {
        parts.push(format!("Hash={}", peer.sha256));
    }
    if details.cert && !peer.pem.is_empty() {
        parts.push(format!("Cert=\"{}\"", percent_encoded(&peer.pem)));
    }
    if details.chain && !peer.chain_pem.is_empty() {
        parts.push(format!("Chain=\"{}\"", percent_encoded(&peer.chain_pem)));
    }
    if details.subject {
        parts.push(format!("Subject=\"{}\"", peer.subject.replace('"', "\\\"")));
    }
    if details.uri {
        parts.extend(peer.uris.iter().map(|uri| format!("URI={uri}")));
    }
    if details.dns {
        parts.extend(peer.dns.iter().map(|name| format!("DNS={name}")));
    }
    parts.join(";")
}

/// A text as it stands in a URL: all but letters, digits and `-._~` in hexadecimal.
#[must_use]
pub fn percent_encoded(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::RouteSource;

    use super::*;
    use crate::{HeaderList, TlsFacts};

    #[expect(clippy::fn_params_excessive_bools, reason = "one column of a table of cases")]
    fn resolve(edge: bool, hops: u32, internal: &str, forwarded: &[&str]) -> ClientAddress {
        let mut settings = HttpConnectionManager::new("s", RouteSource::Rds("r".into()));
        settings.use_remote_address = edge;
        settings.xff_trusted_hops = hops;
        settings.internal_addresses = internal.parse().into_iter().collect();
        let connection =
            ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap());
        let headers: HeaderList = forwarded.iter().map(|text| ("x-forwarded-for", *text)).collect();
        ClientAddress::resolve(&settings, &connection, &headers)
    }

    #[test]
    fn at_the_edge_the_connection_tells_who_the_client_is() {
        let address = resolve(true, 0, "", &["1.2.3.4"]);
        assert_eq!(address.client.to_string(), "10.0.0.9");
        assert_eq!(address.append.unwrap().to_string(), "10.0.0.9");
        assert!(address.edge && !address.internal && !address.trusts_forwarded_proto);
        let behind = resolve(true, 1, "", &["1.2.3.4, 5.6.7.8"]);
        assert_eq!(behind.client.to_string(), "5.6.7.8");
        assert!(behind.trusts_forwarded_proto);
    }

    #[test]
    fn inside_the_header_does() {
        let address = resolve(false, 0, "", &["1.2.3.4", "5.6.7.8"]);
        assert_eq!(address.client.to_string(), "5.6.7.8");
        assert_eq!(address.append, None);
        assert_eq!(resolve(false, 1, "", &["1.2.3.4,5.6.7.8"]).client.to_string(), "1.2.3.4");
        assert_eq!(resolve(false, 0, "", &["junk"]).client.to_string(), "10.0.0.9");
    }

    #[test]
    fn internal_is_a_single_trusted_address_in_the_ranges() {
        assert!(resolve(true, 0, "10.0.0.0/8", &[]).internal);
        assert!(!resolve(true, 0, "10.0.0.0/8", &["10.1.1.1"]).internal);
        assert!(!resolve(true, 0, "", &[]).internal);
        assert!(resolve(false, 0, "10.0.0.0/8", &["10.1.1.1"]).internal);
        assert!(!resolve(false, 0, "10.0.0.0/8", &[]).internal);
    }

    // Cases xfcc-sanitize_set, xfcc-append_forward, xfcc-always_forward_only.
    #[test]
    fn the_certificate_header_is_that_of_envoy() {
        let mut connection =
            ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap());
        let details = ClientCertDetails { subject: true, uri: true, ..Default::default() };
        let sent = Some("By=spiffe://x;Hash=00");
        let compose = |mode, connection: &ConnectionInfo| {
            ClientCertHeader::compose(mode, details, connection, sent)
        };
        let append = ForwardClientCert::AppendForward;
        assert_eq!(compose(append, &connection), ClientCertHeader::Remove);
        connection.tls = Some(TlsFacts {
            alpn: String::new(),
            local_uris: vec!["spiffe://cluster.local/ns/default/sa/server".to_owned()],
            peer: Some(PeerCertificate {
                uris: vec!["spiffe://cluster.local/ns/default/sa/client".to_owned()],
                sha256: "d989".to_owned(),
                ..PeerCertificate::default()
            }),
        });
        let own = "By=spiffe://cluster.local/ns/default/sa/server;Hash=d989;Subject=\"\";\
                   URI=spiffe://cluster.local/ns/default/sa/client";
        assert_eq!(
            compose(ForwardClientCert::SanitizeSet, &connection),
            ClientCertHeader::Set(own.to_owned())
        );
        assert_eq!(
            compose(append, &connection),
            ClientCertHeader::Set(format!("By=spiffe://x;Hash=00,{own}"))
        );
        assert_eq!(compose(ForwardClientCert::ForwardOnly, &connection), ClientCertHeader::Keep);
        assert_eq!(compose(ForwardClientCert::Sanitize, &connection), ClientCertHeader::Remove);
    }
}
