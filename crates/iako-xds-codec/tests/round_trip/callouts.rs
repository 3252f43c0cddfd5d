//! Filters that ask a service, with everything that they can be told.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use iako_proxy_config::*;
use iako_types::Percent;

pub(crate) fn service() -> GrpcService {
    GrpcService {
        cluster: "az".into(),
        authority: "az.test".into(),
        timeout: Some(Duration::from_millis(300)),
        metadata: vec![("x-token".parse().unwrap(), "t".into())],
        answer_bytes_max: NonZeroU32::new(4096),
        skips_envoy_headers: true,
    }
}

fn names(prefix: &str) -> Vec<StringMatch> {
    vec![StringMatch::prefix(prefix), StringMatch::exact("x-a")]
}

fn rules() -> HeaderMutationRules {
    HeaderMutationRules {
        allow_all_routing: true,
        allow_envoy: true,
        disallow_system: true,
        disallow_all: true,
        allow: Some(Pattern::parse("x-.*").unwrap()),
        disallow: Some(Pattern::parse("x-secret").unwrap()),
        disallowed_is_error: true,
    }
}

pub(crate) fn authz() -> ExtAuthz {
    ExtAuthz {
        service: AuthzService::Grpc(service()),
        body: Some(AuthzBody { bytes_max: 1024, allow_partial: true, as_bytes: true }),
        on_failure: AuthzFailure::AllowAndTell,
        status_on_error: 503,
        clear_route_cache: true,
        validate_mutations: true,
        metadata_namespaces: vec!["jwt".into()],
        enabled: Keyed::new(Percent::from_whole(50).unwrap(), "authz.enabled"),
        enabled_metadata: None,
        deny_at_disable: Keyed::new(true, "authz.deny"),
        include_peer_certificate: true,
        include_tls_session: true,
        labels_key: "labels".into(),
        stat_prefix: "mine".into(),
        allowed_headers: Some(names("x-")),
        disallowed_headers: names("y-"),
        raw_headers: true,
        charges_cluster: false,
        rules: Some(Box::new(rules())),
        takes_metadata: false,
        refusal_bytes_max: Some(100),
    }
}

pub(crate) fn authz_route() -> ExtAuthzRoute {
    let http = AuthzHttp {
        server: HttpUri {
            uri: "http://authz.test".into(),
            cluster: "az".into(),
            timeout: Duration::from_secs(1),
        },
        path_prefix: "/check".into(),
        path_override: String::new(),
        allowed_headers: names("x-"),
        add: vec![("x-from".parse().unwrap(), "proxy".into())],
        upstream: names("u-"),
        upstream_append: names("a-"),
        client: Some(names("c-")),
        client_on_success: names("s-"),
        metadata: names("m-"),
    };
    ExtAuthzRoute {
        context: BTreeMap::from([("a".to_owned(), "1".to_owned())]),
        without_body: true,
        body: None,
        service: Some(AuthzService::Http(Box::new(http))),
    }
}

pub(crate) fn processing() -> ExtProc {
    let mode = ProcessingMode {
        request_headers: false,
        response_headers: false,
        request_body: BodyMode::Buffered,
        response_body: BodyMode::BufferedPartial,
        request_trailers: true,
        response_trailers: false,
    };
    let pieces = ProcessingMode {
        request_body: BodyMode::Duplex,
        response_body: BodyMode::Streamed,
        ..ProcessingMode::default()
    };
    ExtProc {
        service: service(),
        failure_allow: true,
        mode,
        allow_mode_override: true,
        override_modes: vec![ProcessingMode::default(), mode, pieces],
        disable_immediate: true,
        message_timeout: Duration::from_millis(500),
        message_timeout_max: Some(Duration::from_secs(2)),
        stat_prefix: "mine".into(),
        rules: rules(),
        shown: Some(names("x-")),
        hidden: names("y-"),
        request_attributes: ProcessedFact::ALL.to_vec(),
        response_attributes: vec![ProcessedFact::Code],
        forwarded_metadata: vec!["jwt".into()],
        received_metadata: vec!["mine".into()],
        route_cache: RouteCacheAction::Never,
        status_on_error: 503,
        only_watches: Some(Duration::from_secs(1)),
        shows_body_early: true,
    }
}

pub(crate) fn processing_route() -> ExtProcRoute {
    ExtProcRoute {
        mode: Some(ProcessingMode::default()),
        service: Some(service()),
        metadata: vec![("x-more".parse().unwrap(), "m".into())],
        failure_allow: Some(false),
        request_attributes: vec![ProcessedFact::Path],
        response_attributes: vec![ProcessedFact::Code],
        forwarded_metadata: Some(vec!["a".into()]),
        received_metadata: Some(vec!["b".into()]),
    }
}

fn limit() -> RateLimit {
    let entry = RateLimitEntry {
        key: "generic_key".into(),
        value: "v".into(),
        default_value: String::new(),
    };
    RateLimit {
        actions: vec![RateLimitAction::GenericKey(entry)],
        hits: Some(RateLimitHits::Number(2)),
        ..RateLimit::default()
    }
}

pub(crate) fn global_limit() -> GlobalRateLimit {
    GlobalRateLimit {
        service: service(),
        domain: "d".into(),
        stage: 3,
        requests: LimitedRequests::External,
        failure_deny: Keyed::new(Percent::from_whole(30).unwrap(), "limit.deny"),
        status_on_error: 503,
        as_resource_exhausted: true,
        headers: true,
        tells: false,
        retry_after: true,
        status: 503,
        add: vec![HeaderValueOption {
            name: "x-more".parse().unwrap(),
            value: "1".into(),
            action: AppendAction::OverwriteOrAdd,
            keep_empty: true,
        }],
        stat_prefix: "mine".into(),
        enabled: Keyed::new(Percent::from_whole(50).unwrap(), "limit.enabled"),
        enforced: Keyed::new(Percent::from_whole(60).unwrap(), "limit.enforced"),
        limits: vec![limit()],
        metadata_namespace: "ns".into(),
    }
}

