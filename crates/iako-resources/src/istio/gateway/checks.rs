//! TLS settings that do not fit the protocol of a server, or each other.

use super::{ServerProtocol, ServerTlsMode, ServerTlsSettings};
use crate::{Code, reader::Cursor};

/// Reports contradictions between protocol and TLS.
pub(super) fn report_tls(
    cursor: &Cursor<'_>,
    protocol: ServerProtocol,
    tls: Option<&ServerTlsSettings>,
) {
    let wants_tls = matches!(protocol, ServerProtocol::Https | ServerProtocol::Tls);
    let Some(tls) = tls else {
        if wants_tls {
            let message = "a server with protocol HTTPS or TLS needs tls";
            cursor.at("tls").report(Code::MissingField, message);
        }
        return;
    };
    if !wants_tls {
        let only_redirect = ServerTlsSettings { https_redirect: true, ..Default::default() };
        if protocol == ServerProtocol::Tcp {
            let message = "a server with protocol TCP has no tls; use TLS";
            cursor.at("tls").report(Code::Conflict, message);
        } else if *tls != only_redirect {
            let message =
                "a server without TLS can only say httpsRedirect: true; use protocol HTTPS";
            cursor.at("tls").report(Code::Conflict, message);
        }
        return;
    }
    if tls.https_redirect {
        let message = "httpsRedirect belongs to the plain HTTP port, not to this one";
        cursor.at("tls.httpsRedirect").report(Code::NoEffect, message);
    }
    report_certificates(&cursor.at("tls"), tls);
}

/// Reports certificates that the mode does not go with.
pub(crate) fn report_certificates(cursor: &Cursor<'_>, tls: &ServerTlsSettings) {
    let by_secret = !tls.credential_names.is_empty();
    let by_file = !tls.certificates.is_empty();
    match tls.mode {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            if !by_secret && !by_file {
                let message =
                    "the server needs credentialName, or serverCertificate and privateKey";
                cursor.report(Code::MissingField, message);
            }
            if by_secret && by_file {
                let message = "certificates come from credentialName or from files, not from both";
                cursor.at(secret_field(tls)).report(Code::Conflict, message);
            }
            let has_roots =
                by_secret || tls.ca_certificates.is_some() || tls.ca_cert_credential_name.is_some();
            if tls.mode != ServerTlsMode::Simple && !has_roots {
                let message = "clients can only prove themselves against caCertificates";
                cursor.at("caCertificates").report(Code::MissingField, message);
            }
        }
        ServerTlsMode::IstioMutual if by_secret || by_file || tls.ca_certificates.is_some() => {
            let message = "mode ISTIO_MUTUAL uses the mesh identity, not certificates of its own";
            let field = if by_secret {
                secret_field(tls)
            } else if by_file {
                "serverCertificate"
            } else {
                "caCertificates"
            };
            cursor.at(field).report(Code::Conflict, message);
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough
            if by_secret || by_file || tls.ca_certificates.is_some() =>
        {
            let message = "TLS is passed through, so the certificates are not used";
            cursor.report(Code::NoEffect, message);
        }
        ServerTlsMode::IstioMutual
        | ServerTlsMode::Passthrough
        | ServerTlsMode::AutoPassthrough => {}
    }
    if tls.mode == ServerTlsMode::AutoPassthrough {
        let message = "mode AUTO_PASSTHROUGH joins several networks; it is read and checked, not yet \
                       applied: nothing listens on this port";
        cursor.at("mode").report(Code::FieldIgnored, message);
    }
    if tls.mode == ServerTlsMode::OptionalMutual {
        let message = "mode OPTIONAL_MUTUAL is read and checked, not yet applied: nothing listens \
                       on this port; use SIMPLE or MUTUAL";
        cursor.at("mode").report(Code::FieldIgnored, message);
    }
}

fn secret_field(tls: &ServerTlsSettings) -> &'static str {
    if tls.credential_names.len() > 1 { "credentialNames" } else { "credentialName" }
}
