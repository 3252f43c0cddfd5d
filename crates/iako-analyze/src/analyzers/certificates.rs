//! Credentials of Gateways: whether they can be shown, until when, and for which hosts.

use std::time::{Duration, SystemTime};

use iako_registry::MeshSnapshot;
use iako_resources::{
    Code, Diagnostic, Gateway, Kind, Object, Secret,
    istio::gateway::{Server, ServerTlsMode},
    selects,
};
use iako_types::HostPattern;
use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::{
    extensions::GeneralName,
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

use super::findings::{Findings, key};

/// Certificates that end sooner are worth a word.
const SOON: Duration = Duration::from_secs(21 * 86_400);

/// A day, for messages.
const DAY: u64 = 86_400;

/// What of a certificate can be wrong.
struct Certificate {
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
    public_key: Vec<u8>,
}

/// Credentials that cannot be shown, or not for long, or not for their hosts. Where the time is not
/// known, nothing is said about time.
pub(super) fn credentials(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for gateway in &snapshot.gateways {
        for server in &gateway.spec.servers {
            for secret in secrets(snapshot, gateway, server) {
                check(gateway, server, secret, findings);
            }
        }
    }
}

/// The secrets of a server that are there.
fn secrets<'a>(
    snapshot: &'a MeshSnapshot,
    gateway: &Object<Gateway>,
    server: &Server,
) -> Vec<&'a Object<Secret>> {
    let Some(tls) = server.tls.as_ref().filter(|tls| shows_certificate(tls.mode)) else {
        return Vec::new();
    };
    let workloads = snapshot.workloads.iter();
    let own = workloads.filter(|it| selects(&gateway.spec.selector, &it.labels));
    let namespaces: std::collections::BTreeSet<_> = own.map(|it| &it.namespace).collect();
    let names = tls.credential_names.iter();
    let keys = names.flat_map(|name| {
        namespaces.iter().map(move |namespace| ((*namespace).clone(), name.clone()))
    });
    keys.filter_map(|key| snapshot.secrets.get(&key)).map(AsRef::as_ref).collect()
}

const fn shows_certificate(mode: ServerTlsMode) -> bool {
    match mode {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => true,
        ServerTlsMode::Passthrough
        | ServerTlsMode::AutoPassthrough
        | ServerTlsMode::IstioMutual => false,
    }
}

fn check(
    gateway: &Object<Gateway>,
    server: &Server,
    secret: &Object<Secret>,
    findings: &mut Findings,
) {
    let now = findings.now;
    let mut add = |code: Code, path: &str, message: String, help: String| {
        let subject = key(Kind::Secret, secret);
        let finding = Diagnostic::new(code, subject, secret.origin.clone(), message);
        findings.push(finding.at(path).with_help(help));
    };
    let shown_by = format!("Gateway {}/{}", gateway.meta.namespace, gateway.meta.name);
    let found = parts(&secret.spec)
        .and_then(|(path, chain, private)| Ok((path, read(chain)?, public_key(private)?)));
    let (path, certificate, public) = match found {
        Ok(found) => found,
        Err(problem) => {
            let help = "put a chain and its key in PEM under tls.crt and tls.key";
            let message = format!("{shown_by} cannot show it: {problem}");
            add(Code::BadCredential, "data", message, help.to_owned());
            return;
        }
    };
    if certificate.public_key != public {
        let message = "the private key does not belong to the certificate".to_owned();
        let help = "take key and certificate of one request, the server's certificate first";
        add(Code::KeyMismatch, "data", message, help.to_owned());
    }
    if let Some(message) = now.and_then(|now| time_problem(&certificate, now)) {
        add(Code::CertificateExpires, path, message, "renew it".to_owned());
    }
    let missing: Vec<String> = server
        .hosts
        .iter()
        .filter(|host| !names_host(&certificate.names, &host.host))
        .map(|host| host.host.to_string())
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "{shown_by} shows it for {}, but it names {}",
            missing.join(", "),
            if certificate.names.is_empty() {
                "no host".into()
            } else {
                certificate.names.join(", ")
            }
        );
        let help = "name these hosts in the certificate, or show another one for them";
        add(Code::CertificateWithoutHost, path, message, help.to_owned());
    }
}

/// Field of the chain, chain, private key.
type Parts<'a> = (&'static str, &'a [u8], &'a [u8]);

/// The texts of a credential.
fn parts(secret: &Secret) -> Result<Parts<'_>, String> {
    for (chain, private, path) in
        [("tls.crt", "tls.key", "data[\"tls.crt\"]"), ("cert", "key", "data.cert")]
    {
        if let (Some(chain), Some(private)) = (secret.data.get(chain), secret.data.get(private)) {
            return Ok((path, chain.reveal(), private.reveal()));
        }
    }
    Err("it has neither tls.crt and tls.key nor cert and key".to_owned())
}

/// Reads the first certificate of a chain.
fn read(chain: &[u8]) -> Result<Certificate, String> {
    let first = Pem::iter_from_buffer(chain).next();
    let Some(Ok(first)) =
        first.filter(|pem| pem.as_ref().is_ok_and(|it| it.label == "CERTIFICATE"))
    else {
        return Err("its chain is no certificate in PEM".to_owned());
    };
    let (_, certificate) = X509Certificate::from_der(&first.contents)
        .map_err(|_wrong| "its certificate cannot be read".to_owned())?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.map(|found| {
        let names = found.value.general_names.iter();
        names.filter_map(|name| {
            let GeneralName::DNSName(name) = name else { return None };
            Some(name.to_ascii_lowercase())
        })
    });
    Ok(Certificate {
        names: names.into_iter().flatten().collect(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        public_key: certificate.public_key().raw.to_vec(),
    })
}

fn public_key(private: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(private);
    let pair = text.ok().and_then(|text| KeyPair::from_pem(text).ok());
    let pair = pair.ok_or_else(|| "its private key cannot be read".to_owned())?;
    Ok(pair.subject_public_key_info())
}

fn time_problem(certificate: &Certificate, now: SystemTime) -> Option<String> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let now = i64::try_from(since).ok()?;
    let left = certificate.not_after.saturating_sub(now);
    let days = left.unsigned_abs().checked_div(DAY).unwrap_or_default();
    if left <= 0 {
        return Some(format!("the certificate expired {days} days ago"));
    }
    if certificate.not_before > now {
        return Some("the certificate is not valid yet".to_owned());
    }
    let soon = i64::try_from(SOON.as_secs()).unwrap_or(i64::MAX);
    (left < soon).then(|| format!("the certificate expires in {days} days"))
}

/// Whether names of a certificate cover every host of a pattern. Source: RFC 9525 §6.3.
fn names_host(names: &[String], host: &HostPattern) -> bool {
    let covers = |name: &str, wanted: &str| match name.strip_prefix("*.") {
        Some(domain) => {
            wanted.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == domain)
        }
        None => name == wanted,
    };
    match host {
        HostPattern::Any => true,
        HostPattern::Below(domain) => {
            let domain = domain.as_str();
            names.iter().any(|name| {
                name.strip_prefix("*.") == Some(domain) || name.ends_with(&format!(".{domain}"))
            })
        }
        HostPattern::Exact(host) => names.iter().any(|name| covers(name, host.as_str())),
    }
}