/// A tree that leaves filters out.
pub(crate) fn skips() -> MatchTree<SkipFilter> {
    let skip = MatchOutcome { then: MatchThen::Action(SkipFilter), keep_matching: false };
    MatchTree {
        node: MatchNode::Exact {
            input: MatchInput::RequestHeader("x-skip".parse().unwrap()),
            outcomes: [("yes".to_owned(), skip.clone())].into(),
        },
        otherwise: Some(Box::new(skip)),
    }
}

pub(crate) fn matched() -> MatchedFilter {
    MatchedFilter { kind: HttpFilterKind::GrpcWeb, tree: Some(skips()) }
}

pub(crate) fn composite() -> Composite {
    let buffer = |bytes| {
        HttpFilterKind::Buffer(Buffer { request_bytes_max: NonZeroU32::new(bytes).unwrap() })
    };
    let chosen = |filters: Vec<(String, HttpFilterKind)>, share| MatchOutcome {
        then: MatchThen::Action(ChosenFilters { filters, share }),
        keep_matching: false,
    };
    let share = Keyed::new(Percent::from_whole(40).unwrap(), "chosen.share");
    let one = chosen(vec![("one".into(), buffer(1))], share);
    let several = vec![("one".into(), buffer(1)), ("two".into(), HttpFilterKind::Cors)];
    let several = chosen(several, Keyed::fixed(Percent::HUNDRED));
    let input = MatchInput::RequestHeader("x-kind".parse().unwrap());
    Composite {
        tree: MatchTree {
            node: MatchNode::Exact { input, outcomes: BTreeMap::from([("a".to_owned(), one)]) },
            otherwise: Some(Box::new(several)),
        },
    }
}

pub(crate) fn admission() -> AdmissionControl {
    let percent = |percent| Percent::from_whole(percent).unwrap();
    AdmissionControl {
        enabled: Keyed::new(false, "a.on"),
        criteria: std::sync::Arc::new(SuccessCriteria {
            http: Some(vec![(100, 400), (404, 405)]),
            grpc: Some(vec![0, 5]),
        }),
        window: Duration::from_secs(120),
        aggression: Keyed::new(1.5, "a.aggression"),
        success_threshold: Keyed::new(percent(70), "a.threshold"),
        rate_threshold: Keyed::new(9, "a.rate"),
        rejected_max: Keyed::new(percent(60), "a.most"),
    }
}

pub(crate) fn measured() -> LeastTime {
    LeastTime::Measured {
        interval: Duration::from_secs(30),
        jitter: Percent::from_whole(10).unwrap(),
        requests: NonZeroU32::new(20).unwrap(),
    }
}

pub(crate) fn concurrency(least: LeastTime) -> AdaptiveConcurrency {
    let count = |count| NonZeroU32::new(count).unwrap();
    let percent = |percent| Percent::from_whole(percent).unwrap();
    AdaptiveConcurrency {
        enabled: Keyed::new(false, "c.on"),
        status: 429,
        gradient: ConcurrencyGradient {
            percentile: percent(90),
            limit_max: count(50),
            limit_min: count(7),
            update_interval: Duration::from_millis(300),
            least,
            buffer: percent(15),
        },
    }
}

pub(crate) fn local_limit() -> LocalRateLimit {
    let count = |count| NonZeroU32::new(count).unwrap();
    let tokens = |max| ConnectionTokens {
        max: count(max),
        per_fill: count(2),
        interval: Duration::from_millis(500),
    };
    let add = |name: &str| HeaderValueOption {
        name: name.parse().unwrap(),
        value: "1".into(),
        action: AppendAction::OverwriteOrAdd,
        keep_empty: true,
    };
    LocalRateLimit {
        stat_prefix: "mine".into(),
        status: 503,
        buckets: std::sync::Arc::new(LocalBuckets {
            default: Some(tokens(5)),
            descriptors: vec![LocalDescriptor {
                entries: vec![("user".into(), "a".into()), ("any".into(), String::new())],
                tokens: tokens(3),
                shadow: true,
            }],
            always_default: false,
            dynamic_max: count(7),
            shared_by_cluster: false,
        }),
        enabled: Keyed::new(Percent::from_whole(50).unwrap(), "limit.enabled"),
        enforced: Keyed::new(Percent::from_whole(60).unwrap(), "limit.enforced"),
        add_to_request: vec![add("x-over")],
        add_to_response: vec![add("x-more")],
        stage: 3,
        per_connection: true,
        headers: true,
        host_limits: HostLimits::Include,
        as_resource_exhausted: true,
        limits: vec![limit()],
    }
}

/// The same for a route, its tokens shared by a cluster.
pub(crate) fn local_limit_route() -> LocalRateLimit {
    let filter = local_limit();
    let buckets = LocalBuckets { shared_by_cluster: true, ..(*filter.buckets).clone() };
    let buckets = std::sync::Arc::new(buckets);
    LocalRateLimit { per_connection: false, buckets, ..filter }
}

pub(crate) fn global_limit_route() -> GlobalRateLimitRoute {
    GlobalRateLimitRoute {
        host_limits: HostLimits::Include,
        limits: vec![limit()],
        domain: "other".into(),
    }
}
