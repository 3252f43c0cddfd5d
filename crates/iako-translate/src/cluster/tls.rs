//! TLS towards a service: the mesh's own, what the user asks for, or none.

use std::collections::{BTreeMap, BTreeSet};

use iako_proxy_config::{
    CertificateSource, Cluster, Discovery, HttpProtocol, SanMatch, SourcedName, StringMatch,
    TlsOptions, TransportMatch, Trust, UpstreamTls, UpstreamTransport, Validation,
};
use iako_resources::istio::destination_rule::{ClientTlsMode, ClientTlsSettings};
use iako_types::{SpiffeId, TrustDomain};

use super::Target;
use crate::{
    Plan,
    names::{IDENTITY_SECRET, ROOTS_SECRET, outbound_sni},
    outlook::Outlook,
};

/// The key in an endpoint's metadata that says which transport it gets.
pub(crate) const TLS_MODE_KEY: &str = "tlsMode";
/// Its value for endpoints that speak the mesh's mutual TLS.
pub(crate) const TLS_MODE_ISTIO: &str = "istio";

/// Chooses the transport of a cluster.
///
/// What a DestinationRule says counts for every endpoint. Without it each endpoint that speaks the
/// mesh's mutual TLS gets that, and every other one plain bytes.
pub(super) fn apply(
    outlook: &Outlook<'_>,
    target: &Target<'_>,
    cluster: &mut Cluster,
    plan: &mut Plan,
) {
    let Some(settings) = target.policy.tls else {
        let automatic = outlook.mesh().enable_auto_mtls
            && !target.service.mesh_external
            && !matches!(cluster.discovery, Discovery::OriginalDst { .. });
        if automatic {
            let transport = mesh_tls(outlook, target, cluster, None);
            cluster.transport_matches = automatic_matches(transport);
        }
        return;
    };
    match settings.mode {
        ClientTlsMode::Disable => {}
        ClientTlsMode::IstioMutual => {
            cluster.transport = mesh_tls(outlook, target, cluster, Some(settings));
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            cluster.metadata.alpn_override = false;
            cluster.transport = user_tls(settings, cluster, plan);
        }
    }
}

fn automatic_matches(mutual: UpstreamTransport) -> Vec<TransportMatch> {
    let istio = BTreeMap::from([(TLS_MODE_KEY.to_owned(), TLS_MODE_ISTIO.to_owned())]);
    vec![
        TransportMatch {
            name: "tlsMode-istio".to_owned(),
            criteria: istio,
            transport: mutual,
            proxy_protocol: None,
        },
        TransportMatch {
            name: "tlsMode-disabled".to_owned(),
            criteria: BTreeMap::new(),
            transport: UpstreamTransport::Raw,
            proxy_protocol: None,
        },
    ]
}

/// Mutual TLS with the workload's own identity.
fn mesh_tls(
    outlook: &Outlook<'_>,
    target: &Target<'_>,
    cluster: &Cluster,
    settings: Option<&ClientTlsSettings>,
) -> UpstreamTransport {
    let host = target.service.host.to_string();
    let sni = settings
        .and_then(|settings| settings.sni.clone())
        .unwrap_or_else(|| outbound_sni(target.port.number, target.subset_name(), &host));
    let asked = settings.map_or(&[][..], |settings| &settings.subject_alt_names);
    let subject_alt_names =
        if asked.is_empty() { server_names(outlook, target) } else { exact_names(asked) };
    let mut alpn = vec!["istio-peer-exchange".to_owned(), "istio".to_owned()];
    if cluster.http.protocol == HttpProtocol::Http2 {
        alpn.push("h2".to_owned());
    }
    UpstreamTransport::Tls(Box::new(UpstreamTls {
        options: TlsOptions {
            alpn,
            certificates: vec![CertificateSource::Sds(IDENTITY_SECRET.into())],
            validation: Validation {
                trust: Trust::Sds(ROOTS_SECRET.into()),
                subject_alt_names,
                ..Validation::default()
            },
            ..TlsOptions::default()
        },
        sni: Some(sni),
        ..UpstreamTls::default()
    }))
}

/// The identities that the endpoints of a service prove, in every trust domain that counts as the
/// mesh's. Empty when none is known: then any identity of the mesh is taken.
fn server_names(outlook: &Outlook<'_>, target: &Target<'_>) -> Vec<SanMatch> {
    let mesh = outlook.mesh();
    let mut names = BTreeSet::new();
    for endpoint in target.service.endpoints(target.port.number) {
        let Some(identity) = &endpoint.identity else { continue };
        names.insert(identity.as_str().to_owned());
        if let Some(workload) = identity.workload() {
            let in_domain = |domain: &TrustDomain| {
                let account = &workload.service_account;
                SpiffeId::of_service_account(domain, &workload.namespace, account).to_string()
            };
            if identity.trust_domain() == &mesh.trust_domain {
                names.extend(mesh.trust_domain_aliases.iter().map(in_domain));
            }
        }
    }
    names.extend(target.service.subject_alt_names.iter().cloned());
    exact_names(&names.into_iter().collect::<Vec<_>>())
}

fn exact_names(names: &[String]) -> Vec<SanMatch> {
    let exact = |name: &String| SanMatch { kind: None, matcher: StringMatch::exact(name.clone()) };
    names.iter().map(exact).collect()
}

/// TLS with certificates that the user names.
fn user_tls(settings: &ClientTlsSettings, cluster: &Cluster, plan: &mut Plan) -> UpstreamTransport {
    let mut secret = |name: String| {
        let sourced = SourcedName::from(name.as_str());
        plan.secrets.insert(name);
        sourced
    };
    let mut options = TlsOptions::default();
    if cluster.http.protocol == HttpProtocol::Http2 {
        options.alpn = vec!["h2".to_owned()];
    }
    let mutual = settings.mode == ClientTlsMode::Mutual;
    let validation = &mut options.validation;
    if let Some(name) = &settings.credential_name {
        if mutual {
            let name = secret(format!("kubernetes://{name}"));
            options.certificates.push(CertificateSource::Sds(name));
        }
        validation.trust = Trust::Sds(secret(format!("kubernetes://{name}-cacert")));
    } else {
        if let (true, Some(chain), Some(key)) =
            (mutual, &settings.client_certificate, &settings.private_key)
        {
            let name = secret(format!("file-cert:{chain}~{key}"));
            options.certificates.push(CertificateSource::Sds(name));
        }
        validation.trust = match &settings.ca_certificates {
            Some(path) => Trust::Sds(secret(format!("file-root:{path}"))),
            None => Trust::System,
        };
    }
    if settings.insecure_skip_verify {
        validation.trust = Trust::Unverified;
    }
    validation.subject_alt_names = exact_names(&settings.subject_alt_names);
    // Istio does not compare names once a server name is given; then any certificate that the roots
    // vouch for would do.
    let by_server_name = settings.subject_alt_names.is_empty() && !settings.insecure_skip_verify;
    UpstreamTransport::Tls(Box::new(UpstreamTls {
        options,
        sni: settings.sni.clone(),
        auto_sni: settings.sni.is_none(),
        auto_san_validation: by_server_name,
        ..UpstreamTls::default()
    }))
}
