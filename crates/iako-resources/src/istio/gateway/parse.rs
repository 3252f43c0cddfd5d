//! Reads a `Gateway`.

use std::net::IpAddr;

use iako_types::HostPattern;

use super::{
    CertificateFiles, Gateway, Server, ServerHost, ServerProtocol, ServerTlsMode,
    ServerTlsSettings, TlsVersion, checks,
};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Gateway> {
    let fields = cursor.fields();
    if !refer::is_dns_label(context.name) {
        let message = format!("{:?} is no name of a Gateway; it is one DNS label", context.name);
        cursor.report_metadata("name", message);
    }
    let selector = fields.get("selector").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let list = fields.required("servers").map(|cursor| cursor.list()).unwrap_or_default();
    if fields.has("servers") && list.is_empty() {
        fields.report("servers", Code::EmptyValue, "a Gateway needs at least one server");
    }
    let mut servers: Vec<Server> = Vec::new();
    for cursor in &list {
        let Some(server) = read_server(cursor, context) else { continue };
        let same_name = |other: &&Server| other.port_name == server.port_name;
        if let Some(other) = servers.iter().find(same_name) {
            let message = format!(
                "the port name {} is also that of the server on line {}",
                server.port_name, other.line
            );
            cursor.at("port.name").report(Code::Duplicate, message);
        }
        servers.push(server);
    }
    Some(Gateway { selector, servers })
}

