//! Rules of VirtualServices by themselves: weights, retries, matches that repeat.

use iako_registry::MeshSnapshot;
use iako_resources::{
    Code, Kind, Object, VirtualService,
    istio::virtual_service::{HttpAction, HttpMatch, HttpRoute},
};

use super::findings::{Findings, Part, virtual_services};

/// What weights add up to where people think of percent.
const WHOLE: u64 = 100;

/// Weights that look like percent and do not add up to 100.
pub(super) fn weights(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in virtual_services(snapshot) {
        let http = object.spec.http.iter().enumerate().filter_map(|(at, rule)| {
            let HttpAction::Route(targets) = &rule.action else { return None };
            Some((format!("spec.http[{at}].route"), rule.line, targets))
        });
        let tls = object.spec.tls.iter().enumerate();
        let tls = tls.map(|(at, rule)| (format!("spec.tls[{at}].route"), rule.line, &rule.route));
        let tcp = object.spec.tcp.iter().enumerate();
        let tcp = tcp.map(|(at, rule)| (format!("spec.tcp[{at}].route"), rule.line, &rule.route));
        for (path, line, targets) in http.chain(tls).chain(tcp) {
            let sum: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
            // Small numbers, such as 1 and 1, are meant as shares.
            if targets.len() < 2 || sum == WHOLE || sum < WHOLE / 2 {
                continue;
            }
            let shares: Vec<String> = targets
                .iter()
                .map(|target| {
                    let share = u64::from(target.weight).saturating_mul(WHOLE);
                    format!("{} %", share.checked_div(sum).unwrap_or_default())
                })
                .collect();
            let message =
                format!("the weights add up to {sum}; the shares are {}", shares.join(", "));
            let help = "let the weights add up to 100, so that they can be read as percent";
            let of = (Kind::VirtualService, object);
            findings.add(Code::WeightSum, of, &Part { path: &path, line }, (message, help));
        }
    }
}

/// Retries that the timeout of their rule cuts off.
pub(super) fn retries(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in virtual_services(snapshot) {
        for (at, rule) in object.spec.http.iter().enumerate() {
            let (Some(whole), Some(retries)) = (rule.timeout, &rule.retries) else { continue };
            let Some(each) = retries.per_try_timeout else { continue };
            if retries.attempts == 0 || whole.is_zero() || each < whole {
                continue;
            }
            let message = format!(
                "an attempt may take {each:?} and all attempts together {whole:?}, which leaves no \
                 time for a retry after a slow attempt"
            );
            let help = "make perTryTimeout shorter than timeout";
            let path = &format!("spec.http[{at}].retries.perTryTimeout");
            let of = (Kind::VirtualService, object);
            let part = Part { path, line: rule.line };
            findings.add(Code::RetriesDoNotFit, of, &part, (message, help));
        }
    }
}

/// Matches that repeat one of an earlier rule, where other matches of their rule still count.
pub(super) fn duplicates(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in virtual_services(snapshot) {
        for (at, rule) in object.spec.http.iter().enumerate() {
            let earlier = object.spec.http.get(..at).unwrap_or_default();
            let repeats: Vec<Option<u32>> =
                rule.matches.iter().map(|one| repeated(earlier, one)).collect();
            // A rule of which nothing is left is a finding of its own.
            if repeats.iter().all(Option::is_some) {
                continue;
            }
            report(object, at, &rule.matches, &repeats, findings);
        }
    }
}

/// The line of the match of an earlier rule that says the same.
fn repeated(earlier: &[HttpRoute], one: &HttpMatch) -> Option<u32> {
    let plain = |it: &HttpMatch| HttpMatch { name: None, stat_prefix: None, line: 0, ..it.clone() };
    let wanted = plain(one);
    let mut others = earlier.iter().flat_map(|rule| &rule.matches);
    others.find(|other| plain(other) == wanted).map(|other| other.line)
}

fn report(
    object: &Object<VirtualService>,
    at: usize,
    matches: &[HttpMatch],
    repeats: &[Option<u32>],
    findings: &mut Findings,
) {
    for (number, (one, repeated)) in matches.iter().zip(repeats).enumerate() {
        let Some(line) = repeated else { continue };
        let message = format!("the match of line {line} takes these requests before this one");
        let help = "remove the match, or move its rule up";
        let path = &format!("spec.http[{at}].match[{number}]");
        let part = Part { path, line: one.line };
        findings.add(Code::DuplicateMatch, (Kind::VirtualService, object), &part, (message, help));
    }
}
