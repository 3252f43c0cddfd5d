use std::time::Duration;

use super::*;
use crate::{FileContent, ReadOptions, Resource, read_text};

fn read(spec: &str) -> FileContent {
    let text = format!(
        "apiVersion: iako.io/v1alpha1\nkind: RateLimit\nmetadata: {{name: api, namespace: shop}}\n\
         spec: {spec}\n"
    );
    read_text(&text, "limit.yaml", &ReadOptions::default())
}

fn value(spec: &str) -> RateLimit {
    let content = read(spec);
    let errors: Vec<_> = content.diagnostics.iter().filter(|found| found.is_error()).collect();
    let [Resource::RateLimit(object)] = content.resources.as_slice() else {
        panic!("{spec}: {errors:?}")
    };
    object.spec.clone()
}

#[test]
fn what_is_left_out_has_its_default() {
    let limit = value("{rules: [{name: all, requests: 100, interval: 1m}]}");
    assert_eq!((limit.counting, &limit.headers), (Counting::Local, &LimitHeaders::BOTH));
    assert!(limit.selector.is_none() && limit.targets.is_empty() && limit.shared.is_none());
    let [rule] = limit.rules.as_slice() else { panic!("{limit:?}") };
    assert_eq!((rule.requests.get(), rule.interval), (100, Duration::from_secs(60)));
    assert!(rule.matches.is_empty() && rule.per.is_empty() && rule.burst.is_none());
}

#[test]
fn everything_can_be_said() {
    let limit = value(
        "{selector: {matchLabels: {app: web}}, counting: Shared, responseHeaders: {rateLimit: Omit}, \
         shared: {host: limits.shop.svc.cluster.local, port: 8081, domain: shop, onFailure: Refuse}, \
         rules: [{name: a, matches: [{route: r, path: {prefix: /api}, methods: [GET], headers: [{name: \
         X-A, value: {regex: 'a+'}}, {name: x-b}]}], per: [{header: x-key}, {claim: sub}, {source: \
         Identity}], requests: 5, interval: 1s}]}",
    );
    let shared = limit.shared.unwrap();
    assert_eq!((shared.port, shared.on_failure), (8081, OnFailure::Refuse));
    assert_eq!(shared.timeout, Duration::from_millis(100));
    assert_eq!(limit.headers.rate_limit, Switch::Omit);
    assert_eq!(limit.headers.retry_after, Switch::Send);
    let rule = &limit.rules[0];
    assert_eq!(rule.per[1], Key::Claim("sub".to_owned()));
    assert_eq!(rule.per[2], Key::Source(SourceKey::Identity));
    assert_eq!(rule.matches[0].path, Some(TextMatch::Prefix("/api".to_owned())));
    assert_eq!(rule.matches[0].headers[1].value, None);
}

#[test]
fn what_means_nothing_is_refused_at_its_place() {
    const RULE: &str = "{name: a, requests: 1, interval: 1s}";
    let shared = "counting: Shared, shared: {host: a, port: 80}";
    for (spec, path) in [
        ("{}".to_owned(), "spec"),
        ("{rules: []}".to_owned(), "spec.rules"),
        (format!("{{rules: [{RULE}, {RULE}]}}"), "spec.rules[1]"),
        ("{rules: [{name: A, requests: 1, interval: 1s}]}".to_owned(), "spec.rules[0].name"),
        ("{rules: [{name: a, requests: 0, interval: 1s}]}".to_owned(), "spec.rules[0].requests"),
        ("{rules: [{name: a, requests: 1, interval: 1ms}]}".to_owned(), "spec.rules[0].interval"),
        ("{rules: [{name: a, requests: 1, interval: soon}]}".to_owned(), "spec.rules[0].interval"),
        ("{rules: [{name: a, requests: 2, interval: 1s, burst: 1}]}".to_owned(), "spec.rules[0]"),
        (format!("{{counting: Shared, rules: [{RULE}]}}"), "spec"),
        (format!("{{shared: {{host: a, port: 80}}, rules: [{RULE}]}}"), "spec"),
        (format!("{{{shared}, rules: [{{name: a, requests: 1, interval: 5s}}]}}"), "spec"),
        (
            format!("{{{shared}, rules: [{{name: a, requests: 1, interval: 1s, burst: 2}}]}}"),
            "spec",
        ),
        (
            format!(
                "{{selector: {{matchLabels: {{a: b}}}}, targetRefs: [{{group: '', kind: Service, name: \
                 a}}], rules: [{RULE}]}}"
            ),
            "spec",
        ),
        (
            format!(
                "{{targetRefs: [{{group: apps, kind: Deployment, name: a}}], rules: [{RULE}]}}"
            ),
            "spec.targetRefs[0]",
        ),
        (
            format!("{{selector: {{matchLabels: {{}}}}, rules: [{RULE}]}}"),
            "spec.selector.matchLabels",
        ),
        (
            "{rules: [{name: a, requests: 1, interval: 1s, per: [{header: a, claim: b}]}]}"
                .to_owned(),
            "spec.rules[0].per[0]",
        ),
        (
            "{rules: [{name: a, requests: 1, interval: 1s, matches: [{}]}]}".to_owned(),
            "spec.rules[0].matches[0]",
        ),
        (
            "{rules: [{name: a, requests: 1, interval: 1s, matches: [{path: {regex: '('}}]}]}"
                .to_owned(),
            "spec.rules[0].matches[0].path.regex",
        ),
        (format!("{{ruls: [], rules: [{RULE}]}}"), "spec.ruls"),
    ] {
        let content = read(&spec);
        let errors: Vec<_> = content.diagnostics.iter().filter(|found| found.is_error()).collect();
        let paths: Vec<&str> = errors.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, [path], "{spec}: {errors:?}");
        assert!(content.resources.is_empty());
    }
}
