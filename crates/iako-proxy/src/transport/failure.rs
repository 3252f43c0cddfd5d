//! Why TLS with a client failed, in the words that operators of Envoy look for.
//!
//! Those are BoringSSL's: a number of library and reason, and the reason's name. What has no name there
//! is told in the words of our library.

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::server::AcceptError;

/// BoringSSL's number of its TLS library, as part of the number of an error.
const LIBRARY: u32 = 16 << 24;
/// Where numbers of received alerts begin.
const ALERTS: u32 = 1000;

/// `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%` of a handshake that failed; `first` is what the client sent
/// first, as far as it was looked at. None where no TLS was spoken of, as when time was up.
pub(crate) fn reason(error: &AcceptError, first: &[u8]) -> Option<String> {
    match error {
        AcceptError::Timeout(_) | AcceptError::NoCertificate | AcceptError::NoServerName => None,
        AcceptError::Peer(error) => {
            Some(named(125, "CERTIFICATE_VERIFY_FAILED", &error.to_string()))
        }
        AcceptError::Handshake(error) => {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            tls.map(|tls| of_library(tls, first))
        }
    }
}

/// The same for a client that speaks no TLS, found out before the handshake.
pub(crate) fn not_tls(first: &[u8]) -> String {
    let (number, name) = no_record(first);
    format!(
        "TLS_error|error:{:08x}:SSL_routines:OPENSSL_internal:{name}:TLS_error_end",
        LIBRARY + number
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of another crate that grows")]
fn of_library(error: &Error, first: &[u8]) -> String {
    match error {
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            let (number, name) = no_record(first);
            named(number, name, "")
        }
        Error::NoCertificatesPresented => {
            let why = "peer did not provide required client certificate";
            named(192, "PEER_DID_NOT_RETURN_A_CERTIFICATE", why)
        }
        Error::InvalidCertificate(why) => {
            named(125, "CERTIFICATE_VERIFY_FAILED", &format!("verify cert failed: {why}"))
        }
        Error::AlertReceived(alert) => {
            let name = alert_name(*alert);
            named(ALERTS + u32::from(u8::from(*alert)), &name, "")
        }
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            named(184, "NO_SHARED_CIPHER", "")
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => named(240, "UNSUPPORTED_PROTOCOL", ""),
        other => format!("TLS_error:|{other}:TLS_error_end").replace(' ', "_"),
    }
}

/// What bytes are taken for that are no record of TLS.
fn no_record(first: &[u8]) -> (u32, &'static str) {
    let methods: [&[u8]; 4] = [b"GET ", b"POST ", b"HEAD ", b"PUT "];
    // A client that sends something else in place of TLS most often sends a request.
    if first.is_empty() || methods.iter().any(|method| first.starts_with(method)) {
        (156, "HTTP_REQUEST")
    } else if first.starts_with(b"CONNE") {
        (155, "HTTPS_PROXY_REQUEST")
    } else {
        (247, "WRONG_VERSION_NUMBER")
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of another crate that grows")]
fn alert_name(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::UnexpectedMessage => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        AlertDescription::BadRecordMac => "SSLV3_ALERT_BAD_RECORD_MAC",
        AlertDescription::HandshakeFailure => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        AlertDescription::BadCertificate => "SSLV3_ALERT_BAD_CERTIFICATE",
        AlertDescription::UnsupportedCertificate => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        AlertDescription::CertificateRevoked => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        AlertDescription::CertificateExpired => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        AlertDescription::CertificateUnknown => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        AlertDescription::IllegalParameter => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        AlertDescription::UnknownCA => "TLSV1_ALERT_UNKNOWN_CA",
        AlertDescription::AccessDenied => "TLSV1_ALERT_ACCESS_DENIED",
        AlertDescription::DecodeError => "TLSV1_ALERT_DECODE_ERROR",
        AlertDescription::DecryptError => "TLSV1_ALERT_DECRYPT_ERROR",
        AlertDescription::ProtocolVersion => "TLSV1_ALERT_PROTOCOL_VERSION",
        AlertDescription::InsufficientSecurity => "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        AlertDescription::InternalError => "TLSV1_ALERT_INTERNAL_ERROR",
        AlertDescription::UserCanceled => "TLSV1_ALERT_USER_CANCELLED",
        AlertDescription::UnrecognisedName => "TLSV1_ALERT_UNRECOGNIZED_NAME",
        AlertDescription::CertificateRequired => "TLSV1_ALERT_CERTIFICATE_REQUIRED",
        AlertDescription::NoApplicationProtocol => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        _ => return format!("TLSV1_ALERT_{}", u8::from(alert)),
    };
    name.to_owned()
}

fn named(number: u32, name: &str, why: &str) -> String {
    let why = if why.is_empty() { String::new() } else { format!("{}:", why.replace(' ', "_")) };
    format!(
        "TLS_error:|{}:SSL_routines:OPENSSL_internal:{name}:{why}TLS_error_end",
        LIBRARY + number
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_place_of_tls_and_a_missing_certificate_read_as_operators_know_them() {
        let failed = |error: Error| {
            let error = AcceptError::Handshake(std::io::Error::other(error));
            reason(&error, b"GET / HTTP/1.1").unwrap()
        };
        let plain = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let request =
            "TLS_error:|268435612:SSL_routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end";
        assert_eq!(failed(plain), request);
        let nobody = "TLS_error:|268435648:SSL_routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:\
            peer_did_not_provide_required_client_certificate:TLS_error_end";
        assert_eq!(failed(Error::NoCertificatesPresented), nobody);
        let alert = Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert!(
            failed(alert)
                .starts_with("TLS_error:|268436526:SSL_routines:OPENSSL_internal:TLSV1_ALERT")
        );
        assert_eq!(
            not_tls(b"GET /"),
            "TLS_error|error:1000009c:SSL_routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end"
        );
    }
}
