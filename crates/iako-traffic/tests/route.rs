//! Routes as Envoy was seen to choose them, and the index against a walk over all rules.

#![expect(clippy::unwrap_used, reason = "tests may be blunt, also outside of the test functions")]

use std::{sync::Arc, time::Duration};

use iako_proxy_config::{
    Action, AppendAction, ClusterTarget, CookieAttribute, DirectResponse, GrpcTimeout, HashPolicy,
    HashSource, HeaderCheck, HeaderMatch, HeaderValueOption, HostRewrite, MaxStreamDuration,
    Mirror, MirrorTarget, PathMatch, PathRewrite, Pattern, QueryCheck, QueryMatch, Route,
    RouteAction, RouteConfiguration, RouteMatch, ShareBy, StringMatch, TlsRequirement,
    UpgradeConfig, VirtualHost, WeightedCluster,
};
use iako_traffic::{
    ConnectionInfo, HeaderList, HostChange, Metadata, Mismatch, RequestFacts, RequestHead,
    RouteMatchResult, RouteOutcome, RouteTable, TimeoutRules, Timeouts, https_location,
};
use iako_types::Percent;
use proptest::prelude::*;

struct Request {
    method: &'static str,
    authority: &'static str,
    target: String,
    headers: HeaderList,
    internal: bool,
}

impl Request {
    fn get(target: &str) -> Self {
        Self {
            method: "GET",
            authority: "a.test",
            target: target.to_owned(),
            headers: HeaderList::default(),
            internal: false,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }

    fn ask<T>(&self, question: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
        let connection =
            ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "127.0.0.1:9".parse().unwrap());
        let head = RequestHead {
            method: self.method,
            scheme: "http",
            authority: self.authority,
            path_and_query: &self.target,
            headers: &self.headers,
        };
        let client = "127.0.0.1".parse().unwrap();
        let metadata = Metadata::default();
        let internal = self.internal;
        question(&RequestFacts {
            head,
            connection: &connection,
            metadata: &metadata,
            client,
            internal,
        })
    }
}

fn table(routes: Vec<Route>) -> RouteTable {
    let host = VirtualHost {
        domains: vec!["*".parse().unwrap()],
        routes: routes.into_iter().map(Arc::new).collect(),
        ..VirtualHost::default()
    };
    RouteTable::compile(Arc::new(RouteConfiguration::new("r", vec![host])))
}

fn respond(name: &str, matcher: RouteMatch) -> Route {
    let answer = DirectResponse::new(200, bytes::Bytes::copy_from_slice(name.as_bytes()));
    Route { name: name.to_owned(), ..Route::new(matcher, Action::Respond(answer)) }
}

fn forward(path: PathMatch, change: impl FnOnce(&mut RouteAction)) -> Route {
    let mut action = RouteAction::to(ClusterTarget::Cluster("be".to_owned()));
    change(&mut action);
    Route::new(RouteMatch::path(path), Action::Forward(Box::new(action)))
}

fn chosen<'t>(table: &'t RouteTable, request: &Request, draw: u64) -> Option<RouteMatchResult<'t>> {
    match request.ask(|facts| table.route(facts, draw)) {
        RouteOutcome::Matched(result) => Some(result),
        RouteOutcome::NoHost | RouteOutcome::NoRoute(_) | RouteOutcome::TlsRequired(_) => None,
    }
}

fn name(table: &RouteTable, request: &Request) -> String {
    chosen(table, request, 0).map_or_else(|| "404".to_owned(), |result| result.route.name.clone())
}

fn header(name: &str, check: HeaderCheck) -> HeaderMatch {
    HeaderMatch { name: name.parse().unwrap(), check, invert: false, missing_as_empty: false }
}

fn prefix(text: &str) -> RouteMatch {
    RouteMatch::path(PathMatch::Prefix(text.to_owned()))
}

