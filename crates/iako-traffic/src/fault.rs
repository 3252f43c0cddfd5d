//! Faults on purpose.

use std::num::NonZeroU64;
use std::time::Duration;

use iako_proxy_config::{AbortStatus, ClientFault, Fault};
use iako_types::Percent;

use crate::{RequestHead, header_matches};

/// What is done to a request on purpose: first the delay, then the abort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultDecision {
    /// It is held back. Envoy: flag `DI`.
    pub delay: Option<Duration>,
    /// It is answered, with the body `fault filter abort`. Envoy: flag `FI`.
    pub abort: Option<FaultAbort>,
}

/// How a request is answered on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAbort {
    /// With an HTTP status.
    Http(u16),
    /// With a gRPC status; the HTTP status is 200.
    Grpc(u32),
}

/// Decides about a request towards `cluster`. `draw` gives a number for the delay, then one for the
/// abort. How many faults are under way is for the caller to look at.
#[must_use]
pub fn fault(
    fault: &Fault,
    head: &RequestHead<'_>,
    cluster: &str,
    draw: &mut dyn FnMut() -> u64,
) -> FaultDecision {
    if !is_meant(fault, head, cluster) {
        return FaultDecision::default();
    }
    let client = of_client(fault, head);
    let delay = fault.delay.as_ref().and_then(|delay| {
        let duration = match delay.fixed {
            Some(fixed) => fixed,
            None => Duration::from_millis(number(head, "x-envoy-fault-delay-request")?),
        };
        let duration = client.delay.unwrap_or(duration);
        let share = lowered(delay.share, head, "x-envoy-fault-delay-request-percentage");
        let takes = takes(share, client.delay_share, draw);
        (takes && !duration.is_zero()).then_some(duration)
    });
    let abort = fault.abort.as_ref().and_then(|abort| {
        let answer = match abort.status {
            AbortStatus::Http(status) => {
                FaultAbort::Http(client.abort_http_status.unwrap_or(status))
            }
            AbortStatus::Grpc(status) => {
                FaultAbort::Grpc(client.abort_grpc_status.unwrap_or(status))
            }
            AbortStatus::Header => from_header(head)?,
        };
        let share = lowered(abort.share, head, "x-envoy-fault-abort-request-percentage");
        takes(share, client.abort_share, draw).then_some(answer)
    });
    FaultDecision { delay, abort }
}

/// How fast the content of the response may pass, in KiB a second; none when it is not held back.
/// `draw` gives a number. Asked after [`fault`], of requests that are not aborted.
#[must_use]
pub fn response_rate(
    fault: &Fault,
    head: &RequestHead<'_>,
    cluster: &str,
    draw: u64,
) -> Option<NonZeroU64> {
    let rate = fault.response_rate.as_ref().filter(|_| is_meant(fault, head, cluster))?;
    let limit = match rate.kib_per_second {
        Some(limit) => limit,
        None => number(head, "x-envoy-fault-throughput-response")?,
    };
    let share = lowered(rate.share, head, "x-envoy-fault-throughput-response-percentage");
    share.takes(draw).then_some(limit)
}

fn is_meant(fault: &Fault, head: &RequestHead<'_>, cluster: &str) -> bool {
    let nodes = &fault.downstream_nodes;
    let node = || head.text("x-envoy-downstream-service-node").unwrap_or_default();
    (nodes.is_empty() || nodes.contains(&node().into_owned()))
        && (fault.upstream_cluster.is_empty() || fault.upstream_cluster == cluster)
        && fault.headers.iter().all(|rule| header_matches(rule, head))
}

/// What the runtime says for the cluster of this client.
fn of_client(fault: &Fault, head: &RequestHead<'_>) -> ClientFault {
    if fault.by_client.is_empty() {
        return ClientFault::default();
    }
    let cluster = head.text("x-envoy-downstream-service-cluster");
    cluster.and_then(|cluster| fault.by_client.get(&*cluster).copied()).unwrap_or_default()
}

/// Whether a request falls into the share of all clients, or into that of its own.
fn takes(all: Percent, own: Option<Percent>, draw: &mut dyn FnMut() -> u64) -> bool {
    all.takes(draw()) || own.is_some_and(|own| own.takes(draw()))
}

fn from_header(head: &RequestHead<'_>) -> Option<FaultAbort> {
    if let Some(status) = number::<u16>(head, "x-envoy-fault-abort-request") {
        return (200..600).contains(&status).then_some(FaultAbort::Http(status));
    }
    number(head, "x-envoy-fault-abort-grpc-request").map(FaultAbort::Grpc)
}

/// A client may ask for a smaller share than configured, never for a larger one.
fn lowered(share: Percent, head: &RequestHead<'_>, name: &str) -> Percent {
    let asked = number::<u32>(head, name).map(|percent| Percent::from_whole(percent.min(100)));
    match asked {
        Some(Ok(asked)) => asked.min(share),
        Some(Err(_)) | None => share,
    }
}

fn number<T: std::str::FromStr>(head: &RequestHead<'_>, name: &str) -> Option<T> {
    head.text(name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{Abort, Delay};

    use super::*;
    use crate::HeaderList;

    fn decide(rule: &Fault, headers: &[(&str, &str)]) -> FaultDecision {
        let headers: HeaderList = headers.iter().copied().collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: "/",
            headers: &headers,
        };
        fault(rule, &head, "be", &mut || 999_999)
    }

    // Cases fault-abort and fault-delay.
    #[test]
    fn faults_are_those_that_are_configured() {
        let abort = Abort { status: AbortStatus::Http(418), share: Percent::HUNDRED };
        let rule = Fault { abort: Some(abort), ..Fault::default() };
        let sent = [("x-envoy-fault-abort-request", "429")];
        assert_eq!(decide(&rule, &sent).abort, Some(FaultAbort::Http(418)));
        let header = Abort { status: AbortStatus::Header, ..abort };
        let rule = Fault { abort: Some(header), ..Fault::default() };
        assert_eq!(decide(&rule, &sent).abort, Some(FaultAbort::Http(429)));
        assert_eq!(decide(&rule, &[]), FaultDecision::default());
        let fixed = Some(Duration::from_millis(300));
        let delay = Delay { fixed, share: Percent::HUNDRED };
        let rule = Fault { delay: Some(delay), ..Fault::default() };
        assert_eq!(decide(&rule, &[]).delay, fixed);
        let less = [("x-envoy-fault-delay-request-percentage", "50")];
        assert_eq!(decide(&rule, &less).delay, None);
        let node = Fault { downstream_nodes: vec!["n".to_owned()], ..rule.clone() };
        assert_eq!(decide(&node, &[]).delay, None);
        assert_eq!(decide(&node, &[("x-envoy-downstream-service-node", "n")]).delay, fixed);
        let other = Fault { upstream_cluster: "other".to_owned(), ..rule };
        assert_eq!(decide(&other, &[]).delay, None);
    }
}
