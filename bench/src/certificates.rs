//! One root and two workloads' certificates, as files: P-256, SPIFFE identity and DNS name.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

/// Writes `root.pem`, and for `client` and `server` `.pem`, `.key` and both in one, `.both.pem`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_key = KeyPair::generate()?;
    let put = |name: String, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    put("root.pem".to_owned(), root.self_signed(&root_key)?.pem())?;
    let issuer = Issuer::new(root, root_key);
    for name in ["client", "server"] {
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = DistinguishedName::new();
        leaf.subject_alt_names = vec![
            SanType::URI(format!("spiffe://cluster.local/ns/bench/sa/{name}").try_into()?),
            SanType::DnsName(format!("{name}.bench.test").try_into()?),
        ];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let chain = leaf.signed_by(&key, &issuer)?.pem();
        put(format!("{name}.both.pem"), format!("{chain}{}", key.serialize_pem()))?;
        put(format!("{name}.pem"), chain)?;
        put(format!("{name}.key"), key.serialize_pem())?;
    }
    Ok(())
}
