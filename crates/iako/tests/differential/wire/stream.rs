//! The bytes of a connection, plain or through TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, StreamOwned, SupportedCipherSuite,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use serde_json::{Value, json};

use crate::{case::TlsStep, pki};

/// A connection of a client or an upstream.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    pub(crate) fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket().set_read_timeout(limit)
    }

    pub(crate) fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            drop(stream.flush());
        }
        self.socket().shutdown(how)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => match stream.read(buffer) {
                // Not everybody says good-bye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A client that shows and offers what a case says, and believes everybody. Sessions that it is given
/// are taken up by the next connection with it.
pub(crate) fn client(step: &TlsStep) -> Arc<ClientConfig> {
    let provider = provider(step);
    let versions: Vec<_> = [&rustls::version::TLS13, &rustls::version::TLS12]
        .into_iter()
        .filter(|version| match step.version.as_deref() {
            None => true,
            Some("1.2") => version.version == rustls::ProtocolVersion::TLSv1_2,
            Some(_) => version.version == rustls::ProtocolVersion::TLSv1_3,
        })
        .collect();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match &step.certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = pki::pem(&format!("{name}.pem"));
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap);
            let key = pki::pem(&format!("{name}.key"));
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.collect(), key).unwrap()
        }
    };
    config.alpn_protocols = step.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Arc::new(config)
}

fn provider(step: &TlsStep) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if !step.suites.is_empty() {
        let name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
        let mut suites = provider.cipher_suites.clone();
        suites.retain(|suite| step.suites.contains(&name(suite)));
        suites.sort_by_key(|suite| step.suites.iter().position(|wanted| *wanted == name(suite)));
        provider.cipher_suites = suites;
    }
    if !step.groups.is_empty() {
        let name =
            |group: &&'static dyn rustls::crypto::SupportedKxGroup| format!("{:?}", group.name());
        provider.kx_groups.retain(|group| step.groups.contains(&name(group)));
    }
    Arc::new(provider)
}

/// Makes the handshake, and tells what was agreed on.
pub(crate) fn handshake(
    socket: TcpStream,
    config: &Arc<ClientConfig>,
    step: &TlsStep,
) -> Result<(Stream, Value), Value> {
    let name = match &step.sni {
        Some(name) => ServerName::try_from(name.clone()).unwrap(),
        // An address is not sent.
        None => ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])),
    };
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        if stream.conn.complete_io(&mut stream.sock).is_err() {
            return Err(json!("refused"));
        }
    }
    let connection = &stream.conn;
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let mut told = json!({
        "version": format!("{:?}", connection.protocol_version().unwrap()),
        "certificate": shown.map(|shown| pki::name_of(shown)),
    });
    if let Some(alpn) = connection.alpn_protocol() {
        told["alpn"] = Value::from(String::from_utf8_lossy(alpn));
    }
    if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
        told["resumed"] = Value::Bool(true);
    }
    if !step.suites.is_empty() {
        let suite = connection.negotiated_cipher_suite().unwrap();
        told["suite"] = Value::from(format!("{:?}", suite.suite()));
    }
    if !step.groups.is_empty()
        && let Some(group) = connection.negotiated_key_exchange_group()
    {
        told["group"] = Value::from(format!("{:?}", group.name()));
    }
    Ok((Stream::Tls(Box::new(stream)), told))
}

/// Believes every server: the cases look at what it shows.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
