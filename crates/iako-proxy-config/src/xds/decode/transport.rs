//! Transport sockets: plain bytes and TLS, towards clients and towards upstreams.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;
use prost::Name as _;

use super::{matcher, source, wire};
use crate::xds::pool;
use crate::xds::problem::{At, Fault};
use crate::{
    CertificateSource, DownstreamTls, DownstreamTransport, Pem, PrivateKey, SanKind, SanMatch,
    SourcedName, StringMatch, TlsOptions, TlsVersion, Trust, UpstreamTls, UpstreamTransport,
    Validation,
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
        session_resumption: !context.disable_stateful_session_resumption
            || !matches!(
                context.session_ticket_keys_type,
                Some(pb::downstream_tls_context::SessionTicketKeysType::DisableStatelessSessionResumption(true))
            ),
    })))
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
        auto_san_validation: context.auto_sni_san_validation,
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
        cipher_suites: parameters.cipher_suites,
        alpn: common.alpn_protocols.clone(),
        certificates: certificates(common, at)?,
        validation: validation(common, at)?,
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
            Ok(CertificateSource::Inline { chain, key })
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

fn secret_name(config: &pb::SdsSecretConfig, at: &At<'_>) -> Result<SourcedName, Fault> {
    let at_name = at.field("name");
    if config.name.is_empty() {
        return Err(at_name.missing("write the name of the secret"));
    }
    let places = (&at_name, &at.field("sds_config"));
    source::sourced_name(&config.name, config.sds_config.as_ref(), places)
}

fn validation(common: &pb::CommonTlsContext, at: &At<'_>) -> Result<Validation, Fault> {
    use pb::common_tls_context::ValidationContextType as Kind;
    match &common.validation_context_type {
        None => Ok(Validation::default()),
        Some(Kind::ValidationContext(context)) => {
            let at = at.field("validation_context");
            let validation = validation_context(context, &at)?;
            if validation.trust == Trust::Unverified && !validation.subject_alt_names.is_empty() {
                let help = "write `trusted_ca`: a name proves nothing when nobody vouches for it";
                return Err(at
                    .field("trusted_ca")
                    .invalid("is missing beside names to match", help));
            }
            Ok(validation)
        }
        Some(Kind::ValidationContextSdsSecretConfig(config)) => {
            let at = at.field("validation_context_sds_secret_config");
            Ok(Validation { trust: Trust::Sds(secret_name(config, &at)?), ..Validation::default() })
        }
        Some(Kind::CombinedValidationContext(combined)) => {
            combined_context(combined, &at.field("combined_validation_context"))
        }
        Some(_) => Err(at.invalid(
            "certificate providers are not supported",
            "use `validation_context` or `combined_validation_context`",
        )),
    }
}

fn combined_context(
    combined: &pb::common_tls_context::CombinedCertificateValidationContext,
    at: &At<'_>,
) -> Result<Validation, Fault> {
    let at_default = at.field("default_validation_context");
    let mut validation = match &combined.default_validation_context {
        Some(context) => validation_context(context, &at_default)?,
        None => Validation::default(),
    };
    let at_config = at.field("validation_context_sds_secret_config");
    let config = combined
        .validation_context_sds_secret_config
        .as_ref()
        .ok_or_else(|| at_config.missing("name the secret that holds the roots"))?;
    validation.trust = named_trust(config, &at_config)?;
    Ok(validation)
}

/// The name under which Istio's proxies ask for the operating system's roots.
pub(crate) const SYSTEM_ROOTS: &str = "file-root:system";

fn named_trust(config: &pb::SdsSecretConfig, at: &At<'_>) -> Result<Trust, Fault> {
    let name = secret_name(config, at)?;
    Ok(if name.name() == SYSTEM_ROOTS { Trust::System } else { Trust::Sds(name) })
}

fn validation_context(
    context: &pb::CertificateValidationContext,
    at: &At<'_>,
) -> Result<Validation, Fault> {
    let trust = match (&context.trusted_ca, &context.system_root_certs) {
        (Some(source), _) => {
            Trust::Inline(Pem(wire::text_source(source, &at.field("trusted_ca"))?.into()))
        }
        (None, Some(_)) => Trust::System,
        (None, None) => Trust::Unverified,
    };
    let at_names = at.field("match_typed_subject_alt_names");
    let mut names = wire::list(&context.match_typed_subject_alt_names, &at_names, san)?;
    let at_untyped = at.field("match_subject_alt_names");
    // As in Envoy: beside the typed names the old ones do not count.
    if names.is_empty() {
        names = wire::list(&context.match_subject_alt_names, &at_untyped, |matcher, at| {
            Ok(SanMatch { kind: None, matcher: matcher::text(matcher, at)? })
        })?;
    } else if !context.match_subject_alt_names.is_empty() {
        at_untyped.warn("has no effect beside match_typed_subject_alt_names");
    }
    Ok(Validation {
        trust,
        subject_alt_names: names,
        spki_pins: context.verify_certificate_spki.clone(),
        certificate_hashes: wire::list(
            &context.verify_certificate_hash,
            &at.field("verify_certificate_hash"),
            |text, at| certificate_hash(text, at),
        )?,
        crl: crl(context, at)?,
    })
}

/// Revocation lists of a validation context.
pub(super) fn crl(
    context: &pb::CertificateValidationContext,
    at: &At<'_>,
) -> Result<Option<Pem>, Fault> {
    let at = at.field("crl");
    context.crl.as_ref().map(|source| Ok(Pem(wire::text_source(source, &at)?.into()))).transpose()
}

fn certificate_hash(text: &str, at: &At<'_>) -> Result<String, Fault> {
    let digits: String =
        text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() != 64 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(at.invalid("is not a SHA-256", "write 64 hexadecimal digits"));
    }
    Ok(digits)
}

fn san(matcher: &pb::SubjectAltNameMatcher, at: &At<'_>) -> Result<SanMatch, Fault> {
    use pb::subject_alt_name_matcher::SanType;
    let at_kind = at.field("san_type");
    let kind = match wire::known::<SanType>(matcher.san_type, &at_kind)? {
        SanType::Dns => SanKind::Dns,
        SanType::Uri => SanKind::Uri,
        SanType::IpAddress => SanKind::Ip,
        SanType::Email => SanKind::Email,
        SanType::Unspecified | SanType::OtherName => {
            return Err(at_kind.invalid("is not supported", "use DNS, URI, IP_ADDRESS or EMAIL"));
        }
    };
    let at_matcher = at.field("matcher");
    let text = matcher
        .matcher
        .as_ref()
        .ok_or_else(|| at_matcher.missing("write what the name must be"))?;
    let matcher: StringMatch = matcher::text(text, &at_matcher)?;
    Ok(SanMatch { kind: Some(kind), matcher })
}