// Case rt-match-kinds.
#[test]
fn the_first_rule_whose_conditions_are_all_met_counts() {
    let with_header = |path: &str, rule: HeaderMatch| {
        let mut matcher = prefix(path);
        matcher.headers.push(rule);
        matcher
    };
    let mut query = prefix("/q");
    let exact_one = QueryCheck::Text(StringMatch::exact("1"));
    query.query.push(QueryMatch { name: "a".to_owned(), check: exact_one });
    let pattern = Pattern::parse("/re/[0-9]+").unwrap();
    let any_case = RouteMatch { case_sensitive: false, ..prefix("/ci/abc") };
    let no = HeaderMatch { invert: true, ..header("x-no", HeaderCheck::Present(true)) };
    let table = table(vec![
        respond("path", RouteMatch::path(PathMatch::Exact("/exact".to_owned()))),
        respond("sep", RouteMatch::path(PathMatch::SegmentPrefix("/sep".to_owned()))),
        respond("re", RouteMatch::path(PathMatch::Regex(pattern))),
        respond("query", query),
        respond(
            "hdr",
            with_header("/h", header("x-v", HeaderCheck::Text(StringMatch::prefix("abc")))),
        ),
        respond("absent", with_header("/h", header("x-v", HeaderCheck::Present(false)))),
        respond("ci", any_case),
        respond("inv", with_header("/inv", no)),
        respond(
            "rng",
            with_header("/rng", header("x-n", HeaderCheck::Range { start: 10, end: 20 })),
        ),
        respond("default", prefix("/")),
    ]);
    let answers = [
        ("/exact", "path"),
        ("/exact/", "default"),
        ("/sep", "sep"),
        ("/sep/x", "sep"),
        ("/separate", "default"),
        ("/re/12", "re"),
        ("/re/12?x=1", "re"),
        ("/re/12x", "default"),
        ("/q?a=1", "query"),
        ("/q?a=2", "default"),
        ("/h", "absent"),
        ("/EXACT", "default"),
        ("/ci/ABC", "ci"),
        ("/inv", "inv"),
    ];
    for (target, expected) in answers {
        assert_eq!(name(&table, &Request::get(target)), expected, "{target}");
    }
    assert_eq!(name(&table, &Request::get("/h").with("x-v", "abc1")), "hdr");
    assert_eq!(name(&table, &Request::get("/h").with("x-v", "zz")), "default");
    assert_eq!(name(&table, &Request::get("/inv").with("x-no", "1")), "default");
    assert_eq!(name(&table, &Request::get("/rng").with("x-n", "15")), "rng");
    let connect = Request { method: "CONNECT", ..Request::get("") };
    assert_eq!(name(&table, &connect), "404");
}

#[test]
fn a_trace_names_the_condition_that_failed() {
    let mut post = prefix("/a");
    post.headers.push(header(":method", HeaderCheck::Text(StringMatch::exact("POST"))));
    let table = table(vec![
        respond("post", post),
        respond("other", prefix("/b")),
        respond("any", prefix("/")),
    ]);
    Request::get("/a").ask(|facts| {
        let trace = table.trace(facts, 0);
        assert_eq!(trace.domain.unwrap().to_string(), "*");
        let failed: Vec<_> = trace.considered.iter().map(|route| route.failed).collect();
        assert!(matches!(
            failed.as_slice(),
            [Some(Mismatch::Header(rule)), Some(Mismatch::Path(_)), None] if rule.name.as_str() == ":method"
        ));
    });
}

