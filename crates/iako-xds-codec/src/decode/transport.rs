//! Transport sockets: plain bytes and TLS, towards clients and towards upstreams.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;
use prost::Name as _;

use super::{source, validation, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CertificateSource, Curve, DownstreamTls, DownstreamTransport, OcspPolicy, OcspResponse, Pem,
    PrivateKey, SessionResumption, SessionTickets, SourcedName, TicketKey, TlsKeyLog, TlsOptions,
    TlsVersion, Trust, UpstreamTls, UpstreamTransport,
};

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/// A socket's extension: its type's full name and its content.
fn extension<'a>(
    socket: &'a core::TransportSocket,
    at: &At<'_>,
) -> Result<&'a prost_types::Any, Fault> {
    match &socket.config_type {
        Some(core::transport_socket::ConfigType::TypedConfig(any)) => Ok(any),
        None => {
            Err(at.field("typed_config").missing("write the transport's settings with `@type`"))
        }
    }
}

fn unsupported(type_url: &str, at: &At<'_>) -> Fault {
    let problem = format!("`{}` is not supported", pool::full_name(type_url));
    at.field("typed_config").invalid(problem, "use the raw_buffer or the tls transport socket")
}

pub(super) fn downstream(
    socket: Option<&core::TransportSocket>,
    at: &At<'_>,
) -> Result<DownstreamTransport, Fault> {
    let Some(socket) = socket else { return Ok(DownstreamTransport::Raw) };
    let any = extension(socket, at)?;
    let name = pool::full_name(&any.type_url);
    if name == RAW_BUFFER {
        return Ok(DownstreamTransport::Raw);
    }
    if name != pb::DownstreamTlsContext::full_name() {
        return Err(unsupported(&any.type_url, at));
    }
    let at = at.field("typed_config");
    let context: pb::DownstreamTlsContext = wire::unpack(any, &at)?;
    let options = options(context.common_tls_context.as_ref(), &at.field("common_tls_context"))?;
    if options.certificates.is_empty() {
        let help =
            "name a certificate under `tls_certificates` or `tls_certificate_sds_secret_configs`";
        return Err(at
            .field("common_tls_context")
            .invalid("has no certificate to show to clients", help));
    }
    Ok(DownstreamTransport::Tls(Box::new(DownstreamTls {
        options,
        require_client_certificate: context.require_client_certificate.unwrap_or(false),
        require_sni: context.require_sni.unwrap_or(false),
        resumption: resumption(&context, &at)?,
        prefer_client_ciphers: context.prefer_client_ciphers,
        scan_certificates: context.full_scan_certs_on_sni_mismatch.unwrap_or(false),
        stapling: ocsp_policy(&context, &at)?,
    })))
}

fn ocsp_policy(context: &pb::DownstreamTlsContext, at: &At<'_>) -> Result<OcspPolicy, Fault> {
    use pb::downstream_tls_context::OcspStaplePolicy as Policy;
    Ok(match wire::known(context.ocsp_staple_policy, &at.field("ocsp_staple_policy"))? {
        Policy::LenientStapling => OcspPolicy::Lenient,
        Policy::StrictStapling => OcspPolicy::Strict,
        Policy::MustStaple => OcspPolicy::Must,
    })
}

fn resumption(context: &pb::DownstreamTlsContext, at: &At<'_>) -> Result<SessionResumption, Fault> {
    use pb::downstream_tls_context::SessionTicketKeysType as Kind;
    let tickets = match &context.session_ticket_keys_type {
        None | Some(Kind::DisableStatelessSessionResumption(false)) => SessionTickets::OwnKeys,
        Some(Kind::DisableStatelessSessionResumption(true)) => SessionTickets::Off,
        Some(Kind::SessionTicketKeys(keys)) => {
            SessionTickets::Keys(ticket_keys(keys, &at.field("session_ticket_keys"))?)
        }
        Some(Kind::SessionTicketKeysSdsSecretConfig(config)) => {
            let at = at.field("session_ticket_keys_sds_secret_config");
            SessionTickets::Sds(secret_name(config, &at)?)
        }
    };
    Ok(SessionResumption {
        tickets,
        stored: !context.disable_stateful_session_resumption,
        lifetime: wire::limit(
            context.session_timeout.as_ref(),
            None,
            &at.field("session_timeout"),
        )?,
    })
}

