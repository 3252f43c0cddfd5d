//! Sessions that stay with one instance.

use iako_xds_api::envoy::extensions::filters::http::stateful_session::v3 as pb;
use iako_xds_api::envoy::extensions::http::stateful_session as states;
use prost::Name as _;

use super::wire;
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{SessionCookie, SessionState, StatefulSession};

pub(super) fn session(config: &pb::StatefulSession, at: &At<'_>) -> Result<StatefulSession, Fault> {
    let state = config.session_state.as_ref().and_then(|state| state.typed_config.as_ref());
    let at_state = at.field("session_state");
    let state = state.map(|any| self::state(any, &at_state.field("typed_config"))).transpose()?;
    let status_gone = match config.status_on_strict_destination_not_found {
        0 => 503,
        status => wire::status(status, 200, &at.field("status_on_strict_destination_not_found"))?,
    };
    Ok(StatefulSession { state, strict: config.strict, status_gone })
}

/// Settings of a route: none when it has none of its own, `Some(None)` when it switches sessions off.
pub(super) fn for_route(
    config: &pb::StatefulSessionPerRoute,
    at: &At<'_>,
) -> Result<Option<Option<Box<StatefulSession>>>, Fault> {
    use pb::stateful_session_per_route::Override;
    Ok(match &config.r#override {
        Some(Override::Disabled(true)) => Some(None),
        Some(Override::StatefulSession(own)) => {
            Some(Some(Box::new(session(own, &at.field("stateful_session"))?)))
        }
        Some(Override::Disabled(false)) | None => None,
    })
}

fn state(any: &prost_types::Any, at: &At<'_>) -> Result<SessionState, Fault> {
    use states::{
        cookie::v3::CookieBasedSessionState, envelope::v3::EnvelopeSessionState,
        header::v3::HeaderBasedSessionState,
    };
    let name = pool::full_name(&any.type_url);
    if name == CookieBasedSessionState::full_name() {
        let config: CookieBasedSessionState = wire::unpack(any, at)?;
        cookie(&config, at).map(SessionState::Cookie)
    } else if name == HeaderBasedSessionState::full_name() {
        let config: HeaderBasedSessionState = wire::unpack(any, at)?;
        wire::header_name(&config.name, &at.field("name")).map(SessionState::Header)
    } else if name == EnvelopeSessionState::full_name() {
        let config: EnvelopeSessionState = wire::unpack(any, at)?;
        let at = at.field("header");
        let header = config.header.ok_or_else(|| at.missing("name a header"))?;
        wire::header_name(&header.name, &at.field("name")).map(SessionState::Envelope)
    } else {
        let problem = format!("sessions of type `{name}` are not supported");
        Err(at.invalid(problem, "remember them in a cookie, a header or an envelope"))
    }
}

fn cookie(
    config: &states::cookie::v3::CookieBasedSessionState,
    at: &At<'_>,
) -> Result<SessionCookie, Fault> {
    let at = at.field("cookie");
    let cookie = config.cookie.as_ref().ok_or_else(|| at.missing("name a cookie"))?;
    if cookie.name.is_empty() {
        return Err(at.field("name").missing("name the cookie"));
    }
    let ttl = wire::optional(cookie.ttl.as_ref(), &at.field("ttl"))?;
    let attribute = |one: &iako_xds_api::envoy::r#type::http::v3::CookieAttribute| {
        (one.name.clone(), one.value.clone())
    };
    Ok(SessionCookie {
        name: cookie.name.clone(),
        path: cookie.path.clone(),
        ttl: ttl.filter(|ttl| ttl.as_secs() > 0),
        attributes: cookie.attributes.iter().map(attribute).collect(),
    })
}
