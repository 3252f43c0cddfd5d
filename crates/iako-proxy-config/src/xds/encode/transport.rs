//! Transport sockets.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::{
    raw_buffer::v3::RawBuffer, tls::v3 as pb,
};

use super::{matcher, source, wire};
use crate::xds::decode::SYSTEM_ROOTS;
use crate::{
    CertificateSource, DownstreamTransport, Pem, PrivateKey, SanKind, SanMatch, SourcedName,
    TlsOptions, TlsVersion, Trust, UpstreamTransport, Validation,
};

/// A socket's extension.
pub(super) fn socket<M: prost::Message + prost::Name>(
    name: &str,
    config: &M,
) -> core::TransportSocket {
    core::TransportSocket {
        name: name.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(wire::any(config))),
    }
}

/// No socket at all means plain bytes.
pub(super) fn downstream(value: &DownstreamTransport) -> Option<core::TransportSocket> {
    let DownstreamTransport::Tls(tls) = value else { return None };
    let stateless =
        pb::downstream_tls_context::SessionTicketKeysType::DisableStatelessSessionResumption(true);
    let context = pb::DownstreamTlsContext {
        common_tls_context: Some(options(&tls.options)),
        require_client_certificate: Some(tls.require_client_certificate),
        require_sni: tls.require_sni.then_some(true),
        disable_stateful_session_resumption: !tls.session_resumption,
        session_ticket_keys_type: (!tls.session_resumption).then_some(stateless),
        ..Default::default()
    };
    Some(socket("envoy.transport_sockets.tls", &context))
}

pub(super) fn upstream(value: &UpstreamTransport) -> Option<core::TransportSocket> {
    let UpstreamTransport::Tls(tls) = value else { return None };
    let context = pb::UpstreamTlsContext {
        common_tls_context: Some(options(&tls.options)),
        sni: tls.sni.clone().unwrap_or_default(),
        auto_sni_san_validation: tls.auto_san_validation,
        ..Default::default()
    };
    Some(socket("envoy.transport_sockets.tls", &context))
}

/// Among several sockets of a cluster, plain bytes are a socket of their own.
pub(super) fn upstream_or_raw(value: &UpstreamTransport) -> core::TransportSocket {
    upstream(value).unwrap_or_else(|| socket("envoy.transport_sockets.raw_buffer", &RawBuffer {}))
}

fn options(value: &TlsOptions) -> pb::CommonTlsContext {
    let (mut inline, mut named) = (Vec::new(), Vec::new());
    for source in &value.certificates {
        match source {
            CertificateSource::Inline { chain, key } => inline.push(certificate_pair(chain, key)),
            CertificateSource::Sds(name) => named.push(secret(name)),
        }
    }
    pb::CommonTlsContext {
        tls_params: Some(parameters(value)),
        tls_certificates: inline,
        tls_certificate_sds_secret_configs: named,
        alpn_protocols: value.alpn.clone(),
        validation_context_type: validation(&value.validation),
        ..Default::default()
    }
}

fn parameters(value: &TlsOptions) -> pb::TlsParameters {
    use pb::tls_parameters::TlsProtocol;
    let version = |version: TlsVersion| match version {
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    };
    pb::TlsParameters {
        tls_minimum_protocol_version: version(value.minimum).into(),
        tls_maximum_protocol_version: value.maximum.map_or(TlsProtocol::TlsAuto, version).into(),
        cipher_suites: value.cipher_suites.clone(),
        ..Default::default()
    }
}

/// A certificate with its key, in clear.
pub(super) fn certificate_pair(chain: &Pem, key: &PrivateKey) -> pb::TlsCertificate {
    pb::TlsCertificate {
        certificate_chain: Some(wire::text_source(&chain.0)),
        private_key: Some(wire::text_source(key.expose())),
        ..Default::default()
    }
}

fn secret(name: &SourcedName) -> pb::SdsSecretConfig {
    pb::SdsSecretConfig {
        name: name.name().to_owned(),
        sds_config: Some(source::config_source(name.source())),
    }
}

fn validation(value: &Validation) -> Option<pb::common_tls_context::ValidationContextType> {
    use pb::common_tls_context::{
        CombinedCertificateValidationContext, ValidationContextType as Kind,
    };
    if *value == Validation::default() {
        return None;
    }
    let context = validation_context(value);
    let named = match &value.trust {
        Trust::Sds(name) => name.clone(),
        // Istio's name for them: an Envoy has no field of its own for the system's roots.
        Trust::System => SourcedName::from(SYSTEM_ROOTS),
        Trust::Unverified | Trust::Inline(_) => return Some(Kind::ValidationContext(context)),
    };
    Some(Kind::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(secret(&named)),
        ..Default::default()
    }))
}

fn validation_context(value: &Validation) -> pb::CertificateValidationContext {
    let mut context = pb::CertificateValidationContext {
        verify_certificate_spki: value.spki_pins.clone(),
        verify_certificate_hash: value.certificate_hashes.clone(),
        crl: value.crl.as_ref().map(|crl| wire::text_source(&crl.0)),
        ..Default::default()
    };
    if let Trust::Inline(roots) = &value.trust {
        context.trusted_ca = Some(wire::text_source(&roots.0));
    }
    for name in &value.subject_alt_names {
        match name.kind {
            Some(kind) => context.match_typed_subject_alt_names.push(san(kind, name)),
            None => context.match_subject_alt_names.push(matcher::text(&name.matcher)),
        }
    }
    context
}

fn san(kind: SanKind, name: &SanMatch) -> pb::SubjectAltNameMatcher {
    use pb::subject_alt_name_matcher::SanType;
    let kind = match kind {
        SanKind::Dns => SanType::Dns,
        SanKind::Uri => SanType::Uri,
        SanKind::Ip => SanType::IpAddress,
        SanKind::Email => SanType::Email,
    };
    pb::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(matcher::text(&name.matcher)),
        ..Default::default()
    }
}
