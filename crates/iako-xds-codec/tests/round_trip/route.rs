//! A route table with everything.

use std::collections::BTreeMap;
use std::{sync::Arc, time::Duration};

use iako_proxy_config::*;
use iako_types::{Fraction, FractionDenominator, Percent};

use crate::{
    matching::{chosen_by_tree, rate_limits, rewriting, specified},
    shared::*,
};

pub(crate) fn retry() -> RetryPolicy {
    RetryPolicy {
        conditions: RetryOn::ALL.into_iter().collect(),
        share: Percent::HUNDRED,
        status_codes: vec![429, 503],
        headers: header_matches(),
        request_headers: header_matches(),
        rate_limited: Some(RateLimitedBackOff {
            headers: vec![
                ResetHeader { name: "retry-after".parse().unwrap(), format: ResetFormat::Seconds },
                ResetHeader {
                    name: "x-ratelimit-reset".parse().unwrap(),
                    format: ResetFormat::UnixTimestamp,
                },
            ],
            max: Duration::from_secs(7),
        }),
        avoid_canary_hosts: true,
        avoid_hosts_with: vec![BTreeMap::from([("version".into(), "v1".into())])],
        retries_max: 2,
        per_try_timeout: Some(Duration::from_secs(2)),
        per_try_idle_timeout: Some(Duration::from_secs(1)),
        back_off: BackOff { base: Duration::from_millis(5), max: Duration::from_millis(80) },
        avoid_previous_hosts: true,
        host_selection_attempts_max: some(5),
        previous_priorities: Some(some(2)),
    }
}

fn mirrors() -> Vec<Mirror> {
    vec![
        Mirror {
            share: Keyed::new(Percent::from_f64(12.5).unwrap(), "mirror.share"),
            keep_host: true,
            edits: vec![
                HeaderEdit::Remove("x-a".parse().unwrap()),
                HeaderEdit::Add(mutations().request_add.remove(0)),
                HeaderEdit::RemoveMatching(StringMatch::exact("x-b")),
            ],
            ..Mirror::to("m")
        },
        Mirror {
            target: MirrorTarget::Header("x-mirror".parse().unwrap()),
            host: Some("copy.test".into()),
            ..Mirror::to("m")
        },
    ]
}

fn hashes() -> Vec<HashPolicy> {
    let rewrite = Some((Pattern::parse("a(.)").unwrap(), r"\1".to_owned()));
    let header = |rewrite| HashSource::Header { name: "x-u".parse().unwrap(), rewrite };
    let cookie = HashSource::Cookie {
        name: "c".into(),
        ttl: Some(Duration::ZERO),
        path: "/".into(),
        attributes: vec![
            CookieAttribute { name: "SameSite".into(), value: "Strict".into() },
            CookieAttribute { name: "Secure".into(), value: String::new() },
        ],
    };
    let policy = |source| HashPolicy { source, terminal: false };
    vec![
        HashPolicy { source: header(None), terminal: true },
        policy(header(rewrite)),
        policy(cookie),
        policy(HashSource::SourceIp),
        policy(HashSource::QueryParameter("q".into())),
        policy(HashSource::FilterState("k".into())),
    ]
}

pub(crate) fn route_action(target: ClusterTarget) -> RouteAction {
    RouteAction {
        cluster_not_found_status: 500,
        path_rewrite: Some(PathRewrite::Full(r"/a\1".into())),
        host_rewrite: Some(HostRewrite::Literal("b.test".into())),
        append_x_forwarded_host: true,
        timeout: None,
        idle_timeout: Some(Duration::ZERO),
        max_stream_duration: Some(MaxStreamDuration {
            limit: None,
            grpc_timeout_max: Some(Duration::ZERO),
            grpc_timeout_offset: Duration::from_millis(10),
        }),
        retry: Some(retry()),
        mirrors: mirrors(),
        hash: hashes(),
        share_by: ShareBy::Header("x-share".parse().unwrap()),
        grpc_timeout: Some(GrpcTimeout { max: Duration::ZERO, offset: Duration::from_millis(3) }),
        flush_timeout: Some(Duration::from_secs(4)),
        hedge: Some(HedgePolicy { on_per_try_timeout: true }),
        internal_redirect: Some(InternalRedirectPolicy {
            redirects_max: 3,
            statuses: vec![301, 307],
            predicates: vec![
                RedirectPredicate::AllowListedRoutes(vec!["r".into()]),
                RedirectPredicate::PreviousRoutes,
                RedirectPredicate::SafeCrossScheme,
            ],
            cross_scheme: true,
            copied_headers: vec!["x-copied".parse().unwrap()],
        }),
        upgrades: vec![
            UpgradeConfig { protocol: "websocket".into(), enabled: false },
            UpgradeConfig { protocol: "connect".into(), enabled: true },
        ],
        connect_end: Some(Box::new(ConnectEnd {
            proxy_protocol: Some(proxy_protocol()),
            allow_post: true,
        })),
        priority: RoutePriority::High,
        subset: vec![("version".into(), "v1".into())],
        subset_fallbacks: vec![vec![
            ("stage".into(), "prod".into()),
            ("version".into(), "v2".into()),
        ]],
        rate_limits: rate_limits(),
        include_host_rate_limits: Some(true),
        cors: Some(Box::new(cors())),
        ..RouteAction::to(target)
    }
}