/// Keys of session tickets, each of 80 bytes.
pub(super) fn ticket_keys(
    message: &pb::TlsSessionTicketKeys,
    at: &At<'_>,
) -> Result<Vec<TicketKey>, Fault> {
    let at = at.field("keys");
    if message.keys.is_empty() {
        return Err(at.missing("write at least one key of 80 bytes"));
    }
    wire::list(&message.keys, &at, |source, at| {
        let bytes = wire::data_source(source, at)?;
        <[u8; TicketKey::BYTES]>::try_from(bytes.as_slice()).map(TicketKey::new).map_err(
            |_length| {
                let problem = format!("has {} bytes", bytes.len());
                at.invalid(problem, "write 80 bytes of chance, as `openssl rand 80` makes them")
            },
        )
    })
}

pub(super) fn upstream(
    socket: Option<&core::TransportSocket>,
    at: &At<'_>,
) -> Result<UpstreamTransport, Fault> {
    let Some(socket) = socket else { return Ok(UpstreamTransport::Raw) };
    let any = extension(socket, at)?;
    let name = pool::full_name(&any.type_url);
    if name == RAW_BUFFER {
        return Ok(UpstreamTransport::Raw);
    }
    if name != pb::UpstreamTlsContext::full_name() {
        return Err(unsupported(&any.type_url, at));
    }
    let at = at.field("typed_config");
    let context: pb::UpstreamTlsContext = wire::unpack(any, &at)?;
    let at_common = at.field("common_tls_context");
    let options = options(context.common_tls_context.as_ref(), &at_common)?;
    if options.validation.trust == Trust::Unverified {
        at_common.warn("has no `trusted_ca`, so anybody can pose as this upstream");
    }
    let sni = (!context.sni.is_empty()).then_some(context.sni);
    Ok(UpstreamTransport::Tls(Box::new(UpstreamTls {
        options,
        sni,
        auto_sni: false,
        auto_host_sni: context.auto_host_sni,
        auto_san_validation: context.auto_sni_san_validation,
        sessions_max: context.max_session_keys,
    })))
}

fn options(common: Option<&pb::CommonTlsContext>, at: &At<'_>) -> Result<TlsOptions, Fault> {
    let Some(common) = common else { return Ok(TlsOptions::default()) };
    let parameters = common.tls_params.clone().unwrap_or_default();
    let at_parameters = at.field("tls_params");
    let minimum = version(
        parameters.tls_minimum_protocol_version,
        &at_parameters.field("tls_minimum_protocol_version"),
    )?;
    let maximum = version(
        parameters.tls_maximum_protocol_version,
        &at_parameters.field("tls_maximum_protocol_version"),
    )?;
    let minimum = minimum.unwrap_or_default();
    if maximum.is_some_and(|maximum| maximum < minimum) {
        let at = at_parameters.field("tls_maximum_protocol_version");
        return Err(at.invalid(
            "is older than the oldest version",
            "write a version that is at least as new",
        ));
    }
    Ok(TlsOptions {
        minimum,
        maximum,
        cipher_suites: cipher_suites(
            &parameters.cipher_suites,
            minimum,
            &at_parameters.field("cipher_suites"),
        )?,
        curves: wire::list(&parameters.ecdh_curves, &at_parameters.field("ecdh_curves"), curve)?,
        alpn: common.alpn_protocols.clone(),
        certificates: certificates(common, at)?,
        validation: validation::of_common(common, at)?,
        key_log: common
            .key_log
            .as_ref()
            .map(|log| key_log(log, &at.field("key_log")))
            .transpose()?,
    })
}

/// Cipher suites that Envoy knows and the TLS library has, by OpenSSL's names.
const SAFE_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];
/// Suites that Envoy knows and the TLS library leaves out: without forward secrecy, or with CBC.
const UNSAFE_SUITES: [&str; 14] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA384",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES128-SHA256",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// The suites that are left of those that are written; `[A|B]` is a choice that the client makes in
/// Envoy, an order here.
fn cipher_suites(
    written: &[String],
    minimum: TlsVersion,
    at: &At<'_>,
) -> Result<Vec<String>, Fault> {
    let mut suites = Vec::new();
    for (index, group) in written.iter().enumerate() {
        let at = at.index(index);
        for name in group.trim_start_matches('[').trim_end_matches(']').split('|') {
            // IANA's names of the same suites.
            let plain = name.trim_start_matches("TLS_").replace("_WITH", "").replace('_', "-");
            let plain = plain.replace("AES-128", "AES128").replace("AES-256", "AES256");
            let is_safe = |name: &str| SAFE_SUITES.contains(&name);
            let chacha = plain.replace("CHACHA20-POLY1305-SHA256", "CHACHA20-POLY1305");
            if let Some(name) = [name, &plain, &chacha].into_iter().find(|name| is_safe(name)) {
                suites.push(name.to_owned());
            } else if TLS13_SUITES.contains(&name) {
                at.warn("has no effect: the suites of TLS 1.3 are always there");
            } else if UNSAFE_SUITES.contains(&plain.as_str()) {
                at.warn(
                    "is left out: the TLS library has no suites without forward secrecy or with CBC",
                );
            } else {
                let problem = format!("`{name}` is not a cipher suite");
                return Err(at.invalid(problem, format!("use some of {}", SAFE_SUITES.join(", "))));
            }
        }
    }
    // No suite at all would mean every suite.
    if suites.is_empty() && !written.is_empty() && minimum == TlsVersion::V1_2 {
        return Err(at.invalid(
            "names no suite that the TLS library has",
            format!("use some of {}", SAFE_SUITES.join(", ")),
        ));
    }
    Ok(suites)
}