// Case hdr-mutate.
#[test]
fn header_edits_go_from_narrow_to_wide_or_back() {
    let edit = |value: &str| iako_proxy_config::HeaderMutations {
        request_add: vec![HeaderValueOption {
            name: "x-lvl".parse().unwrap(),
            value: value.to_owned(),
            action: AppendAction::AppendOrAdd,
            keep_empty: false,
        }],
        ..Default::default()
    };
    let weighted = ClusterTarget::Weighted(vec![WeightedCluster {
        cluster: "be".to_owned(),
        weight: 1,
        headers: edit("wc"),
        ..WeightedCluster::default()
    }]);
    let mut route = forward(PathMatch::Prefix("/".to_owned()), |action| action.target = weighted);
    route.headers = edit("route");
    let host = VirtualHost {
        domains: vec!["*".parse().unwrap()],
        routes: vec![Arc::new(route)],
        headers: edit("vh"),
        ..VirtualHost::default()
    };
    let mut configuration = RouteConfiguration::new("r", vec![host]);
    configuration.headers = edit("rc");
    let levels = |configuration: RouteConfiguration| {
        let table = RouteTable::compile(Arc::new(configuration));
        let result = chosen(&table, &Request::get("/"), 0).unwrap();
        let edits = result.header_mutations().into_iter();
        edits.map(|edit| edit.request_add[0].value.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(levels(configuration.clone()), "wc route vh rc");
    configuration.most_specific_last = true;
    assert_eq!(levels(configuration), "wc rc vh route");
}

// Fact 7.
#[test]
fn a_rewrite_changes_the_path_and_keeps_the_query() {
    let rewritten = |path: PathMatch, rewrite: PathRewrite, target: &str| {
        let table = table(vec![forward(path, |action| action.path_rewrite = Some(rewrite))]);
        let result = chosen(&table, &Request::get(target), 0).unwrap();
        result.rewritten_path(target)
    };
    let start = |text: &str| PathMatch::Prefix(text.to_owned());
    let to = |text: &str| PathRewrite::Prefix(text.to_owned());
    assert_eq!(rewritten(start("/slash"), to("/"), "/slash/x?y").unwrap(), "//x?y");
    assert_eq!(rewritten(start("/old/"), to("/new/"), "/old/x").unwrap(), "/new/x");
    assert_eq!(rewritten(PathMatch::Exact("/a".into()), to("/b"), "/a?x").unwrap(), "/b?x");
    // The server is told of it all the same.
    assert_eq!(rewritten(start("/a"), to("/a"), "/a/b").unwrap(), "/a/b");
    let pattern = Pattern::parse("/service/([^/]+)(/.*)").unwrap();
    let regex = PathRewrite::Regex { pattern, substitution: r"\2/\1".to_owned() };
    assert_eq!(
        rewritten(start("/"), regex, "/service/foo/v1?q=/service/a/b").unwrap(),
        "/v1/foo?q=/service/a/b"
    );
    let full = PathRewrite::Full("/only".to_owned());
    assert_eq!(rewritten(start("/"), full, "/x?y").unwrap(), "/only?y");
}

#[test]
fn hosts_change_as_told() {
    let table = table(vec![
        forward(PathMatch::Prefix("/auto".into()), |action| {
            action.host_rewrite = Some(HostRewrite::Auto);
        }),
        forward(PathMatch::Prefix("/header".into()), |action| {
            action.host_rewrite = Some(HostRewrite::Header("x-host".parse().unwrap()));
        }),
        forward(PathMatch::Prefix("/".into()), |_| {}),
    ]);
    let change = |request: &Request| {
        let result = chosen(&table, request, 0).unwrap();
        request.ask(|facts| match result.host_change(&facts.head) {
            Some(HostChange::To(host)) => host.into_owned(),
            Some(HostChange::EndpointHostname) => "auto".to_owned(),
            Some(HostChange::Format(format)) => format.to_owned(),
            None => "kept".to_owned(),
        })
    };
    assert_eq!(change(&Request::get("/auto")), "auto");
    assert_eq!(change(&Request::get("/header").with("x-host", "b.test")), "b.test");
    assert_eq!(change(&Request::get("/header")), "kept");
    assert_eq!(change(&Request::get("/")), "kept");
}

#[test]
fn plain_requests_are_sent_to_https_where_it_is_required() {
    let host = VirtualHost {
        domains: vec!["*".parse().unwrap()],
        routes: vec![Arc::new(respond("any", prefix("/")))],
        require_tls: TlsRequirement::ExternalOnly,
        ..VirtualHost::default()
    };
    let table = RouteTable::compile(Arc::new(RouteConfiguration::new("r", vec![host])));
    let outside = Request { authority: "a.test:80", ..Request::get("/x?y") };
    let outcome = outside.ask(|facts| {
        let redirected = matches!(table.route(facts, 0), RouteOutcome::TlsRequired(_));
        redirected.then(|| https_location(&facts.head))
    });
    assert_eq!(outcome.unwrap(), "https://a.test/x?y");
    assert_eq!(name(&table, &Request { internal: true, ..Request::get("/") }), "any");
}

// Cases to-route and grpc-timeout.
#[test]
fn times_come_from_the_route_and_from_those_who_may_ask() {
    let limits = |max: u64| MaxStreamDuration {
        limit: None,
        grpc_timeout_max: Some(Duration::from_secs(max)),
        grpc_timeout_offset: Duration::ZERO,
    };
    let table = table(vec![
        forward(PathMatch::Prefix("/cap".into()), |action| {
            action.max_stream_duration = Some(limits(1));
        }),
        forward(PathMatch::Prefix("/grpc".into()), |action| {
            action.max_stream_duration = Some(limits(0));
        }),
        forward(PathMatch::Prefix("/".into()), |_| {}),
    ]);
    let times = |request: &Request| {
        let result = chosen(&table, request, 0).unwrap();
        let times = request.ask(|facts| result.timeouts(facts, TimeoutRules::default()));
        (times.response.map(|time| time.as_millis()), times.stream.map(|time| time.as_millis()))
    };
    assert_eq!(times(&Request::get("/")), (Some(15_000), None));
    let asking = |target: &str| Request::get(target).with("x-envoy-upstream-rq-timeout-ms", "70");
    assert_eq!(times(&asking("/")), (Some(15_000), None));
    assert_eq!(times(&Request { internal: true, ..asking("/") }), (Some(70), None));
    let grpc = |target: &str| Request::get(target).with("content-type", "application/grpc");
    assert_eq!(times(&grpc("/grpc").with("grpc-timeout", "200m")), (None, Some(200)));
    assert_eq!(times(&grpc("/cap").with("grpc-timeout", "1H")), (None, Some(1_000)));
    assert_eq!(times(&grpc("/cap")), (Some(15_000), None));
    assert_eq!(times(&grpc("/cap").with("grpc-timeout", "junk")), (Some(15_000), None));
}

#[test]
fn a_header_or_the_hash_decides_between_weighted_targets() {
    let target = |name: &str, weight| WeightedCluster {
        cluster: name.to_owned(),
        weight,
        ..WeightedCluster::default()
    };
    let weighted = |share_by: ShareBy| {
        table(vec![forward(PathMatch::Prefix("/".into()), move |action| {
            let named = WeightedCluster {
                cluster_header: Some("x-cluster".parse().unwrap()),
                subset: vec![("v".to_owned(), "2".to_owned())],
                ..target("", 10)
            };
            action.target = ClusterTarget::Weighted(vec![target("a", 30), named]);
            action.subset = vec![("v".to_owned(), "1".to_owned())];
            let source = HashSource::Header { name: "x-user".parse().unwrap(), rewrite: None };
            action.hash = vec![HashPolicy { source, terminal: false }];
            action.share_by = share_by;
        })])
    };
    let to = |table: &RouteTable, request: &Request, draw: u64| {
        let result = chosen(table, request, draw.rotate_right(32)).unwrap();
        let cluster = request.ask(|facts| result.cluster(facts).map(|name| name.into_owned()));
        (cluster, result.subset()[0].1.clone())
    };
    let first = (Some("a".to_owned()), "1".to_owned());
    let second = (Some("c".to_owned()), "2".to_owned());
    let by_header = weighted(ShareBy::Header("x-share".parse().unwrap()));
    let asking = |value: &str| Request::get("/").with("x-cluster", "c").with("x-share", value);
    assert_eq!(to(&by_header, &asking("29"), 35), first);
    assert_eq!(to(&by_header, &asking("70"), 0), second);
    assert_eq!(to(&by_header, &asking("none"), 0), first);
    assert_eq!(to(&by_header, &asking("0").with("x-share", "1"), 35), second, "two values");
    assert_eq!(to(&by_header, &Request::get("/"), 35), (None, "2".to_owned()));
    let by_hash = weighted(ShareBy::Hash);
    let user = |name: &str| Request::get("/").with("x-cluster", "c").with("x-user", name);
    let picks =
        |name: &str| (0..40).map(|draw| to(&by_hash, &user(name), draw)).collect::<Vec<_>>();
    assert!(picks("u1").windows(2).all(|pair| pair[0] == pair[1]));
    let all: Vec<_> = (0..40).map(|user| picks(&user.to_string())[0].clone()).collect();
    assert!(all.contains(&first) && all.contains(&second));
}

#[test]
fn copies_are_those_of_the_narrowest_level_that_has_any() {
    let mirrored = |own: &[&str], host: &[&str], all: &[&str]| {
        let mirrors = |names: &[&str]| names.iter().map(|name| Mirror::to(*name)).collect();
        let route = forward(PathMatch::Prefix("/".into()), |action| action.mirrors = mirrors(own));
        let host = VirtualHost {
            domains: vec!["*".parse().unwrap()],
            routes: vec![Arc::new(route)],
            mirrors: mirrors(host),
            ..VirtualHost::default()
        };
        let mut configuration = RouteConfiguration::new("r", vec![host]);
        configuration.mirrors = mirrors(all);
        let table = RouteTable::compile(Arc::new(configuration));
        let result = chosen(&table, &Request::get("/"), 0).unwrap();
        let mut draw = || 0;
        let found = result.mirrors(&mut draw).map(|mirror| match &mirror.target {
            MirrorTarget::Cluster(name) => name.clone(),
            MirrorTarget::Header(name) => name.to_string(),
        });
        found.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(mirrored(&["a", "b"], &["c"], &["d"]), "a b");
    assert_eq!(mirrored(&[], &["c"], &["d"]), "c");
    assert_eq!(mirrored(&[], &[], &["d"]), "d");
}

#[test]
fn a_server_is_told_the_time_that_is_left() {
    let millis = Duration::from_millis;
    let times = |response: u64, per_try: u64| Timeouts {
        response: (response > 0).then(|| millis(response)),
        per_try: (per_try > 0).then(|| millis(per_try)),
        ..Timeouts::default()
    };
    assert_eq!(times(100, 0).told(millis(0)), Some(100));
    assert_eq!(times(100, 30).told(millis(0)), Some(30));
    assert_eq!(Timeouts { per_try: None, ..times(100, 30) }.told(millis(0)), Some(100));
    assert_eq!(times(100, 30).told(millis(90)), Some(10));
    assert_eq!(times(100, 0).told(millis(200)), Some(1), "zero would be for ever");
    assert_eq!(times(0, 30).told(millis(90)), Some(30));
    assert_eq!(times(0, 0).told(millis(1)), None);
}

#[test]
fn the_old_bound_of_grpc_timeouts_replaces_the_routes_timeout() {
    let bounded = |max: u64, offset: u64| {
        table(vec![forward(PathMatch::Prefix("/".into()), move |action| {
            let max = Duration::from_millis(max);
            let offset = Duration::from_millis(offset);
            action.grpc_timeout = Some(GrpcTimeout { max, offset });
        })])
    };
    let time = |table: &RouteTable, asked: Option<&str>| {
        let request = Request::get("/").with("content-type", "application/grpc");
        let request = match asked {
            Some(asked) => request.with("grpc-timeout", asked),
            None => request,
        };
        let result = chosen(table, &request, 0).unwrap();
        let times = request.ask(|facts| result.timeouts(facts, TimeoutRules::default()));
        assert!(times.tells_grpc && times.stream.is_none());
        times.response.map(|time| time.as_millis())
    };
    assert_eq!(time(&bounded(100, 0), Some("70m")), Some(70));
    assert_eq!(time(&bounded(100, 0), Some("1S")), Some(100));
    assert_eq!(time(&bounded(100, 0), None), Some(100));
    assert_eq!(time(&bounded(0, 20), Some("70m")), Some(50));
    assert_eq!(time(&bounded(0, 70), Some("70m")), Some(70), "an offset that would leave nothing");
    assert_eq!(time(&bounded(0, 0), None), None);
}

#[test]
fn an_upgrade_is_allowed_by_the_route_first() {
    let upgrade = |enabled| UpgradeConfig { protocol: "websocket".to_owned(), enabled };
    let table = table(vec![
        forward(PathMatch::Prefix("/no".into()), |action| action.upgrades.push(upgrade(false))),
        forward(PathMatch::Prefix("/".into()), |_| {}),
    ]);
    let allowed = |target: &str, general: &[UpgradeConfig]| {
        chosen(&table, &Request::get(target), 0).unwrap().allows_upgrade("websocket", general)
    };
    assert!(!allowed("/no", &[upgrade(true)]));
    assert!(allowed("/", &[upgrade(true)]));
    assert!(!allowed("/", &[]));
}

#[test]
fn a_cookie_is_made_when_there_is_none() {
    let cookie = HashSource::Cookie {
        name: "sess".to_owned(),
        ttl: Some(Duration::from_secs(60)),
        path: "/".to_owned(),
        attributes: vec![
            CookieAttribute { name: "SameSite".to_owned(), value: "Lax".to_owned() },
            CookieAttribute { name: "Secure".to_owned(), value: String::new() },
        ],
    };
    let policy = HashPolicy { source: cookie, terminal: false };
    let table =
        table(vec![forward(PathMatch::Prefix("/".into()), |action| action.hash.push(policy))]);
    let hash = |request: &Request| {
        let result = chosen(&table, request, 0).unwrap();
        request.ask(|facts| result.hash(facts, 0xabc))
    };
    let made = hash(&Request::get("/"));
    assert_eq!(
        made.set_cookies[0],
        "sess=\"0000000000000abc\"; Max-Age=60; Path=/; SameSite=Lax; Secure; HttpOnly"
    );
    let sent = hash(&Request::get("/").with("cookie", "a=1; sess=\"0000000000000abc\""));
    assert_eq!((sent.hash, sent.set_cookies.len()), (made.hash, 0));
}

proptest! {
    #[test]
    fn weighted_targets_get_their_shares(weights in proptest::collection::vec(0_u32..50, 1..5)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let target = |(position, weight): (usize, &u32)| WeightedCluster {
            cluster: position.to_string(),
            weight: *weight,
            ..WeightedCluster::default()
        };
        let targets = weights.iter().enumerate().map(target).collect();
        let table = table(vec![forward(PathMatch::Prefix("/".into()), |action| {
            action.target = ClusterTarget::Weighted(targets);
        })]);
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        for draw in 0..u64::from(total) {
            // The draw's upper half decides.
            let result = chosen(&table, &Request::get("/"), draw.rotate_right(32)).unwrap();
            let position: usize = result.weighted.unwrap().cluster.parse().unwrap();
            counts[position] += 1;
        }
        prop_assert_eq!(counts, weights);
    }

    #[test]
    fn the_index_agrees_with_a_walk_over_all_rules(
        rules in proptest::collection::vec(rule(), 0..40),
        targets in proptest::collection::vec("(/[ab]{0,2}){1,3}(\\?[xy])?", 1..12),
        draw in any::<u64>(),
    ) {
        let routes = rules.into_iter().enumerate();
        let table = table(routes.map(|(position, rule)| respond(&position.to_string(), rule)).collect());
        for target in targets {
            let request = Request::get(&target).with("x-v", "a");
            let compiled = chosen(&table, &request, draw).map(|result| result.route.name.clone());
            let walked = request.ask(|facts| match table.trace(facts, draw).outcome {
                RouteOutcome::Matched(result) => Some(result.route.name.clone()),
                RouteOutcome::NoHost
                | RouteOutcome::NoRoute(_)
                | RouteOutcome::TlsRequired(_) => None,
            });
            prop_assert_eq!(compiled, walked);
        }
    }
}

fn rule() -> impl Strategy<Value = RouteMatch> {
    let text = "(/[abAB]{0,2}){1,3}";
    let path = prop_oneof![
        "(/[abAB]{0,2}){0,3}".prop_map(PathMatch::Prefix),
        text.prop_map(PathMatch::SegmentPrefix),
        text.prop_map(PathMatch::Exact),
        "/[ab]{0,2}[.]\\*".prop_map(|text| PathMatch::Regex(Pattern::parse(&text).unwrap())),
        Just(PathMatch::Connect),
    ];
    let header = proptest::option::of("[ab]").prop_map(|value| {
        value.map(|value| header("x-v", HeaderCheck::Text(StringMatch::exact(value))))
    });
    let share = proptest::option::weighted(0.2, Just(Percent::from_whole(50).unwrap()));
    (path, any::<bool>(), header, share).prop_map(|(path, case_sensitive, header, share)| {
        RouteMatch {
            case_sensitive,
            headers: header.into_iter().collect(),
            share: share.map(Into::into),
            ..RouteMatch::path(path)
        }
    })
}