#[expect(clippy::too_many_lines, reason = "one value with every field set")]
pub(crate) fn route_table() -> RouteConfiguration {
    let weighted = ClusterTarget::Weighted(vec![
        WeightedCluster {
            cluster: "a".into(),
            cluster_header: None,
            subset: vec![("stage".into(), "s".into()), ("version".into(), "v1".into())],
            weight: 0,
            weight_key: Some("w.a".into()),
            headers: mutations(),
            host_rewrite: Some("h".into()),
            overrides: overrides(),
        },
        WeightedCluster {
            cluster_header: Some("x-cluster".parse().unwrap()),
            weight: 10,
            weight_key: Some("w.".into()),
            ..WeightedCluster::default()
        },
    ]);
    let full = Route {
        stat_prefix: "counted".into(),
        name: "r".into(),
        matcher: full_match(),
        action: Action::Forward(Box::new(route_action(weighted))),
        headers: mutations(),
        overrides: overrides(),
        decorator: Some(Decorator { operation: "op".into(), propagates: false }),
        tracing: Some(Arc::new(RouteTracing {
            sampling: TraceSampling {
                client: Fraction { numerator: 5, denominator: FractionDenominator::Million },
                ..TraceSampling::default()
            },
            tags: vec![CustomTag { name: "t".into(), value: TagValue::Literal("v".into()) }],
            operation: "%REQ(x)%".into(),
            upstream_operation: "up".into(),
        })),
        body_bytes_kept_max: Some(1 << 33),
        origin: Some(origin()),
        metadata: metadata_besides("istio"),
    };
    let redirect = Redirect {
        scheme: Some(RedirectScheme::Https),
        host: Some("c.test".into()),
        port: Some(8443),
        path: Some(RedirectPath::Regex {
            pattern: Pattern::parse("a").unwrap(),
            substitution: "b".into(),
        }),
        status: 308,
        strip_query: true,
    };
    let respond = DirectResponse {
        format: Some(body_format()),
        ..DirectResponse::new(404, bytes::Bytes::from_static(b"no"))
    };
    let path = |path| RouteMatch::path(path);
    let virtual_host = VirtualHost {
        virtual_clusters: Vec::new(),
        name: "v".into(),
        domains: ["a.test", "*.b.test", "c.*"]
            .iter()
            .map(|domain| domain.parse().unwrap())
            .collect(),
        routes: [
            full,
            Route::new(path(PathMatch::SegmentPrefix("/api".into())), Action::Redirect(redirect)),
            Route::new(path(PathMatch::Exact("/x".into())), Action::Respond(respond)),
            Route::new(
                path(PathMatch::Connect),
                Action::Forward(Box::new(RouteAction::to(ClusterTarget::Header(
                    "x-c".parse().unwrap(),
                )))),
            ),
            rewriting(),
            specified(),
        ]
        .map(Arc::new)
        .into(),
        matcher: None,
        require_tls: TlsRequirement::ExternalOnly,
        headers: mutations(),
        retry: Some(RetryPolicy::default()),
        include_attempt_count: true,
        attempt_count_in_response: true,
        rate_limits: rate_limits(),
        cors: Some(Box::new(cors())),
        include_timeout_retry: true,
        hedge: Some(HedgePolicy::default()),
        mirrors: mirrors(),
        body_bytes_kept_max: Some(10),
        overrides: overrides(),
        origin: Some(origin()),
        metadata: metadata_besides("my.ns"),
    };
    RouteConfiguration {
        headers: mutations(),
        most_specific_last: true,
        ignore_port_in_host: true,
        host_header: Some("x-host".parse().unwrap()),
        ignore_path_parameters: true,
        internal_only_headers: vec!["x-inside".parse().unwrap()],
        overrides: overrides(),
        mirrors: mirrors(),
        virtual_host_source: Some(ConfigSource::default()),
        ..RouteConfiguration::new("t", [virtual_host, chosen_by_tree()])
    }
}

fn full_match() -> RouteMatch {
    let mut matcher = RouteMatch::path(PathMatch::Template(UriTemplate::parse("/a/{*}").unwrap()));
    matcher.case_sensitive = false;
    matcher.headers = header_matches();
    matcher.cookies =
        vec![CookieMatch { name: "c".into(), value: StringMatch::prefix("v"), invert: true }];
    matcher.tls = Some(TlsContextMatch { presented: Some(true), validated: None });
    matcher.filter_state = vec![
        FilterStateMatch {
            key: "k".into(),
            check: FilterStateCheck::Text(StringMatch::exact("v")),
        },
        FilterStateMatch {
            key: "a".into(),
            check: FilterStateCheck::Address {
                ranges: vec!["10.0.0.0/8".parse().unwrap()],
                invert: true,
            },
        },
    ];
    matcher.query = vec![
        QueryMatch { name: "q".into(), check: QueryCheck::Present(false) },
        QueryMatch { name: "r".into(), check: QueryCheck::Text(StringMatch::exact("1")) },
    ];
    matcher.metadata = vec![metadata_match()];
    matcher.grpc_only = true;
    matcher.share = Some(Keyed::new(Percent::from_whole(7).unwrap(), "route.share"));
    matcher
}
