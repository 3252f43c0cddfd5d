//! Transport sockets.

use iako_types::TrustDomain;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::{
    raw_buffer::v3::RawBuffer, tls::v3 as pb,
};

use super::{matcher, source, wire};
use crate::decode::SYSTEM_ROOTS;
use iako_proxy_config::{
    CertificateSource, DownstreamTransport, OcspPolicy, OcspResponse, Pem, PrivateKey, SanKind,
    SanMatch, SessionTickets, SourcedName, TicketKey, TlsOptions, TlsVersion, Trust,
    UpstreamTransport, Validation,
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
    use pb::downstream_tls_context::OcspStaplePolicy as Policy;
    let DownstreamTransport::Tls(tls) = value else { return None };
    let context = pb::DownstreamTlsContext {
        common_tls_context: Some(options(&tls.options)),
        require_client_certificate: Some(tls.require_client_certificate),
        require_sni: tls.require_sni.then_some(true),
        disable_stateful_session_resumption: !tls.resumption.stored,
        session_timeout: tls.resumption.lifetime.map(wire::duration),
        session_ticket_keys_type: tickets(&tls.resumption.tickets),
        prefer_client_ciphers: tls.prefer_client_ciphers,
        full_scan_certs_on_sni_mismatch: tls.scan_certificates.then_some(true),
        ocsp_staple_policy: match tls.stapling {
            OcspPolicy::Lenient => Policy::LenientStapling,
            OcspPolicy::Strict => Policy::StrictStapling,
            OcspPolicy::Must => Policy::MustStaple,
        }
        .into(),
    };
    Some(socket("envoy.transport_sockets.tls", &context))
}

fn tickets(value: &SessionTickets) -> Option<pb::downstream_tls_context::SessionTicketKeysType> {
    use pb::downstream_tls_context::SessionTicketKeysType as Kind;
    match value {
        SessionTickets::OwnKeys => None,
        SessionTickets::Off => Some(Kind::DisableStatelessSessionResumption(true)),
        SessionTickets::Keys(keys) => Some(Kind::SessionTicketKeys(ticket_keys(keys))),
        SessionTickets::Sds(name) => Some(Kind::SessionTicketKeysSdsSecretConfig(secret(name))),
    }
}

/// Keys of session tickets, in clear.
pub(super) fn ticket_keys(keys: &[TicketKey]) -> pb::TlsSessionTicketKeys {
    let source = |key: &TicketKey| {
        use core::data_source::Specifier;
        let specifier = Some(Specifier::InlineBytes(key.expose().to_vec().into()));
        core::DataSource { specifier, ..Default::default() }
    };
    pb::TlsSessionTicketKeys { keys: keys.iter().map(source).collect() }
}

pub(super) fn upstream(value: &UpstreamTransport) -> Option<core::TransportSocket> {
    let UpstreamTransport::Tls(tls) = value else { return None };
    let context = pb::UpstreamTlsContext {
        common_tls_context: Some(options(&tls.options)),
        sni: tls.sni.clone().unwrap_or_default(),
        auto_host_sni: tls.auto_host_sni,
        auto_sni_san_validation: tls.auto_san_validation,
        max_session_keys: tls.sessions_max,
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
            CertificateSource::Inline { chain, key, staple } => {
                inline.push(certificate_pair(chain, key, staple.as_ref()));
            }
            CertificateSource::Sds(name) => named.push(secret(name)),
        }
    }
    pb::CommonTlsContext {
        tls_params: Some(parameters(value)),
        tls_certificates: inline,
        tls_certificate_sds_secret_configs: named,
        alpn_protocols: value.alpn.clone(),
        validation_context_type: validation(&value.validation),
        key_log: value.key_log.as_ref().map(|log| pb::TlsKeyLog {
            path: log.path.to_string_lossy().into_owned(),
            local_address_range: wire::cidrs(&log.local_ranges),
            remote_address_range: wire::cidrs(&log.remote_ranges),
        }),
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
        ecdh_curves: value.curves.iter().map(|curve| curve.name().to_owned()).collect(),
        ..Default::default()
    }
}

