//! Requests that go to an instance of their own: by their session, or because they name it.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use iako_http::{Fields, Known, ResponseHead};
use iako_proxy_config::{
    Cluster, EndpointAddress, FilterSettings, OverrideSource, SessionState, StatefulSession,
};
use iako_rt::clock;
use iako_traffic::{
    Balancer, EndpointState, Headers, SessionAsked, SessionMark, Wants, load_report, session_asked,
    session_mark,
};
use iako_xds_codec::decode;

use super::{
    exchange::Exchange, failure::Failure, forward::Plan, mutations, request::ResponseView,
};

/// Most instances that one request may name.
const NAMED_MAX: usize = 16;

/// What leads a request to an instance of its own.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    session: Option<Session>,
    /// Whether the session's instance is not there any more, and no other one will do.
    is_gone: bool,
    /// Instances that the request names, those that were tried taken off.
    named: Option<VecDeque<String>>,
}

#[derive(Debug)]
struct Session {
    state: SessionState,
    asked: SessionAsked,
    /// The status where only the session's own instance will do, and does not serve.
    gone: Option<u16>,
}

/// Where a request goes.
pub(super) enum Steered {
    /// To this instance.
    To(u32, Arc<EndpointState>),
    /// Nowhere: only one instance would do.
    Nowhere,
    /// To any that the balancer chooses.
    Anywhere,
}

