//! TLS ended at a gateway.

use iako_proxy_config::{
    CertificateSource, DownstreamTls, SanMatch, SourcedName, StringMatch, TlsOptions, TlsVersion,
    Trust,
};
use iako_resources::istio::gateway::{
    ServerTlsMode, ServerTlsSettings, TlsVersion as SourceVersion,
};

use crate::{
    Plan,
    names::{IDENTITY_SECRET, ROOTS_SECRET},
};

/// How TLS of a server is ended.
pub(super) fn terminate(
    settings: &ServerTlsSettings,
    alpn: &[&str],
    plan: &mut Plan,
) -> DownstreamTls {
    let mut options = TlsOptions {
        minimum: version(settings.version_min).unwrap_or_default(),
        maximum: version(settings.version_max),
        cipher_suites: settings.cipher_suites.clone(),
        alpn: alpn.iter().map(|&name| name.to_owned()).collect(),
        ..TlsOptions::default()
    };
    if settings.mode == ServerTlsMode::IstioMutual {
        options.certificates.push(CertificateSource::Sds(IDENTITY_SECRET.into()));
        options.validation.trust = Trust::Sds(ROOTS_SECRET.into());
    } else {
        add_certificates(settings, &mut options, plan);
        if matches!(settings.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
            options.validation.trust = client_trust(settings, plan);
        }
    }
    let exact = |name: &String| SanMatch { kind: None, matcher: StringMatch::exact(name.clone()) };
    options.validation.subject_alt_names = settings.subject_alt_names.iter().map(exact).collect();
    options.validation.spki_pins.clone_from(&settings.verify_certificate_spki);
    options.validation.certificate_hashes = settings
        .verify_certificate_hash
        .iter()
        .map(|hash| hash.replace(':', "").to_ascii_lowercase())
        .collect();
    DownstreamTls {
        options,
        require_client_certificate: matches!(
            settings.mode,
            ServerTlsMode::Mutual | ServerTlsMode::IstioMutual
        ),
        require_sni: false,
        ..DownstreamTls::default()
    }
}

const fn version(version: SourceVersion) -> Option<TlsVersion> {
    match version {
        SourceVersion::Auto => None,
        SourceVersion::V1_2 => Some(TlsVersion::V1_2),
        SourceVersion::V1_3 => Some(TlsVersion::V1_3),
    }
}

fn secret(plan: &mut Plan, name: String) -> SourcedName {
    let sourced = SourcedName::from(name.as_str());
    plan.secrets.insert(name);
    sourced
}

fn add_certificates(settings: &ServerTlsSettings, options: &mut TlsOptions, plan: &mut Plan) {
    for name in &settings.credential_names {
        let name = secret(plan, format!("kubernetes://{name}"));
        options.certificates.push(CertificateSource::Sds(name));
    }
    for files in &settings.certificates {
        let name = secret(plan, format!("file-cert:{}~{}", files.certificate, files.private_key));
        options.certificates.push(CertificateSource::Sds(name));
    }
}

/// Who vouches for clients: a secret of its own, the secret with the certificate, or a file.
fn client_trust(settings: &ServerTlsSettings, plan: &mut Plan) -> Trust {
    if let Some(name) = &settings.ca_cert_credential_name {
        return Trust::Sds(secret(plan, format!("kubernetes://{name}-cacert")));
    }
    if let Some(name) = settings.credential_names.first() {
        return Trust::Sds(secret(plan, format!("kubernetes://{name}-cacert")));
    }
    match &settings.ca_certificates {
        Some(path) => Trust::Sds(secret(plan, format!("file-root:{path}"))),
        // Without roots nobody could vouch for a client: a name that nothing delivers keeps the
        // door shut, where no validation would open it.
        None => Trust::Sds(secret(plan, "kubernetes://".to_owned())),
    }
}
