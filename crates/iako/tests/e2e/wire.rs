//! What an attacker on the wire sees: TLS 1.3, and a door that opens to members of the mesh only.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use crate::{
    http1,
    rig::{Finished, Mesh, Process},
};

/// Talks TLS to a pod, as a client without a certificate, until the pod ends the connection.
/// Returns how `openssl` ended, and what it saw.
fn stranger(mesh: &Mesh, address: SocketAddr, more: &[&str]) -> Option<(Option<i32>, String)> {
    if let Err(error) = Command::new("openssl").arg("version").output() {
        eprintln!("skipped, it needs openssl (apt install openssl): {error}");
        return None;
    }
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-showcerts", "-ign_eof"]);
    command.args(more).stdin(Stdio::null());
    let mut process = Process::start(command, mesh.state.join("openssl.log"));
    let code = process.end().code();
    Some((code, process.words()))
}

/// What a certificate says, in words.
fn certificate(pem: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificate.pem");
    std::fs::write(&path, pem).unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-text", "-in"]).arg(path);
    Finished::of(command.output().unwrap()).out
}

pub(crate) fn sidecars_speak_tls_1_3_with_certificates_of_both_sides(mesh: &Mesh) {
    let address = SocketAddr::new(mesh.pod("payment-service"), 8080);
    let modern = ["-tls1_3", "-alpn", "istio-http/1.1,istio,http/1.1"];
    let Some((_, seen)) = stranger(mesh, address, &modern) else { return };
    assert!(seen.contains("TLSv1.3"), "{seen}");
    // The server shows who it is by a certificate of the mesh's authority.
    let words = certificate(&seen);
    assert!(words.contains("URI:spiffe://cluster.local/ns/shop/sa/payment-service"), "{words}");
    // It asks for ours, and ends the connection as we have none.
    assert!(seen.contains("certificate required"), "a client without a certificate: {seen}");

    // An older version opens no other door.
    let Some((code, seen)) = stranger(mesh, address, &["-tls1_2"]) else { return };
    assert!(code != Some(0) && seen.contains("alert"), "TLS 1.2: {seen}");
}

pub(crate) fn plain_text_is_refused(mesh: &Mesh) {
    for pod in ["web", "cart-service", "payment-service", "user-service"] {
        let address = SocketAddr::new(mesh.pod(pod), 8080);
        let answer = http1::ask(address, "GET /", &[("host", pod)]);
        assert!(answer.is_err(), "{pod} answered plain text: {answer:?}");
    }
}
