//! Certificates of the cases about TLS, made anew in every run: `@pki/NAME` in a bootstrap.
//!
//! `NAME.pem` and `NAME.key` are a chain and its key, `NAME.sha256` and `NAME.spki` what they are
//! pinned by, `ROOT.crl` the list of what a root has taken back.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData as _, RevokedCertParams, SanType,
    SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

type Files = BTreeMap<String, String>;
type Authority = Issuer<'static, KeyPair>;

static FILES: LazyLock<Files> = LazyLock::new(make);

/// The serial number of what was taken back.
const REVOKED: u64 = 4711;

/// The text of a file, such as `root1.pem` or `server.key`.
pub(crate) fn pem(name: &str) -> &'static str {
    FILES.get(name).unwrap_or_else(|| panic!("there is no @pki/{name}"))
}

/// The name of a leaf.
pub(crate) fn name_of(shown: &CertificateDer<'_>) -> String {
    let chains = FILES.iter().filter_map(|(file, text)| Some((file.strip_suffix(".pem")?, text)));
    let is_it = |text: &str| {
        CertificateDer::from_pem_slice(text.as_bytes()).is_ok_and(|leaf| leaf == *shown)
    };
    chains
        .filter(|(_, text)| is_it(text))
        .map(|(name, _)| name.to_owned())
        .next()
        .unwrap_or_else(|| "stranger".to_owned())
}

/// What differs from a leaf that a case needs no more of than that it is one.
struct Leaf {
    names: Vec<SanType>,
    common_name: Option<&'static str>,
    algorithm: &'static SignatureAlgorithm,
    serial: Option<u64>,
    years: (i32, i32),
}

impl Leaf {
    fn of(names: Vec<SanType>) -> Self {
        let algorithm = &PKCS_ECDSA_P256_SHA256;
        Self { names, common_name: None, algorithm, serial: None, years: (1975, 4096) }
    }
}

fn make() -> Files {
    let mut files = Files::new();
    let mesh = root("root1", &mut files);
    let other = root("root2", &mut files);
    let workload = |name: &str| uri(&format!("spiffe://cluster.local/ns/default/sa/{name}"));
    let mut leaf = |name: &str, leaf: Leaf, issuer: &Authority, rest: &str| {
        self::leaf(name, leaf, issuer, rest, &mut files);
    };
    leaf("server", Leaf::of(vec![workload("server")]), &mesh, "");
    leaf("client", Leaf::of(vec![workload("client")]), &mesh, "");
    leaf("two-uri", Leaf::of(vec![workload("client"), workload("other")]), &mesh, "");
    leaf("stranger", Leaf::of(vec![workload("client")]), &other, "");
    let expired = Leaf { years: (1999, 2001), ..Leaf::of(vec![workload("client")]) };
    leaf("expired", expired, &mesh, "");
    let revoked = Leaf { serial: Some(REVOKED), ..Leaf::of(vec![workload("client")]) };
    leaf("revoked", revoked, &mesh, "");
    leaf("a", Leaf::of(vec![dns("a.test")]), &mesh, "");
    let long = Leaf { algorithm: &PKCS_RSA_SHA256, ..Leaf::of(vec![dns("a.test")]) };
    leaf("a-rsa", long, &mesh, "");
    leaf("wild", Leaf::of(vec![dns("*.test")]), &mesh, "");
    let common = Leaf { common_name: Some("cn.test"), ..Leaf::of(Vec::new()) };
    leaf("common", common, &mesh, "");
    let mixed = vec![dns("mixed.test"), SanType::IpAddress([192, 0, 2, 7].into()), email()];
    leaf("mixed", Leaf::of(mixed), &mesh, "");
    let (between, text) = intermediate("between", &mesh);
    leaf("deep", Leaf::of(vec![workload("client")]), &between, &text);
    files
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn email() -> SanType {
    SanType::Rfc822Name("who@mixed.test".try_into().unwrap())
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

fn root(name: &str, files: &mut Files) -> Authority {
    let (params, key) = authority(name);
    files.insert(format!("{name}.pem"), params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let now = iako_rt::clock::wall();
    let day = Duration::from_secs(86_400);
    let list = CertificateRevocationListParams {
        this_update: (now - day).into(),
        next_update: (now + day).into(),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: (now - day).into(),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    files.insert(format!("{name}.crl"), list.signed_by(&issuer).unwrap().pem().unwrap());
    issuer
}

fn intermediate(name: &str, issuer: &Authority) -> (Authority, String) {
    let (params, key) = authority(name);
    let text = params.signed_by(&key, issuer).unwrap().pem();
    (Issuer::new(params, key), text)
}

fn leaf(name: &str, leaf: Leaf, issuer: &Authority, rest: &str, files: &mut Files) {
    let key = KeyPair::generate_for(leaf.algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(common) = leaf.common_name {
        params.distinguished_name.push(DnType::CommonName, common);
    }
    params.subject_alt_names = leaf.names;
    params.serial_number = leaf.serial.map(SerialNumber::from);
    params.not_before = rcgen::date_time_ymd(leaf.years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(leaf.years.1, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, issuer).unwrap();
    let sha256 = digest(&SHA256, certificate.der());
    let hex = sha256.as_ref().iter().map(|byte| format!("{byte:02x}"));
    files.insert(format!("{name}.sha256"), hex.collect());
    let spki = digest(&SHA256, &key.subject_public_key_info());
    files.insert(format!("{name}.spki"), base64(spki.as_ref()));
    files.insert(format!("{name}.pem"), format!("{}{rest}", certificate.pem()));
    files.insert(format!("{name}.key"), key.serialize_pem());
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            (0..3).fold(0, |group, at| group << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[usize::try_from(group >> (18 - 6 * at) & 63).unwrap()];
            text.push(if at <= u32::try_from(chunk.len()).unwrap() { digit.into() } else { '=' });
        }
    }
    text
}
