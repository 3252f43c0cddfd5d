//! Certificates of the cases about TLS, made anew in every run: `@pki/NAME` in a bootstrap.

use std::{collections::BTreeMap, sync::LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

static FILES: LazyLock<BTreeMap<String, String>> = LazyLock::new(make);

/// The text of a file, such as `root1.pem` or `server.key`.
pub(crate) fn pem(name: &str) -> &'static str {
    FILES.get(name).unwrap_or_else(|| panic!("there is no @pki/{name}"))
}

fn make() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mesh = root("root1", &mut files);
    root("root2", &mut files);
    let workload = |name: &str| format!("spiffe://cluster.local/ns/default/sa/{name}");
    leaf("server", &[workload("server")], &mesh, &mut files);
    leaf("client", &[workload("client")], &mesh, &mut files);
    leaf("two-uri", &[workload("client"), workload("other")], &mesh, &mut files);
    files
}

fn root(name: &str, files: &mut BTreeMap<String, String>) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    files.insert(format!("{name}.pem"), params.self_signed(&key).unwrap().pem());
    Issuer::new(params, key)
}

fn leaf(
    name: &str,
    uris: &[String],
    issuer: &Issuer<'_, KeyPair>,
    files: &mut BTreeMap<String, String>,
) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    files.insert(format!("{name}.pem"), params.signed_by(&key, issuer).unwrap().pem());
    files.insert(format!("{name}.key"), key.serialize_pem());
}