/// A certificate with its key, in clear.
pub(super) fn certificate_pair(
    chain: &Pem,
    key: &PrivateKey,
    staple: Option<&OcspResponse>,
) -> pb::TlsCertificate {
    use core::data_source::Specifier;
    let bytes = |response: &OcspResponse| core::DataSource {
        specifier: Some(Specifier::InlineBytes(response.0.to_vec().into())),
        ..Default::default()
    };
    pb::TlsCertificate {
        ocsp_staple: staple.map(bytes),
        certificate_chain: Some(wire::text_source(&chain.0)),
        private_key: Some(wire::text_source(key.expose())),
        ..Default::default()
    }
}

pub(super) fn secret(name: &SourcedName) -> pb::SdsSecretConfig {
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
        Trust::Unverified | Trust::Inline(_) | Trust::Spiffe(_) => {
            return Some(Kind::ValidationContext(context));
        }
    };
    Some(Kind::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(secret(&named)),
        ..Default::default()
    }))
}

/// What peers must be, as a part of settings or as a secret.
pub(super) fn validation_context(value: &Validation) -> pb::CertificateValidationContext {
    use pb::certificate_validation_context::TrustChainVerification;
    let verification = if value.chain.accept_untrusted {
        TrustChainVerification::AcceptUntrusted
    } else {
        TrustChainVerification::VerifyTrustChain
    };
    let mut context = pb::CertificateValidationContext {
        verify_certificate_spki: value.spki_pins.clone(),
        verify_certificate_hash: value.certificate_hashes.clone(),
        crl: value.crl.as_ref().map(|crl| wire::text_source(&crl.0)),
        allow_expired_certificate: value.chain.allow_expired,
        trust_chain_verification: verification.into(),
        max_verify_depth: value.chain.depth_max,
        only_verify_leaf_cert_crl: value.chain.crl_of_leaf_only,
        suppress_client_ca_list: value.chain.hide_authorities,
        ..Default::default()
    };
    match &value.trust {
        Trust::Inline(roots) => context.trusted_ca = Some(wire::text_source(&roots.0)),
        Trust::Spiffe(bundles) => context.custom_validator_config = Some(spiffe(bundles)),
        Trust::Unverified | Trust::Sds(_) | Trust::System => {}
    }
    for name in &value.subject_alt_names {
        match &name.kind {
            Some(kind) => context.match_typed_subject_alt_names.push(san(kind, name)),
            None => context.match_subject_alt_names.push(matcher::text(&name.matcher)),
        }
    }
    context
}

/// Roots of their own for each trust domain.
fn spiffe(bundles: &[(TrustDomain, Pem)]) -> core::TypedExtensionConfig {
    let domains =
        bundles.iter().map(|(domain, roots)| pb::spiffe_cert_validator_config::TrustDomain {
            name: domain.as_str().to_owned(),
            trust_bundle: Some(wire::text_source(&roots.0)),
            ..Default::default()
        });
    let config =
        pb::SpiffeCertValidatorConfig { trust_domains: domains.collect(), ..Default::default() };
    wire::extension("envoy.tls.cert_validator.spiffe", &config)
}

/// A name that a certificate must carry.
pub(super) fn san(kind: &SanKind, name: &SanMatch) -> pb::SubjectAltNameMatcher {
    use pb::subject_alt_name_matcher::SanType;
    let (kind, oid) = match kind {
        SanKind::Dns => (SanType::Dns, ""),
        SanKind::Uri => (SanType::Uri, ""),
        SanKind::Ip => (SanType::IpAddress, ""),
        SanKind::Email => (SanType::Email, ""),
        SanKind::Other(oid) => (SanType::OtherName, oid.as_str()),
    };
    pb::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(matcher::text(&name.matcher)),
        oid: oid.to_owned(),
    }
}