fn curve(name: &String, at: &At<'_>) -> Result<Curve, Fault> {
    Curve::ALL.into_iter().find(|curve| curve.name() == name).ok_or_else(|| {
        let names = Curve::ALL.map(Curve::name).join(", ");
        at.invalid(
            format!("`{name}` is no key exchange that the TLS library has"),
            format!("use some of {names}"),
        )
    })
}

fn key_log(log: &pb::TlsKeyLog, at: &At<'_>) -> Result<TlsKeyLog, Fault> {
    if log.path.is_empty() {
        return Err(at.field("path").missing("write the path of a file"));
    }
    Ok(TlsKeyLog {
        path: log.path.clone().into(),
        local_ranges: wire::cidrs(&log.local_address_range, &at.field("local_address_range"))?,
        remote_ranges: wire::cidrs(&log.remote_address_range, &at.field("remote_address_range"))?,
    })
}

fn version(value: i32, at: &At<'_>) -> Result<Option<TlsVersion>, Fault> {
    use pb::tls_parameters::TlsProtocol;
    Ok(match wire::known::<TlsProtocol>(value, at)? {
        TlsProtocol::TlsAuto => None,
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => {
            at.warn("TLS 1.0 and 1.1 are never spoken (RFC 8996); 1.2 counts in their place");
            Some(TlsVersion::V1_2)
        }
        TlsProtocol::TlSv12 => Some(TlsVersion::V1_2),
        TlsProtocol::TlSv13 => Some(TlsVersion::V1_3),
    })
}

fn certificates(
    common: &pb::CommonTlsContext,
    at: &At<'_>,
) -> Result<Vec<CertificateSource>, Fault> {
    let mut sources =
        wire::list(&common.tls_certificates, &at.field("tls_certificates"), |certificate, at| {
            let (chain, key) = certificate_pair(certificate, at)?;
            let staple = staple(certificate, at)?;
            Ok(CertificateSource::Inline { chain, key, staple })
        })?;
    let at = at.field("tls_certificate_sds_secret_configs");
    sources.extend(wire::list(&common.tls_certificate_sds_secret_configs, &at, |config, at| {
        Ok(CertificateSource::Sds(secret_name(config, at)?))
    })?);
    Ok(sources)
}

/// The chain and the key of a certificate.
pub(super) fn certificate_pair(
    certificate: &pb::TlsCertificate,
    at: &At<'_>,
) -> Result<(Pem, PrivateKey), Fault> {
    let at_chain = at.field("certificate_chain");
    let chain = certificate
        .certificate_chain
        .as_ref()
        .ok_or_else(|| at_chain.missing("write a PEM chain"))?;
    let at_key = at.field("private_key");
    let key = certificate.private_key.as_ref().ok_or_else(|| at_key.missing("write a PEM key"))?;
    let key = wire::text_source(key, &at_key)?;
    Ok((Pem(wire::text_source(chain, &at_chain)?.into()), PrivateKey::new(key)))
}

/// What the authority says of a certificate.
pub(super) fn staple(
    certificate: &pb::TlsCertificate,
    at: &At<'_>,
) -> Result<Option<OcspResponse>, Fault> {
    let Some(source) = &certificate.ocsp_staple else { return Ok(None) };
    let at = at.field("ocsp_staple");
    let response = wire::data_source(source, &at)?;
    if matches!(source.specifier, Some(core::data_source::Specifier::InlineString(_))) {
        return Err(at.field("inline_string").invalid("is no DER", "write inline_bytes or a file"));
    }
    Ok(Some(OcspResponse(response.into())))
}

pub(super) fn secret_name(config: &pb::SdsSecretConfig, at: &At<'_>) -> Result<SourcedName, Fault> {
    let at_name = at.field("name");
    if config.name.is_empty() {
        return Err(at_name.missing("write the name of the secret"));
    }
    let places = (&at_name, &at.field("sds_config"));
    source::sourced_name(&config.name, config.sds_config.as_ref(), places)
}