fn read_server(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Server> {
    let fields = cursor.fields();
    let name = fields.text("name");
    let (bind, socket) = fields.get("bind").map(|cursor| read_bind(&cursor)).unwrap_or_default();
    let port = fields.required("port").map(|cursor| read_port(&cursor, socket.as_deref()));
    let hosts = read_hosts(&fields, context);
    let tls = fields.get("tls").map(|cursor| read_tls(&cursor));
    let (number, port_name, protocol) = port??;
    checks::report_tls(cursor, protocol, tls.as_ref());
    let line = cursor.line();
    Some(Server { name, port: number, port_name, protocol, bind, socket, hosts, tls, line })
}

/// Reads the port of a server; one on a Unix socket has the number 0.
fn read_port(cursor: &Cursor<'_>, socket: Option<&str>) -> Option<(u16, String, ServerProtocol)> {
    let fields = cursor.fields();
    let number = if socket.is_some() {
        let number = fields.get("number");
        if number.is_some_and(|cursor| cursor.integer(0, i64::from(u16::MAX)) != Some(0)) {
            let message = "a server on a Unix socket has port number 0";
            fields.report("number", Code::Conflict, message);
        }
        Some(0)
    } else {
        fields.required("number").and_then(|cursor| cursor.port())
    };
    let name = fields.required("name").and_then(|cursor| {
        let text = cursor.text()?;
        if text.is_empty() {
            cursor.report(Code::EmptyValue, "the name of the port is empty");
        }
        Some(text)
    });
    let protocol = fields.required("protocol").and_then(|cursor| {
        const PROTOCOLS: [(&str, ServerProtocol); 10] = [
            ("HTTP", ServerProtocol::Http),
            ("HTTP2", ServerProtocol::Http2),
            ("GRPC", ServerProtocol::Grpc),
            ("GRPC-WEB", ServerProtocol::GrpcWeb),
            ("HTTPS", ServerProtocol::Https),
            ("TLS", ServerProtocol::Tls),
            ("TCP", ServerProtocol::Tcp),
            ("MONGO", ServerProtocol::Tcp),
            ("REDIS", ServerProtocol::Tcp),
            ("MYSQL", ServerProtocol::Tcp),
        ];
        // Istio reads the word in any case.
        let text = cursor.text()?.to_ascii_uppercase();
        let known = PROTOCOLS.iter().find(|(word, _)| *word == text);
        match known {
            Some((_, protocol)) => Some(*protocol),
            None => cursor.word(&PROTOCOLS),
        }
    });
    Some((number?, name?, protocol?))
}

fn read_bind(cursor: &Cursor<'_>) -> (Option<IpAddr>, Option<String>) {
    let text = cursor.text().unwrap_or_default();
    if let Some(path) = text.strip_prefix("unix://") {
        refer::check_socket(cursor, path);
        let message = "Unix sockets are read and checked, not yet applied: nothing listens there";
        cursor.report(Code::FieldIgnored, message);
        return (None, Some(path.to_owned()));
    }
    let address = text.parse().ok();
    if address.is_none() && !text.is_empty() {
        cursor.report(Code::BadValue, format!("{text:?} is no address and no unix:// path"));
    }
    (address, None)
}

fn read_hosts(fields: &Fields<'_>, context: &Context<'_>) -> Vec<ServerHost> {
    let list = fields.required("hosts").map(|cursor| cursor.list()).unwrap_or_default();
    if fields.has("hosts") && list.is_empty() {
        fields.report("hosts", Code::EmptyValue, "a server needs at least one host");
    }
    list.iter().filter_map(|cursor| read_host(cursor, context)).collect()
}

fn read_host(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<ServerHost> {
    let text = cursor.text()?;
    let (namespace, host) = match text.split_once('/') {
        None | Some(("*", _)) => (None, text.split_once('/').map_or(text.as_str(), |(_, h)| h)),
        Some((".", host)) => (Some(context.namespace.clone()), host),
        Some((name, host)) => {
            let namespace = refer::namespace_name(name);
            if namespace.is_none() {
                cursor.report(Code::BadValue, format!("{name:?} is no namespace"));
            }
            (Some(namespace?), host)
        }
    };
    match host.parse() {
        Ok(HostPattern::Exact(name))
            if !name.as_str().contains('.') && name.as_str().parse::<IpAddr>().is_err() =>
        {
            let message = format!("{host:?} is a short name; write the full name of the host");
            cursor.report(Code::BadHost, message);
            None
        }
        Ok(host) => Some(ServerHost { namespace, host }),
        Err(error) => {
            cursor.report(Code::BadHost, format!("{text:?} is no host: {error}"));
            None
        }
    }
}

/// Reads `tls` of a server.
pub(crate) fn read_tls(cursor: &Cursor<'_>) -> ServerTlsSettings {
    let fields = cursor.fields();
    let mode = fields.get("mode").and_then(|cursor| {
        cursor.word(&[
            ("PASSTHROUGH", ServerTlsMode::Passthrough),
            ("SIMPLE", ServerTlsMode::Simple),
            ("MUTUAL", ServerTlsMode::Mutual),
            ("AUTO_PASSTHROUGH", ServerTlsMode::AutoPassthrough),
            ("ISTIO_MUTUAL", ServerTlsMode::IstioMutual),
            ("OPTIONAL_MUTUAL", ServerTlsMode::OptionalMutual),
        ])
    });
    let mut credential_names: Vec<String> = fields.text("credentialName").into_iter().collect();
    let several = fields.texts("credentialNames");
    if !credential_names.is_empty() && !several.is_empty() {
        let message = "credentialName and credentialNames exclude each other";
        fields.report("credentialNames", Code::Conflict, message);
    }
    credential_names.extend(several);
    if credential_names.len() > 2 {
        let message = "at most two credentials can be named, for two key types";
        fields.report("credentialNames", Code::BadValue, message);
    }
    let certificate = fields.text("serverCertificate");
    let key = fields.text("privateKey");
    let mut certificates = fields.list_of("tlsCertificates", read_certificate);
    if certificate.is_some() != key.is_some() {
        let message = "serverCertificate and privateKey are given together or not at all";
        let missing = if certificate.is_some() { "privateKey" } else { "serverCertificate" };
        fields.report(missing, Code::MissingField, message);
    }
    if let Some((certificate, private_key)) = certificate.zip(key) {
        certificates.insert(0, Some(CertificateFiles { certificate, private_key }));
    }
    let pins = fields.texts("verifyCertificateSpki");
    if !pins.is_empty() {
        let message = "the proxy pins certificates, not keys; use verifyCertificateHash";
        fields.report("verifyCertificateSpki", Code::FieldRefused, message);
    }
    ServerTlsSettings {
        https_redirect: fields.flag("httpsRedirect"),
        mode: mode.unwrap_or_default(),
        credential_names,
        ca_cert_credential_name: fields.text("caCertCredentialName"),
        certificates: certificates.into_iter().flatten().collect(),
        ca_certificates: fields.text("caCertificates"),
        subject_alt_names: fields.texts("subjectAltNames"),
        verify_certificate_spki: pins,
        verify_certificate_hash: fields.texts("verifyCertificateHash"),
        version_min: read_version(&fields, "minProtocolVersion"),
        version_max: read_version(&fields, "maxProtocolVersion"),
        cipher_suites: read_ciphers(&fields),
    }
}

fn read_certificate(cursor: &Cursor<'_>) -> Option<CertificateFiles> {
    let fields = cursor.fields();
    let certificate = fields.required("serverCertificate").and_then(|cursor| cursor.text());
    let private_key = fields.required("privateKey").and_then(|cursor| cursor.text());
    if fields.get("caCertificates").is_some() {
        cursor.report(Code::NoEffect, "roots for clients are given once, in tls.caCertificates");
    }
    Some(CertificateFiles { certificate: certificate?, private_key: private_key? })
}

fn read_version(fields: &Fields<'_>, name: &'static str) -> TlsVersion {
    let Some(cursor) = fields.get(name) else { return TlsVersion::Auto };
    let version = cursor.word(&[
        ("TLS_AUTO", Some(TlsVersion::Auto)),
        ("TLSV1_0", None),
        ("TLSV1_1", None),
        ("TLSV1_2", Some(TlsVersion::V1_2)),
        ("TLSV1_3", Some(TlsVersion::V1_3)),
    ]);
    match version {
        Some(Some(version)) => version,
        Some(None) => {
            let message = "TLS below 1.2 is broken and never spoken; the lowest version is 1.2";
            cursor.report(Code::FieldIgnored, message);
            TlsVersion::Auto
        }
        None => TlsVersion::Auto,
    }
}

fn read_ciphers(fields: &Fields<'_>) -> Vec<String> {
    /// Suites of TLS 1.2 that rustls has, by OpenSSL's names.
    const KNOWN: [&str; 6] = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    let mut suites: Vec<String> = Vec::new();
    for cursor in fields.get("cipherSuites").map(|cursor| cursor.list()).unwrap_or_default() {
        let Some(suite) = cursor.text() else { continue };
        if suites.contains(&suite) {
            cursor.report(Code::NoEffect, format!("the suite {suite} stands here twice"));
        } else if KNOWN.contains(&suite.as_str()) {
            suites.push(suite);
        } else {
            cursor.report(Code::NoEffect, format!("the suite {suite} is not offered"));
        }
    }
    suites
}
