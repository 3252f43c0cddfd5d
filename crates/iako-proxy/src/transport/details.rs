//! What a TLS handshake established, for logs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use iako_identity::{CertificateFacts, PeerIdentity, TlsCertificate, fingerprint};
use iako_telemetry::access_log::further::{CertificateFact, Holder, TlsFact, Validity};

/// What a TLS handshake established.
#[derive(Debug)]
pub(crate) struct TlsDetails {
    /// The version, such as `TLSv1.3`.
    pub(crate) version: &'static str,
    /// The cipher suite's OpenSSL name.
    pub(crate) cipher: String,
    /// The group of the key agreement.
    pub(crate) group: String,
    /// The other end, when it showed a certificate.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// What we showed, when we have something to show.
    pub(crate) own: Option<Arc<TlsCertificate>>,
    /// The server name that was sent; empty without one.
    pub(crate) server_name: String,
    /// When it was done.
    pub(crate) done: Instant,
}

impl TlsDetails {
    /// What was agreed on.
    pub(crate) fn agreed(&self, fact: TlsFact) -> Option<Cow<'_, str>> {
        match fact {
            TlsFact::Version => Some(Cow::Borrowed(self.version)),
            TlsFact::Cipher => Some(Cow::Borrowed(&self.cipher)),
            TlsFact::Group => Some(Cow::Borrowed(&self.group)),
            // rustls tells nobody.
            TlsFact::SessionId => None,
            TlsFact::ServerName => Some(Cow::Borrowed(&self.server_name)),
        }
    }

    /// What a certificate says.
    pub(crate) fn certificate(
        &self,
        holder: Holder,
        fact: CertificateFact,
    ) -> Option<Cow<'_, str>> {
        match holder {
            Holder::Own => leaf(self.own.as_ref()?.facts(), fact),
            Holder::Peer => {
                let peer = self.peer.as_ref()?;
                leaf(&peer.facts, fact).or_else(|| chain(peer, fact).map(Cow::Owned))
            }
        }
    }

    /// From when or up to when the peer's certificate is valid.
    pub(crate) fn validity(&self, end: Validity) -> Option<SystemTime> {
        let facts = &self.peer.as_ref()?.facts;
        Some(match end {
            Validity::Begin => facts.not_before,
            Validity::End => facts.not_after,
        })
    }
}

/// What the certificate itself says.
fn leaf(facts: &CertificateFacts, fact: CertificateFact) -> Option<Cow<'_, str>> {
    let list = |names: &[String]| Some(Cow::Owned(names.join(",")));
    match fact {
        CertificateFact::Uris => list(&facts.uri_sans),
        CertificateFact::Dns => list(&facts.dns_sans),
        CertificateFact::Emails => list(&facts.email_sans),
        CertificateFact::Ips => {
            let texts: Vec<String> = facts.ip_sans.iter().map(ToString::to_string).collect();
            list(&texts)
        }
        CertificateFact::Others => {
            let texts: Vec<&str> = facts.other_sans.iter().map(|(_, text)| &**text).collect();
            Some(Cow::Owned(texts.join(",")))
        }
        CertificateFact::Subject => Some(Cow::Borrowed(&facts.subject)),
        CertificateFact::Issuer => Some(Cow::Borrowed(&facts.issuer)),
        CertificateFact::Serial => Some(Cow::Borrowed(&facts.serial)),
        CertificateFact::Sha256
        | CertificateFact::Sha1
        | CertificateFact::ChainSerials
        | CertificateFact::ChainSha256
        | CertificateFact::ChainSha1
        | CertificateFact::IssuerSerial
        | CertificateFact::IssuerSha256
        | CertificateFact::Pem => None,
    }
}

/// What is found out from all certificates that were shown.
fn chain(peer: &PeerIdentity, fact: CertificateFact) -> Option<String> {
    let all = |text: &dyn Fn(&[u8]) -> String| {
        let texts: Vec<String> = peer.chain().iter().map(|one| text(one)).collect();
        Some(texts.join(","))
    };
    let first = peer.chain().first();
    let issuer = peer.chain().get(1);
    let serial = |one| CertificateFacts::read(one).map(|facts| facts.serial).unwrap_or_default();
    match fact {
        CertificateFact::Sha256 => Some(peer.sha256_hex()),
        CertificateFact::Sha1 => first.map(|leaf| fingerprint::sha1(leaf)),
        CertificateFact::ChainSha256 => all(&fingerprint::sha256),
        CertificateFact::ChainSha1 => all(&fingerprint::sha1),
        CertificateFact::ChainSerials => {
            let serials: Vec<String> = peer.chain().iter().map(serial).collect();
            Some(serials.join(","))
        }
        CertificateFact::IssuerSerial => issuer.map(serial),
        CertificateFact::IssuerSha256 => issuer.map(|issuer| fingerprint::sha256(issuer)),
        CertificateFact::Pem => Some(iako_traffic::percent_encoded(peer.leaf_pem())),
        CertificateFact::Uris
        | CertificateFact::Dns
        | CertificateFact::Emails
        | CertificateFact::Ips
        | CertificateFact::Others
        | CertificateFact::Subject
        | CertificateFact::Issuer
        | CertificateFact::Serial => None,
    }
}

/// A cipher suite as OpenSSL calls it: suites of TLS 1.3 by their own name, older ones with dashes.
pub(super) fn cipher_name(suite: Option<rustls::SupportedCipherSuite>) -> String {
    let name = suite.and_then(|suite| suite.suite().as_str().map(str::to_owned));
    let name = name.unwrap_or_default();
    // rustls writes TLS 1.3 suites as TLS13_….
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let Some(rest) = name.strip_prefix("TLS_") else { return name };
    let (exchange, cipher) = rest.split_once("_WITH_").unwrap_or(("", rest));
    let cipher = cipher.replacen("AES_", "AES", 1).replace('_', "-");
    let cipher = match cipher.strip_suffix("-SHA256").filter(|it| it.ends_with("POLY1305")) {
        Some(short) => short.to_owned(),
        None => cipher,
    };
    format!("{}-{cipher}", exchange.replace('_', "-"))
}

/// A group as BoringSSL calls it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are called alike")]
pub(super) fn group_name(group: Option<&'static dyn rustls::crypto::SupportedKxGroup>) -> String {
    use rustls::NamedGroup;
    let Some(group) = group.map(rustls::crypto::SupportedKxGroup::name) else {
        return String::new();
    };
    match group {
        NamedGroup::secp256r1 => "P-256".to_owned(),
        NamedGroup::secp384r1 => "P-384".to_owned(),
        NamedGroup::secp521r1 => "P-521".to_owned(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}
