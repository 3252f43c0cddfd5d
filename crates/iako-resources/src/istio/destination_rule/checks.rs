//! Settings of a rule that do not go together.

use super::{ClientTlsMode, ClientTlsSettings, H2Upgrade, PortPolicy};
use crate::{Code, reader::Cursor};

/// Reports blocks of one policy that contradict each other.
pub(super) fn report_contradictions(cursor: &Cursor<'_>, policy: &PortPolicy) {
    let pool = policy.connection_pool.as_ref();
    if pool.is_some_and(|pool| pool.use_client_protocol && pool.h2_upgrade == H2Upgrade::Yes) {
        let message = "useClientProtocol and h2UpgradePolicy: UPGRADE exclude each other";
        cursor.at("connectionPool.http.useClientProtocol").report(Code::Conflict, message);
    }
    let locality = policy.load_balancer.as_ref().and_then(|lb| lb.locality.as_ref());
    let fails_over =
        locality.is_some_and(|one| !one.failover.is_empty() || !one.failover_priority.is_empty());
    if fails_over && policy.outlier_detection.is_none() {
        let message = "failover needs outlierDetection, or no endpoint ever counts as failed";
        cursor.at("loadBalancer.localityLbSetting").report(Code::NoEffect, message);
    }
}

/// Reports TLS settings that contradict each other.
pub(super) fn report_tls(cursor: &Cursor<'_>, tls: &ClientTlsSettings) {
    let has_files = tls.client_certificate.is_some() || tls.private_key.is_some();
    match tls.mode {
        ClientTlsMode::Mutual | ClientTlsMode::Simple if tls.credential_name.is_some() => {
            if has_files || tls.ca_certificates.is_some() {
                let message = "certificates come from credentialName or from files, not from both";
                cursor.at("credentialName").report(Code::Conflict, message);
            }
        }
        ClientTlsMode::Mutual => {
            if tls.client_certificate.is_none() {
                cursor
                    .at("clientCertificate")
                    .report(Code::MissingField, "mode MUTUAL needs clientCertificate");
            }
            if tls.private_key.is_none() {
                cursor.at("privateKey").report(Code::MissingField, "mode MUTUAL needs privateKey");
            }
        }
        ClientTlsMode::IstioMutual if has_files || tls.ca_certificates.is_some() => {
            let message = "mode ISTIO_MUTUAL uses the mesh identity, not certificates of its own";
            cursor.at("mode").report(Code::NoEffect, message);
        }
        ClientTlsMode::IstioMutual | ClientTlsMode::Disable | ClientTlsMode::Simple => {}
    }
    let verifies = tls.ca_certificates.is_some() || !tls.subject_alt_names.is_empty();
    let names_roots = tls.mode == ClientTlsMode::Simple && tls.credential_name.is_some();
    let checks = matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual);
    if tls.insecure_skip_verify && checks && (verifies || names_roots) {
        let message = "insecureSkipVerify checks nothing, so roots and names have no use";
        cursor.at("insecureSkipVerify").report(Code::Conflict, message);
    }
}
