//! People log in at an authorization server.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use iako_http::{FieldName, FieldValue, Known, Method};
use iako_proxy_config::{FilterSettings, OAuth2, SecretBytes};
use iako_rt::clock;
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{
    Login, LoginAnswer, LoginCount, LoginEdits, LoginQuestion, LoginReply, LoginSilence, LoginStep,
    LoginTools, login_passes_by,
};

use crate::callout::http::{Answer, Question, ask, parts_of};
use crate::callout::{CallError, own_address};
use crate::http::downstream::Downstream;
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::mutations::Absent;
use crate::shared::Shared;
use crate::token::{FORM_FIELDS, TOKEN_ANSWER_BYTES_MAX};
use crate::worker::Worker;

/// Says to upstreams that a request passed without a session.
const STATUS: &str = "x-envoy-oauth-status";
/// Says to upstreams why.
const REASON: &str = "x-envoy-oauth-failure-reason";

/// A filter that has people log in, compiled.
#[derive(Debug)]
pub(crate) struct LoginFilter {
    /// Without settings only routes with their own have people log in.
    settings: Option<Box<OAuth2>>,
    stats: LoginStats,
    /// What is counted by settings of routes.
    of_routes: LoginStats,
}

/// `http.<prefix>.<prefix of the filter>oauth_…`; the names are documented in `iako-telemetry`'s table.
#[derive(Debug)]
struct LoginStats {
    unauthorized: Counter,
    failure: Counter,
    success: Counter,
    passthrough: Counter,
    allowed_failure: Counter,
    refresh_success: Counter,
    refresh_failure: Counter,
}

impl LoginStats {
    fn new(scope: &StatsScope, prefix: &str) -> Self {
        let counter = |name: &str| scope.counter(&format!("{prefix}{name}"));
        Self {
            unauthorized: counter("oauth_unauthorized_rq"),
            failure: counter("oauth_failure"),
            success: counter("oauth_success"),
            passthrough: counter("oauth_passthrough"),
            allowed_failure: counter("oauth_allow_failed_passthrough"),
            refresh_success: counter("oauth_refreshtoken_success"),
            refresh_failure: counter("oauth_refreshtoken_failure"),
        }
    }

    fn count(&self, count: LoginCount) {
        match count {
            LoginCount::Unauthorized => &self.unauthorized,
            LoginCount::Failure => &self.failure,
            LoginCount::Success => &self.success,
            LoginCount::AllowedFailure => &self.allowed_failure,
            LoginCount::RefreshSuccess => &self.refresh_success,
            LoginCount::RefreshFailure => &self.refresh_failure,
        }
        .inc();
    }
}

impl LoginFilter {
    pub(super) fn compile(
        settings: Option<&OAuth2>,
        manager: &StatsScope,
        shared: &Shared,
    ) -> Self {
        let prefix = settings.map_or("", |settings| &settings.stat_prefix);
        Self {
            settings: settings.cloned().map(Box::new),
            stats: LoginStats::new(manager, prefix),
            of_routes: LoginStats::new(&shared.stats.scope("oauth2_of_routes"), ""),
        }
    }

    /// The settings that count, and what is counted by them.
    fn of<'s>(
        &'s self,
        of_route: Option<&'s FilterSettings>,
    ) -> Option<(&'s OAuth2, &'s LoginStats)> {
        match of_route.and_then(FilterSettings::oauth2) {
            Some(own) => Some((own, &self.of_routes)),
            None => self.settings.as_deref().map(|own| (own, &self.stats)),
        }
    }
}

/// What is shown to the server, and what cookies are signed with; none while they are not there.
fn secrets(settings: &OAuth2, shared: &Shared) -> Option<(SecretBytes, SecretBytes)> {
    let inventory = shared.inventory.load();
    let there = |name| {
        let secret = inventory.materials.generic(name)?;
        (!secret.expose().is_empty()).then(|| secret.clone())
    };
    let client = settings.client.secret.as_ref();
    let client = client.map_or_else(|| Some(SecretBytes::new([])), there)?;
    Some((client, there(&settings.client.hmac_secret)?))
}

