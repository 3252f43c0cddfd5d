//! Sessions that stay with one instance.

use iako_xds_api::envoy::extensions::filters::http::stateful_session::v3 as pb;
use iako_xds_api::envoy::extensions::http::stateful_session as states;
use iako_xds_api::envoy::r#type::http::v3 as http;

use super::wire;
use iako_proxy_config::{SessionState, StatefulSession};

pub(super) fn session(value: &StatefulSession) -> pb::StatefulSession {
    pb::StatefulSession {
        session_state: value.state.as_ref().map(state),
        strict: value.strict,
        status_on_strict_destination_not_found: match value.status_gone {
            503 => 0,
            status => status.into(),
        },
        ..Default::default()
    }
}

pub(super) fn for_route(value: Option<&StatefulSession>) -> pb::StatefulSessionPerRoute {
    use pb::stateful_session_per_route::Override;
    let own = value.map_or(Override::Disabled(true), |own| Override::StatefulSession(session(own)));
    pb::StatefulSessionPerRoute { r#override: Some(own) }
}

/// Envoy finds these by name.
fn state(value: &SessionState) -> iako_xds_api::envoy::config::core::v3::TypedExtensionConfig {
    use states::{
        cookie::v3::CookieBasedSessionState,
        envelope::v3::{EnvelopeSessionState, envelope_session_state::Header},
        header::v3::HeaderBasedSessionState,
    };
    match value {
        SessionState::Cookie(cookie) => {
            let attribute = |(name, value): &(String, String)| http::CookieAttribute {
                name: name.clone(),
                value: value.clone(),
            };
            let cookie = http::Cookie {
                name: cookie.name.clone(),
                ttl: cookie.ttl.map(wire::duration),
                path: cookie.path.clone(),
                attributes: cookie.attributes.iter().map(attribute).collect(),
            };
            let message = CookieBasedSessionState { cookie: Some(cookie) };
            wire::extension("envoy.http.stateful_session.cookie", &message)
        }
        SessionState::Header(name) => {
            let message = HeaderBasedSessionState { name: name.as_str().to_owned() };
            wire::extension("envoy.http.stateful_session.header", &message)
        }
        SessionState::Envelope(name) => {
            let header = Some(Header { name: name.as_str().to_owned() });
            let message = EnvelopeSessionState { header };
            wire::extension("envoy.http.stateful_session.envelope", &message)
        }
    }
}