impl Exchange<'_> {
    /// Reads the session of a request; settings of the route stand in place of the filter's.
    pub(super) fn begin_session(
        &mut self,
        own: &StatefulSession,
        of_route: Option<&FilterSettings>,
    ) {
        let settings = match of_route {
            Some(FilterSettings::StatefulSession(None)) => return,
            Some(FilterSettings::StatefulSession(Some(settings))) => settings,
            Some(_) | None => own,
        };
        let Some(state) = &settings.state else { return };
        let asked = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            session_asked(state, &facts.head, seconds())
        };
        let Some(asked) = asked else { return };
        if let Some((name, value)) = &asked.restored {
            mutations::set(&mut self.request.edits.fields, name.as_str(), value.clone());
        }
        let gone = settings.strict.then_some(settings.status_gone);
        let session = Session { state: state.clone(), asked, gone };
        self.steering.get_or_insert_default().session = Some(session);
    }

    /// Where a request goes that has a session, or whose cluster lets requests name instances.
    pub(super) fn steer(&mut self, plan: &Plan<'_>, balancer: &Balancer) -> Steered {
        if self.record.attempts <= 1
            && let Some(session) = self.steering.as_ref().and_then(|own| own.session.as_ref())
            && let Some(address) = &session.asked.address
        {
            match balancer.of_session(address) {
                Some(pick) => return Steered::To(pick.place, Arc::clone(&pick.endpoint.state)),
                // The status of its own is for instances that are gone, not for failing ones.
                None if session.gone.is_some() => {
                    let is_gone = balancer.named(address).is_none();
                    if let Some(steering) = self.steering.as_mut() {
                        steering.is_gone = is_gone;
                    }
                    return Steered::Nowhere;
                }
                None => {}
            }
        }
        if plan.cluster.config.override_host.is_none() {
            return Steered::Anywhere;
        }
        let named = self.named(&plan.cluster.config);
        while let Some(address) = named.pop_front() {
            if let Some(pick) = balancer.named(&address) {
                return Steered::To(pick.place, Arc::clone(&pick.endpoint.state));
            }
        }
        Steered::Anywhere
    }

    /// The instances that the request names and that were not tried yet.
    fn named(&mut self, cluster: &Cluster) -> &mut VecDeque<String> {
        let read = || {
            let mut found = VecDeque::new();
            let sources = cluster.override_host.iter().flat_map(|policy| &policy.sources);
            let view = self.request.view();
            for source in sources {
                let text = match source {
                    OverrideSource::Header(name) => {
                        view.value(name.as_str(), 0).and_then(|text| std::str::from_utf8(text).ok())
                    }
                    OverrideSource::Metadata(path) => self
                        .request
                        .metadata
                        .find(&path.filter, &path.path)
                        .and_then(serde_json::Value::as_str),
                };
                let addresses = text.into_iter().flat_map(|text| text.split(','));
                let addresses = addresses.map(str::trim).filter(|address| !address.is_empty());
                found.extend(addresses.map(str::to_owned).take(NAMED_MAX));
            }
            found
        };
        let known = self.steering.as_ref().is_some_and(|steering| steering.named.is_some());
        let read = if known { None } else { Some(read()) };
        let steering = self.steering.get_or_insert_default();
        if read.is_some() {
            steering.named = read;
        }
        steering.named.get_or_insert_default()
    }

    /// Tells the request's metadata which instance was chosen, where the cluster wants that.
    pub(super) fn note_chosen(&mut self, cluster: &Cluster, address: &EndpointAddress) {
        let key = cluster.override_host.as_ref().and_then(|policy| policy.selected_key.as_ref());
        let Some((first, rest)) = key.and_then(|key| key.path.split_first()) else { return };
        let Some(filter) = key.map(|key| key.filter.as_str()) else { return };
        let text = serde_json::Value::from(crate::transport::connect::name_of(address));
        let value = rest.iter().rev().fold(text, |value, key| {
            serde_json::Value::Object(serde_json::Map::from_iter([(key.clone(), value)]))
        });
        self.request.metadata.set(filter, first, value);
    }

    /// Why no instance was found.
    pub(super) fn nobody(&self) -> Failure {
        let steering = self.steering.as_ref().filter(|steering| steering.is_gone);
        match steering.and_then(|steering| steering.session.as_ref()).and_then(|own| own.gone) {
            Some(status) if status != 503 => Failure::SessionGone { status },
            Some(_) | None => Failure::NoHealthyUpstream,
        }
    }

    /// Has the client remember its instance.
    pub(super) fn mark_session(&mut self, head: &ResponseHead) {
        let session = self.steering.as_ref().and_then(|steering| steering.session.as_ref());
        let Some(session) = session else { return };
        let chosen =
            self.record.endpoint.as_ref().and_then(|(balancer, place)| {
                balancer.endpoints().get(usize::try_from(*place).ok()?)
            });
        let Some(chosen) = chosen else { return };
        let address = crate::transport::connect::name_of(&chosen.endpoint.address);
        let view = ResponseView { head, edits: &self.response_edits };
        let mark = session_mark(&session.state, &session.asked, &address, &view, seconds());
        let fields = &mut self.response_edits.fields;
        match mark {
            Some(SessionMark::Cookie(cookie)) => {
                fields.append(Known::SetCookie, iako_http::FieldValue::sanitized(cookie));
            }
            Some(SessionMark::Header(name, value)) => {
                mutations::set(fields, name.as_str(), value);
            }
            None => {}
        }
    }

    /// Takes what the trailers of a response report of load; its head was looked at before.
    pub(super) fn take_late_report(&self, plan: &Plan<'_>) {
        if plan.cluster.wants != Wants::LoadReports {
            return;
        }
        let trailers = self.download.trailers.as_deref().map(Trailers);
        if let (Some(trailers), Some((balancer, place))) = (trailers, &self.record.endpoint)
            && let Some(report) = load_report(&trailers, decode::load_report)
            && let Some(endpoint) =
                usize::try_from(*place).ok().and_then(|place| balancer.endpoints().get(place))
        {
            balancer.reported(&endpoint.state, &report, clock::now());
        }
    }
}

/// Fields after the content.
struct Trailers<'a>(&'a Fields);

impl Headers for Trailers<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let named = self.0.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|field| field.value).nth(nth)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for field in self.0.iter() {
            if let Ok(name) = std::str::from_utf8(field.name) {
                visit(name, field.value);
            }
        }
    }
}

/// The time of day, in seconds since 1970.
fn seconds() -> u64 {
    clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