impl Exchange<'_> {
    /// Sends who is not logged in to log in, and takes who comes back.
    pub(in crate::http) async fn log_in(
        &mut self,
        filter: &LoginFilter,
        of_route: Option<&FilterSettings>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let Some((settings, stats)) = filter.of(of_route) else { return Ok(Step::Continue) };
        self.distrust(settings);
        let passes_by = {
            let view = self.request.view();
            login_passes_by(settings, &self.request.head(&view))
        };
        if passes_by {
            stats.passthrough.inc();
            return Ok(Step::Continue);
        }
        let worker = Rc::clone(&self.connection.worker);
        let Some((client, hmac)) = secrets(settings, &worker.shared) else {
            stats.failure.inc();
            let reply = Reply::new(503, "OAuth2_secrets_are_not_ready");
            return Ok(Step::Reply(Box::new(reply.with_body("Service Unavailable"))));
        };
        let mut login = {
            let view = self.request.view();
            let head = self.request.head(&view);
            Login::begin(settings, (client.expose(), hmac.expose()), &head)
        };
        let mut next = self.with_tools(|tools| login.step(tools));
        if let LoginStep::Ask(question) = &next {
            let asking = ask_server(Rc::clone(&worker), settings, question);
            let answer = self.while_waiting(Box::pin(asking), downstream).await?;
            next = self.with_tools(|tools| login.answered(told(&answer), tools));
        }
        login.take_counts().into_iter().for_each(|count| stats.count(count));
        self.edit_as_logged_in(settings, login.edits());
        Ok(match next {
            LoginStep::Pass(cookies) => {
                self.annotations.extend(cookies.into_iter().map(|cookie| ("set-cookie", cookie)));
                Step::Continue
            }
            LoginStep::Reply(reply) => Step::Reply(Box::new(answer_of(*reply))),
            // Asked once; there is nothing that it would ask again.
            LoginStep::Ask(_) => Step::Continue,
        })
    }

    /// Takes off what only this filter may say.
    fn distrust(&mut self, settings: &OAuth2) {
        let id = settings.tokens.id_header.as_ref().map(|header| header.as_str());
        for name in [STATUS, REASON].into_iter().chain(id) {
            if let Ok(name) = FieldName::parse(name.as_bytes()) {
                self.request.edits.fields.remove(name);
            }
        }
    }

    fn with_tools<T>(&self, use_them: impl FnOnce(&mut LoginTools<'_>) -> T) -> T {
        let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let mut draw = |bytes: &mut [u8]| {
            // The library has chance from the start, or the process would not be here.
            if aws_lc_rs::rand::fill(bytes).is_err() {
                tracing::error!("there is no chance for a login");
            }
        };
        let render = |format: &str| self.formatted(format, Absent::Dash);
        use_them(&mut LoginTools { now, draw: &mut draw, render: &render })
    }

    fn edit_as_logged_in(&mut self, settings: &OAuth2, edits: LoginEdits) {
        let LoginEdits { cookies, drops_authorization, bearer, identity, failure } = edits;
        let fields = &mut self.request.edits.fields;
        if let Some(cookies) = cookies {
            fields.set(Known::Cookie, FieldValue::sanitized(cookies));
        }
        if drops_authorization {
            fields.remove(Known::Authorization);
        }
        if let Some(token) = bearer {
            let value = FieldValue::sanitized(format!("Bearer {token}"));
            fields.set(Known::Authorization, value);
        }
        if let (Some(header), Some(identity)) = (&settings.tokens.id_header, identity) {
            self.request.set_field(header.as_str(), identity.into_bytes());
        }
        if let Some(reason) = failure {
            self.request.set_field(STATUS, b"failed".to_vec());
            self.request.set_field(REASON, reason.into_bytes());
        }
    }
}

/// A reply as it is written.
fn answer_of(reply: LoginReply) -> Reply {
    let LoginReply { status, body, details, location, cookies } = reply;
    let details: String =
        details.chars().map(|letter| if letter.is_whitespace() { '_' } else { letter }).collect();
    let mut made = Reply::new(status, details).with_body(body);
    // Where a browser is sent, gRPC clients are sent as well.
    made.keeps_status = location.is_some();
    if let Some(location) = location {
        made.edits.set(Known::Location, FieldValue::sanitized(location));
    }
    for cookie in cookies {
        made.edits.append(Known::SetCookie, FieldValue::sanitized(cookie));
    }
    made
}

/// What a server said: a question that failed on the way has the answer that requests have then.
fn told(answer: &Result<Answer, CallError>) -> LoginAnswer<'_> {
    const LOST: &[u8] = b"upstream connect error or disconnect/reset before headers";
    match answer {
        Ok(answer) => Ok((answer.status, &answer.body)),
        Err(CallError::NoCluster(_)) => Err(LoginSilence::NoCluster),
        Err(CallError::Late(_)) => Ok((504, b"upstream request timeout")),
        Err(CallError::NoEndpoint) => Ok((503, b"no healthy upstream")),
        Err(CallError::Acquire(_) | CallError::Upstream(_) | CallError::BrokenOff(_)) => {
            Ok((503, LOST))
        }
        Err(CallError::TooLong(_) | CallError::Status { .. } | CallError::Broken(_)) => {
            Err(LoginSilence::Failed)
        }
    }
}

/// Asks the token endpoint, again where it fails and the settings say so.
async fn ask_server(
    worker: Rc<Worker>,
    settings: &OAuth2,
    question: &LoginQuestion,
) -> Result<Answer, CallError> {
    let retry = settings.server.retry;
    let (mut retries, mut pause) = (0, retry.map_or(Duration::ZERO, |retry| retry.pause));
    loop {
        let answer = Box::pin(ask_once(&worker, settings, question)).await;
        let is_lost = answer.as_ref().map_or(true, |answer| answer.status >= 500);
        let Some(retry) = retry.filter(|retry| is_lost && retries < retry.retries_max) else {
            return answer;
        };
        retries += 1;
        tokio::time::sleep(pause.min(retry.pause_max)).await;
        pause = pause.saturating_mul(2);
    }
}

async fn ask_once(
    worker: &Rc<Worker>,
    settings: &OAuth2,
    question: &LoginQuestion,
) -> Result<Answer, CallError> {
    let endpoint = &settings.server.token;
    let no_url = CallError::Broken("the token endpoint is no http or https URL");
    let (_, authority, path) = parts_of(&endpoint.uri).ok_or(no_url)?;
    let (millis, own) = (endpoint.timeout.as_millis().to_string(), own_address().to_string());
    let mut fields = FORM_FIELDS.to_vec();
    if let Some(authorization) = &question.authorization {
        fields.push(("authorization", authorization.as_bytes()));
    }
    fields.push(("x-envoy-internal", b"true"));
    fields.push(("x-envoy-expected-rq-timeout-ms", millis.as_bytes()));
    fields.push(("x-forwarded-for", own.as_bytes()));
    let question = Question {
        cluster: &endpoint.cluster,
        method: Method::Post,
        authority,
        path,
        fields: &fields,
        body: Some(Bytes::copy_from_slice(question.form.as_bytes())),
        limit: Some(endpoint.timeout),
        answer_bytes_max: TOKEN_ANSWER_BYTES_MAX,
    };
    ask(worker, &question).await
}
