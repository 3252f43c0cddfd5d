//! A route table with everything.

use std::{sync::Arc, time::Duration};

use iako_proxy_config::*;
use iako_types::Percent;

use crate::{
    matching::{chosen_by_tree, rate_limits, rewriting},
    shared::*,
};

pub(crate) fn retry() -> RetryPolicy {
    RetryPolicy {
        conditions: RetryOn::ALL.into_iter().collect(),
        status_codes: vec![429, 503],
        headers: header_matches(),
        retries_max: 2,
        per_try_timeout: Some(Duration::from_secs(2)),
        per_try_idle_timeout: Some(Duration::from_secs(1)),
        back_off: BackOff { base: Duration::from_millis(5), max: Duration::from_millis(80) },
        avoid_previous_hosts: true,
        host_selection_attempts_max: some(5),
        previous_priorities: None,
    }
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
        mirrors: vec![Mirror {
            cluster: "m".into(),
            share: Percent::from_f64(12.5).unwrap(),
            keep_host: true,
        }],
        hash: vec![
            HashPolicy { source: HashSource::Header("x-u".parse().unwrap()), terminal: true },
            HashPolicy {
                source: HashSource::Cookie {
                    name: "c".into(),
                    ttl: Some(Duration::ZERO),
                    path: "/".into(),
                },
                terminal: false,
            },
            HashPolicy { source: HashSource::SourceIp, terminal: false },
            HashPolicy { source: HashSource::QueryParameter("q".into()), terminal: false },
        ],
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

pub(crate) fn route_table() -> RouteConfiguration {
    let weighted = ClusterTarget::Weighted(vec![
        WeightedCluster {
            cluster: "a".into(),
            weight: 0,
            headers: mutations(),
            host_rewrite: Some("h".into()),
            overrides: overrides(),
        },
        WeightedCluster {
            cluster: "b".into(),
            weight: 10,
            headers: HeaderMutations::default(),
            host_rewrite: None,
            overrides: FilterOverrides::default(),
        },
    ]);
    let full = Route {
        name: "r".into(),
        matcher: full_match(),
        action: Action::Forward(Box::new(route_action(weighted))),
        headers: mutations(),
        overrides: overrides(),
        operation: "op".into(),
        origin: Some(origin()),
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
        overrides: overrides(),
        origin: Some(origin()),
    };
    RouteConfiguration {
        headers: mutations(),
        most_specific_last: true,
        ignore_port_in_host: true,
        host_header: Some("x-host".parse().unwrap()),
        ignore_path_parameters: true,
        internal_only_headers: vec!["x-inside".parse().unwrap()],
        overrides: overrides(),
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
    matcher.share = Some(Percent::from_whole(7).unwrap());
    matcher
}
