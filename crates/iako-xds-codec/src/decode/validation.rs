//! What peers must be.

use iako_types::TrustDomain;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;
use prost::Name as _;

use super::{matcher, transport, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{PeerChainRules, Pem, SanKind, SanMatch, StringMatch, Trust, Validation};

/// What the peers of a side of TLS must be.
pub(super) fn of_common(common: &pb::CommonTlsContext, at: &At<'_>) -> Result<Validation, Fault> {
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
            Ok(Validation {
                trust: Trust::Sds(transport::secret_name(config, &at)?),
                ..Validation::default()
            })
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
    let name = transport::secret_name(config, at)?;
    Ok(if name.name() == SYSTEM_ROOTS { Trust::System } else { Trust::Sds(name) })
}

/// What a validation context says, in a chain's settings or in a secret.
pub(super) fn validation_context(
    context: &pb::CertificateValidationContext,
    at: &At<'_>,
) -> Result<Validation, Fault> {
    use pb::certificate_validation_context::TrustChainVerification;
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
    let at_crl = at.field("crl");
    let crl = context.crl.as_ref().map(|source| wire::text_source(source, &at_crl)).transpose()?;
    let at_verification = at.field("trust_chain_verification");
    let verification: TrustChainVerification =
        wire::known(context.trust_chain_verification, &at_verification)?;
    Ok(Validation {
        trust: trust(context, at)?,
        subject_alt_names: names,
        spki_pins: wire::list(
            &context.verify_certificate_spki,
            &at.field("verify_certificate_spki"),
            |text, at| spki_pin(text, at),
        )?,
        certificate_hashes: wire::list(
            &context.verify_certificate_hash,
            &at.field("verify_certificate_hash"),
            |text, at| certificate_hash(text, at),
        )?,
        crl: crl.map(|text| Pem(text.into())),
        chain: PeerChainRules {
            allow_expired: context.allow_expired_certificate,
            accept_untrusted: verification == TrustChainVerification::AcceptUntrusted,
            depth_max: context.max_verify_depth,
            crl_of_leaf_only: context.only_verify_leaf_cert_crl,
            hide_authorities: context.suppress_client_ca_list,
        },
    })
}

fn trust(context: &pb::CertificateValidationContext, at: &At<'_>) -> Result<Trust, Fault> {
    if let Some(validator) = &context.custom_validator_config {
        return spiffe_validator(validator, &at.field("custom_validator_config"));
    }
    Ok(match (&context.trusted_ca, &context.system_root_certs) {
        (Some(source), _) => {
            Trust::Inline(Pem(wire::text_source(source, &at.field("trusted_ca"))?.into()))
        }
        (None, Some(_)) => Trust::System,
        (None, None) => Trust::Unverified,
    })
}

/// Roots of their own for each trust domain.
fn spiffe_validator(validator: &core::TypedExtensionConfig, at: &At<'_>) -> Result<Trust, Fault> {
    let at = at.field("typed_config");
    let any = validator.typed_config.as_ref();
    let spiffe = pb::SpiffeCertValidatorConfig::full_name();
    let Some(any) = any.filter(|any| pool::full_name(&any.type_url) == spiffe) else {
        return Err(at.invalid("is not supported", "use envoy.tls.cert_validator.spiffe"));
    };
    let config: pb::SpiffeCertValidatorConfig = wire::unpack(any, &at)?;
    let at_domains = at.field("trust_domains");
    if let Some(source) = &config.trust_bundles {
        let at = at.field("trust_bundles");
        return bundles_of_map(&wire::text_source(source, &at)?, &at).map(Trust::Spiffe);
    }
    if config.trust_domains.is_empty() {
        return Err(at_domains.missing("write at least one, or `trust_bundles`"));
    }
    let mut bundles: Vec<(TrustDomain, Pem)> = Vec::new();
    for (index, domain) in config.trust_domains.iter().enumerate() {
        let at = at_domains.index(index);
        let at_bundle = at.field("trust_bundle");
        let bundle = domain.trust_bundle.as_ref();
        let bundle = bundle.ok_or_else(|| at_bundle.missing("write roots in PEM"))?;
        let name = trust_domain(&domain.name, &at.field("name"))?;
        if bundles.iter().any(|(earlier, _)| *earlier == name) {
            return Err(at.field("name").invalid("is written twice", "write each one once"));
        }
        bundles.push((name, Pem(wire::text_source(bundle, &at_bundle)?.into())));
    }
    Ok(Trust::Spiffe(bundles))
}

fn trust_domain(name: &str, at: &At<'_>) -> Result<TrustDomain, Fault> {
    name.parse().map_err(|error: iako_types::IdentityError| {
        at.invalid(error.to_string(), "write a trust domain, such as cluster.local")
    })
}

/// Source: SPIFFE Trust Domain and Bundle §4, as a map by trust domain.
fn bundles_of_map(text: &str, at: &At<'_>) -> Result<Vec<(TrustDomain, Pem)>, Fault> {
    let help =
        "write {\"trust_domains\": {NAME: {\"keys\": [{\"use\": \"x509-svid\", \"x5c\": [..]}]}}}";
    let map: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| at.invalid(format!("is no JSON: {error}"), help))?;
    let domains = map.get("trust_domains").and_then(serde_json::Value::as_object);
    let mut bundles = Vec::new();
    for (name, bundle) in domains.ok_or_else(|| at.missing(help))? {
        let keys = bundle.get("keys").and_then(serde_json::Value::as_array);
        let x509 = keys
            .into_iter()
            .flatten()
            .filter(|key| key.get("use").and_then(serde_json::Value::as_str) == Some("x509-svid"));
        let roots = x509.filter_map(|key| key.get("x5c")?.get(0)?.as_str());
        let pem: String = roots
            .map(|root| format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n"))
            .collect();
        if pem.is_empty() {
            return Err(at.invalid(format!("has no root for `{name}`"), help));
        }
        bundles.push((trust_domain(name, at)?, Pem(pem.into())));
    }
    if bundles.is_empty() { Err(at.missing(help)) } else { Ok(bundles) }
}

/// A SHA-256 in base64: 43 digits and a sign that fills.
fn spki_pin(text: &str, at: &At<'_>) -> Result<String, Fault> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43);
    if digits.is_none_or(|digits| !digits.chars().all(is_digit)) {
        return Err(at.invalid("is not a SHA-256", "write 32 bytes in base64"));
    }
    Ok(text.to_owned())
}

fn certificate_hash(text: &str, at: &At<'_>) -> Result<String, Fault> {
    let digits: String =
        text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() != 64 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(at.invalid("is not a SHA-256", "write 64 hexadecimal digits"));
    }
    Ok(digits)
}

/// A name that a certificate must carry.
pub(super) fn san(matcher: &pb::SubjectAltNameMatcher, at: &At<'_>) -> Result<SanMatch, Fault> {
    use pb::subject_alt_name_matcher::SanType;
    let at_kind = at.field("san_type");
    let kind = match wire::known::<SanType>(matcher.san_type, &at_kind)? {
        SanType::Dns => SanKind::Dns,
        SanType::Uri => SanKind::Uri,
        SanType::IpAddress => SanKind::Ip,
        SanType::Email => SanKind::Email,
        SanType::OtherName if !matcher.oid.is_empty() => SanKind::Other(matcher.oid.clone()),
        SanType::OtherName => {
            return Err(at.field("oid").missing("write which kind of name, such as 1.2.3.4"));
        }
        SanType::Unspecified => {
            return Err(at_kind.missing("use DNS, URI, IP_ADDRESS, EMAIL or OTHER_NAME"));
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
