//! What an authority says of a certificate, handed on in handshakes.

use std::sync::Arc;

use iako_proxy::{Proxy, StartError};
use iako_proxy_config::{
    CertificateSource, DownstreamTls, DownstreamTransport, Listener, OcspPolicy, OcspResponse,
    TlsOptions,
};
use iako_rt::Scope;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;

use crate::support::{Root, bootstrap, cluster, echo, settings, start, tcp_listener};

fn der(kind: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0x82], &length[..], &content].concat()
}

/// A response that says that the certificate with this serial number was good, until a date.
fn response(serial: &[u8], until: &[u8]) -> OcspResponse {
    let hash = der(0x04, &[b"hash"]);
    let id = der(0x30, &[&der(0x30, &[]), &hash, &hash, &der(0x02, &[serial])]);
    let found = der(0x18, &[b"20200101000000Z"]);
    let next = der(0xa0, &[&der(0x18, &[until])]);
    let single = der(0x30, &[&id, &[0x80, 0], &found, &next]);
    let who = der(0xa2, &[&der(0x04, &[b"key"])]);
    let data = der(0x30, &[&who, &found, &der(0x30, &[&single])]);
    let kind = [0x06, 9, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    let bytes = der(0x30, &[&kind, &der(0x04, &[&der(0x30, &[&data])])]);
    OcspResponse(der(0x30, &[&[0x0a, 1, 0], &der(0xa0, &[&bytes])]).into())
}

const LATER: &[u8] = b"20990101000000Z";
const PAST: &[u8] = b"20200102000000Z";

/// Believes everybody and remembers what was stapled.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<u8>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock() = ocsp_response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        iako_identity::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a client is stapled; none when it is turned away.
async fn stapled(address: std::net::SocketAddr) -> Option<Vec<u8>> {
    let seen = Arc::<Seen>::default();
    let config = ClientConfig::builder_with_provider(iako_identity::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Seen>::clone(&seen))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let socket = TcpStream::connect(address).await.unwrap();
    connector.connect("a.test".try_into().unwrap(), socket).await.ok()?;
    let seen = seen.0.lock().clone();
    Some(seen)
}

/// A listener that shows a certificate with a response until then.
fn listener(
    name: &str,
    root: &Root,
    policy: OcspPolicy,
    until: Option<&[u8]>,
) -> (Listener, Option<OcspResponse>) {
    let (chain, key) = root.issue("a.test");
    let serial = {
        let certificates = iako_identity::certificates_from_pem(&chain.0).unwrap();
        let serial = iako_identity::CertificateFacts::read(&certificates[0]).unwrap().serial;
        let digit = |at: usize| u8::from_str_radix(serial.get(at..at + 2).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = (0..serial.len()).step_by(2).map(digit).collect();
        [&[0], &bytes[..]].concat()
    };
    let staple = until.map(|until| response(&serial, until));
    let certificate = CertificateSource::Inline { chain, key, staple: staple.clone() };
    let options = TlsOptions { certificates: vec![certificate], ..TlsOptions::default() };
    let tls = DownstreamTls { options, stapling: policy, ..DownstreamTls::default() };
    let mut listener = tcp_listener(name, "app");
    listener.chains[0].transport = DownstreamTransport::Tls(Box::new(tls));
    (listener, staple)
}

#[tokio::test]
async fn a_response_is_stapled_while_it_counts_and_the_policy_decides_the_rest() {
    let (scope, root) = (Scope::new(), Root::new());
    let server = echo(&scope, "app").await;
    for (policy, until, is_served) in [
        (OcspPolicy::Lenient, Some(LATER), true),
        (OcspPolicy::Lenient, Some(PAST), true),
        (OcspPolicy::Lenient, None, true),
        (OcspPolicy::Strict, Some(LATER), true),
        (OcspPolicy::Strict, Some(PAST), false),
        (OcspPolicy::Strict, None, true),
        (OcspPolicy::Must, Some(LATER), true),
        (OcspPolicy::Must, Some(PAST), false),
    ] {
        let (listener, staple) = listener("in", &root, policy, until);
        let proxy = start(vec![listener], vec![cluster("app", &[server])]).await;
        let seen = stapled(proxy.listener_address("in").unwrap()).await;
        let counts = staple.filter(|_| until == Some(LATER));
        let expected = is_served.then(|| counts.map(|one| one.0.to_vec()).unwrap_or_default());
        assert_eq!(seen, expected, "{policy:?} {}", String::from_utf8_lossy(until.unwrap_or(b"-")));
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn a_listener_whose_response_is_missing_or_of_another_certificate_is_refused() {
    let root = Root::new();
    let (missing, _) = listener("in", &root, OcspPolicy::Must, None);
    let (mut other, _) = listener("in", &root, OcspPolicy::Lenient, Some(LATER));
    if let DownstreamTransport::Tls(tls) = &mut other.chains[0].transport
        && let CertificateSource::Inline { staple, .. } = &mut tls.options.certificates[0]
    {
        *staple = Some(response(&[1, 2, 3], LATER));
    }
    for (listener, expected) in [(missing, "there is none"), (other, "about another certificate")] {
        let started = Proxy::start(settings(bootstrap(vec![listener], Vec::new()))).await;
        let error = started.err().map(|error| causes(&error)).unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
}

fn causes(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
