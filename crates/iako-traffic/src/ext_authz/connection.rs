//! What a service is asked of a connection, and what its answer means. Source: Envoy
//! `envoy.filters.network.ext_authz`.

use std::collections::BTreeMap;

use iako_proxy_config::{CheckAnswer, CheckDetails, CheckPeer, CheckQuestion, ConnectionAuthz};

use crate::{ConnectionInfo, Metadata, client::percent_encoded, metadata_matches};

/// What is known of a connection besides its facts when the service is asked.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMoment<'a> {
    /// Labels of this proxy.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// As whom our certificate proves us; empty without one.
    pub own_principal: &'a str,
    /// The client's certificate as PEM, where it is told; empty without one.
    pub peer_pem: &'a str,
}

/// What a service says about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionVerdict {
    /// It passes.
    Pass,
    /// It is closed.
    Deny,
    /// The service failed.
    Fail,
}

/// Whether the service is asked about a connection of which filters left this.
#[must_use]
pub fn connection_authz_asks(settings: &ConnectionAuthz, metadata: &Metadata) -> bool {
    settings.enabled_metadata.as_ref().is_none_or(|it| metadata_matches(it, metadata))
}

/// What a service is asked about a connection. The server name that the client asked for is the
/// destination's service.
#[must_use]
pub fn connection_authz_question<'a>(
    settings: &'a ConnectionAuthz,
    connection: &'a ConnectionInfo,
    moment: &ConnectionMoment<'a>,
) -> CheckQuestion<'a> {
    let is_told =
        |name: &&str| settings.metadata_namespaces.iter().any(|own| own.as_str() == *name);
    CheckQuestion {
        source: CheckPeer {
            address: Some(connection.remote),
            principal: connection
                .peer()
                .map_or("", |peer| super::principal(&peer.uris, &peer.dns, &peer.subject)),
            certificate: percent_encoded(moment.peer_pem),
            ..CheckPeer::default()
        },
        destination: CheckPeer {
            address: Some(connection.original_destination),
            service: &connection.server_name,
            principal: moment.own_principal,
            labels: moment.labels.cloned().unwrap_or_default(),
            ..CheckPeer::default()
        },
        metadata: connection.metadata.iter().filter(|(name, _)| is_told(name)).collect(),
        server_name: (settings.include_tls_session && connection.tls.is_some())
            .then_some(connection.server_name.as_str()),
        ..CheckQuestion::default()
    }
}

/// What an answer means for a connection: only its status counts, and whether it is about a failure.
#[must_use]
pub const fn connection_authz_verdict(answer: &CheckAnswer) -> ConnectionVerdict {
    match (answer.status, &answer.details) {
        (0, _) => ConnectionVerdict::Pass,
        (_, CheckDetails::Error(_)) => ConnectionVerdict::Fail,
        (_, CheckDetails::None | CheckDetails::Ok(_) | CheckDetails::Denied(_)) => {
            ConnectionVerdict::Deny
        }
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{AuthzFailure, CheckRefusal, GrpcService};
    use serde_json::Value;

    use super::*;
    use crate::{PeerCertificate, TlsFacts};

    fn settings() -> ConnectionAuthz {
        ConnectionAuthz {
            stat_prefix: "a".to_owned(),
            service: GrpcService::default(),
            on_failure: AuthzFailure::Deny,
            enabled_metadata: None,
            include_peer_certificate: true,
            include_tls_session: true,
            labels_key: String::new(),
            metadata_namespaces: vec!["told".to_owned()],
            only_watches: false,
        }
    }

    #[test]
    fn a_question_tells_both_ends_the_server_name_and_what_is_asked_for_of_facts() {
        let mut info =
            ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap());
        info.server_name = "a.example".to_owned();
        let dns = vec!["client.example".to_owned()];
        let peer = PeerCertificate { dns, subject: "CN=c".to_owned(), ..Default::default() };
        info.tls = Some(TlsFacts { peer: Some(peer), ..TlsFacts::default() });
        info.metadata.set("told", "a", Value::from(1));
        info.metadata.set("other", "a", Value::from(2));
        let moment = ConnectionMoment { own_principal: "us", peer_pem: "a b", labels: None };
        let settings = settings();
        let asked = connection_authz_question(&settings, &info, &moment);
        assert_eq!(asked.source.principal, "client.example");
        assert_eq!(asked.source.certificate, "a%20b");
        assert_eq!((asked.destination.service, asked.destination.principal), ("a.example", "us"));
        assert_eq!(asked.server_name, Some("a.example"));
        let told: Vec<&str> = asked.metadata.iter().map(|(name, _)| *name).collect();
        assert_eq!(told, ["told"]);
        assert!(asked.request.is_none());
    }

    #[test]
    fn without_tls_no_server_name_is_told() {
        let info =
            ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap());
        let settings = settings();
        let asked = connection_authz_question(&settings, &info, &ConnectionMoment::default());
        assert_eq!((asked.server_name, asked.source.principal), (None, ""));
    }

    #[test]
    fn only_the_status_lets_a_connection_pass_and_a_failure_is_none_of_the_client() {
        let says = |status, details| {
            connection_authz_verdict(&CheckAnswer { status, details, ..CheckAnswer::default() })
        };
        let words = || Box::<CheckRefusal>::default();
        assert_eq!(says(0, CheckDetails::Denied(words())), ConnectionVerdict::Pass);
        assert_eq!(says(7, CheckDetails::None), ConnectionVerdict::Deny);
        assert_eq!(says(7, CheckDetails::Denied(words())), ConnectionVerdict::Deny);
        assert_eq!(says(7, CheckDetails::Error(words())), ConnectionVerdict::Fail);
        assert_eq!(says(u32::MAX, CheckDetails::None), ConnectionVerdict::Deny);
    }
}
