//! What is encoded decodes to the same value, without a warning: our control plane says nothing
//! that our proxy does not understand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use iako_proxy_config::xds::{decode, encode, to_json};
use iako_proxy_config::*;
use iako_types::{Locality, Percent};
use proptest::prelude::*;

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn origin() -> RuleOrigin {
    RuleOrigin {
        kind: "HTTPRoute".into(),
        namespace: "shop".into(),
        name: "cart".into(),
        file: "shop.yaml".into(),
        line: 12,
    }
}

fn header(name: &str, value: &str, action: AppendAction) -> HeaderValueOption {
    HeaderValueOption { name: name.parse().unwrap(), value: value.into(), action, keep_empty: true }
}

fn mutations() -> HeaderMutations {
    HeaderMutations {
        request_add: vec![header("x-a", "%REQ(:path)%", AppendAction::AddIfAbsent)],
        request_remove: vec!["x-b".parse().unwrap()],
        response_add: vec![header("x-c", "1", AppendAction::OverwriteIfExists)],
        response_remove: vec!["x-d".parse().unwrap()],
    }
}

fn header_matches() -> Vec<HeaderMatch> {
    let check = |name: &str, check| HeaderMatch {
        name: name.parse().unwrap(),
        check,
        invert: true,
        missing_as_empty: true,
    };
    vec![
        check(":method", HeaderCheck::Text(StringMatch::exact("GET"))),
        check("x-n", HeaderCheck::Range { start: 1, end: 9 }),
        check("x-p", HeaderCheck::Present(false)),
        check("x-r", HeaderCheck::Text(StringMatch::Regex(Pattern::parse("a+").unwrap()))),
    ]
}

fn metadata_match() -> MetadataMatch {
    MetadataMatch {
        filter: "envoy.filters.http.jwt_authn".into(),
        path: vec!["payload".into(), "groups".into()],
        value: MetadataValueMatch::Or(vec![
            MetadataValueMatch::Text(StringMatch::prefix("a")),
            MetadataValueMatch::ListContains(Box::new(MetadataValueMatch::Text(
                StringMatch::suffix("b"),
            ))),
            MetadataValueMatch::Bool(true),
            MetadataValueMatch::Null,
            MetadataValueMatch::Present(true),
        ]),
        invert: true,
    }
}

fn rbac() -> Rbac {
    let policy = Policy {
        permissions: vec![
            Permission::And(vec![
                Permission::Path(StringMatch::prefix("/a")),
                Permission::Not(Box::new(Permission::DestinationPort(80..=80))),
                Permission::DestinationPort(1..=65535),
                Permission::Or(vec![Permission::Any, Permission::Metadata(metadata_match())]),
                Permission::PathTemplate(UriTemplate::parse("/foo/{*}/{**}").unwrap()),
                Permission::DestinationIp("10.0.0.0/8".parse().unwrap()),
                Permission::ServerName(StringMatch::exact("a.test")),
            ]),
            Permission::Header(header_matches().remove(0)),
        ],
        principals: vec![
            Principal::And(vec![
                Principal::Authenticated(Some(StringMatch::exact(
                    "spiffe://cluster.local/ns/a/sa/b",
                ))),
                Principal::Authenticated(None),
                Principal::Not(Box::new(Principal::DirectRemoteIp("::1/128".parse().unwrap()))),
                Principal::RemoteIp("192.0.2.0/24".parse().unwrap()),
                Principal::Or(vec![Principal::Any, Principal::Path(StringMatch::exact("/"))]),
                Principal::Metadata(metadata_match()),
            ]),
            Principal::Header(header_matches().remove(1)),
        ],
        origin: Some(RuleOrigin {
            kind: "AuthorizationPolicy".into(),
            namespace: "shop".into(),
            name: "cart".into(),
            ..RuleOrigin::default()
        }),
    };
    let rules = RbacRules {
        action: RbacAction::Deny,
        policies: BTreeMap::from([("ns[shop]-policy[cart]-rule[0]".to_owned(), policy)]),
    };
    Rbac {
        rules: Some(rules.clone()),
        shadow_rules: Some(RbacRules { action: RbacAction::Log, ..rules }),
        shadow_prefix: "dry_".into(),
        stat_prefix: "tcp.".into(),
    }
}

fn fault() -> Fault {
    Fault {
        delay: Some(Delay {
            fixed: Some(Duration::from_millis(250)),
            share: Percent::from_f64(0.5).unwrap(),
        }),
        abort: Some(Abort {
            status: AbortStatus::Grpc(14),
            share: Percent::from_whole(10).unwrap(),
        }),
        headers: header_matches(),
        upstream_cluster: "c".into(),
        active_max: Some(3),
    }
}

fn overrides() -> FilterOverrides {
    FilterOverrides {
        fault: Some(Box::new(fault())),
        cors: Some(Box::new(CorsPolicy {
            allow_origins: vec![StringMatch::exact("https://a.test")],
            allow_methods: "GET".into(),
            allow_headers: "x-a".into(),
            expose_headers: "x-b".into(),
            max_age: "60".into(),
            allow_credentials: true,
            forward_unmatched_preflights: false,
            enabled: Percent::from_whole(50).unwrap(),
        })),
        rbac: Some(None),
        disabled: BTreeSet::from(["envoy.filters.http.rbac".to_owned(), "other".to_owned()]),
    }
}

fn retry() -> RetryPolicy {
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
        previous_priorities: Some(some(2)),
    }
}

fn route_action(target: ClusterTarget) -> RouteAction {
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
        upgrades: vec![UpgradeConfig { protocol: "websocket".into(), enabled: false }],
        priority: RoutePriority::High,
        subset: vec![("version".into(), "v1".into())],
        ..RouteAction::to(target)
    }
}

fn route_table() -> RouteConfiguration {
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
    let mut matcher = RouteMatch::path(PathMatch::Template(UriTemplate::parse("/a/{*}").unwrap()));
    matcher.case_sensitive = false;
    matcher.headers = header_matches();
    matcher.query = vec![
        QueryMatch { name: "q".into(), check: QueryCheck::Present },
        QueryMatch { name: "r".into(), check: QueryCheck::Text(StringMatch::exact("1")) },
    ];
    matcher.metadata = vec![metadata_match()];
    matcher.grpc_only = true;
    matcher.share = Some(Percent::from_whole(7).unwrap());
    let full = Route {
        name: "r".into(),
        matcher,
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
    let respond = DirectResponse { status: 404, body: bytes::Bytes::from_static(b"no") };
    let path = |path| RouteMatch::path(path);
    let virtual_host = VirtualHost {
        name: "v".into(),
        domains: ["a.test", "*.b.test", "c.*"]
            .iter()
            .map(|domain| domain.parse().unwrap())
            .collect(),
        routes: vec![
            full,
            Route::new(path(PathMatch::SegmentPrefix("/api".into())), Action::Redirect(redirect)),
            Route::new(path(PathMatch::Exact("/x".into())), Action::Respond(respond)),
            Route::new(
                path(PathMatch::Connect),
                Action::Forward(Box::new(RouteAction::to(ClusterTarget::Header(
                    "x-c".parse().unwrap(),
                )))),
            ),
        ],
        require_tls: TlsRequirement::ExternalOnly,
        headers: mutations(),
        retry: Some(RetryPolicy::default()),
        include_attempt_count: true,
        overrides: overrides(),
        origin: Some(origin()),
    };
    RouteConfiguration {
        headers: mutations(),
        most_specific_last: true,
        ignore_port_in_host: true,
        ..RouteConfiguration::new("t", vec![virtual_host])
    }
}

fn tls_options(trust: Trust) -> TlsOptions {
    TlsOptions {
        minimum: TlsVersion::V1_2,
        maximum: Some(TlsVersion::V1_3),
        cipher_suites: vec!["ECDHE-ECDSA-AES256-GCM-SHA384".into()],
        alpn: vec!["istio".into(), "h2".into()],
        certificates: vec![
            CertificateSource::Inline { chain: Pem("chain".into()), key: PrivateKey::new("key") },
            CertificateSource::Sds("default".into()),
        ],
        validation: Validation {
            trust,
            subject_alt_names: vec![
                SanMatch { kind: Some(SanKind::Uri), matcher: StringMatch::exact("spiffe://a/b") },
                SanMatch { kind: None, matcher: StringMatch::suffix(".test") },
            ],
            spki_pins: vec!["pin".into()],
            certificate_hashes: vec!["ab".repeat(32)],
            crl: Some(Pem("crl".into())),
        },
    }
}

fn http_filters() -> Vec<HttpFilter> {
    let filter = |name: &str, kind| HttpFilter { name: name.into(), disabled: false, kind };
    let mut provider = JwtProvider::new(
        "https://issuer",
        Jwks::Remote {
            uri: "https://issuer/keys".into(),
            cluster: "issuer".into(),
            timeout: Duration::from_secs(3),
            cache: Duration::from_secs(300),
        },
    );
    provider.audiences = vec!["a".into()];
    provider.from_headers =
        vec![JwtHeader { name: "x-jwt".parse().unwrap(), prefix: "Bearer ".into() }];
    provider.from_params = vec!["t".into()];
    provider.from_cookies = vec!["c".into()];
    provider.payload_header = Some("x-payload".parse().unwrap());
    provider.claim_to_headers =
        vec![ClaimToHeader { header: "x-sub".parse().unwrap(), claim: "sub".into() }];
    provider.payload_in_metadata = "payload".into();
    provider.space_delimited_claims = vec!["scope".into()];
    provider.clear_route_cache = true;
    let jwt = JwtAuthn {
        providers: BTreeMap::from([
            ("p".to_owned(), provider),
            ("q".to_owned(), JwtProvider::new("", Jwks::Inline("{}".into()))),
        ]),
        rules: vec![
            JwtRule {
                matcher: RouteMatch::any(),
                requirement: Some(JwtRequirement::Any(vec![
                    JwtRequirement::Provider { name: "p".into(), audiences: vec!["b".into()] },
                    JwtRequirement::All(vec![JwtRequirement::Provider {
                        name: "q".into(),
                        audiences: vec![],
                    }]),
                    JwtRequirement::AllowMissing,
                    JwtRequirement::AllowMissingOrFailed,
                ])),
            },
            JwtRule { matcher: RouteMatch::any(), requirement: None },
        ],
        bypass_cors_preflight: true,
    };
    let peer = PeerMetadata {
        downstream_discovery: vec![PeerDiscovery::IstioHeaders, PeerDiscovery::WorkloadDiscovery],
        upstream_discovery: vec![PeerDiscovery::IstioHeaders],
        downstream_propagation: true,
        upstream_propagation: true,
        skip_external: true,
    };
    vec![
        filter("istio.peer_metadata", HttpFilterKind::PeerMetadata(peer)),
        filter("envoy.filters.http.jwt_authn", HttpFilterKind::JwtAuthn(Box::new(jwt))),
        HttpFilter {
            disabled: true,
            ..filter("envoy.filters.http.rbac", HttpFilterKind::Rbac(Box::new(rbac())))
        },
        filter("istio.alpn", HttpFilterKind::Alpn),
        filter("envoy.filters.http.fault", HttpFilterKind::Fault(Box::new(fault()))),
        filter("envoy.filters.http.cors", HttpFilterKind::Cors),
        filter("envoy.filters.http.grpc_stats", HttpFilterKind::GrpcStats),
        filter(
            "istio.stats",
            HttpFilterKind::Stats(StatsFilter {
                overrides: vec![StatsMetricOverride {
                    metric: "requests_total".into(),
                    drop: true,
                    tags_to_remove: vec!["source_app".into()],
                }],
                disable_host_header_fallback: true,
            }),
        ),
        filter(
            "envoy.filters.http.router",
            HttpFilterKind::Router(Router { suppress_envoy_headers: true }),
        ),
    ]
}

fn access_logs() -> Vec<AccessLog> {
    let filter = AccessLogFilter::And(vec![
        AccessLogFilter::Status(LogComparison::AtLeast(500)),
        AccessLogFilter::Or(vec![
            AccessLogFilter::DurationMs(LogComparison::AtMost(5)),
            AccessLogFilter::ResponseFlags(vec!["UH".into()]),
            AccessLogFilter::NotHealthCheck,
            AccessLogFilter::Header(header_matches().remove(0)),
            AccessLogFilter::Sample(Percent::from_whole(1).unwrap()),
            AccessLogFilter::GrpcStatus { statuses: vec![14], exclude: true },
        ]),
    ]);
    vec![
        AccessLog { sink: AccessLogSink::Stdout, format: LogFormat::Default, filter: Some(filter) },
        AccessLog {
            sink: AccessLogSink::File("/tmp/log".into()),
            format: LogFormat::Json {
                fields: vec![("a".into(), "%PROTOCOL%".into()), ("b".into(), "x".into())],
                omit_empty: true,
            },
            filter: None,
        },
        AccessLog {
            sink: AccessLogSink::Stderr,
            format: LogFormat::Text("%PROTOCOL%\n".into()),
            filter: None,
        },
    ]
}

fn manager(routes: RouteSource) -> HttpConnectionManager {
    HttpConnectionManager {
        codec: CodecType::Http1,
        filters: http_filters(),
        server_name: "iako".into(),
        server_header: ServerHeader::PassThrough,
        use_remote_address: true,
        xff_trusted_hops: 2,
        skip_xff_append: true,
        internal_addresses: vec!["10.0.0.0/8".parse().unwrap()],
        via: "v".into(),
        forward_client_cert: ForwardClientCert::AppendForward,
        client_cert_details: ClientCertDetails {
            subject: true,
            cert: true,
            chain: true,
            dns: true,
            uri: true,
        },
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::UnescapeAndRedirect,
        strip_port: StripPort::Any,
        generate_request_id: false,
        preserve_external_request_id: true,
        request_id_in_response: true,
        stream_idle_timeout: None,
        request_timeout: Some(Duration::from_secs(1)),
        request_headers_timeout: Some(Duration::from_secs(2)),
        idle_timeout: None,
        connection_duration_max: Some(Duration::from_secs(3)),
        stream_duration_max: Some(Duration::from_secs(4)),
        requests_per_connection_max: Some(some(9)),
        delayed_close_timeout: Duration::from_secs(6),
        drain_timeout: Duration::from_secs(7),
        request_head_kib_max: 96,
        headers_max: 50,
        underscore_headers: UnderscoreHeaders::Drop,
        http1: Http1Options {
            accept_http_10: true,
            default_host_for_http_10: "d".into(),
            preserve_case: true,
        },
        http2: Http2Options {
            concurrent_streams_max: 7,
            allow_connect: true,
            keepalive_interval: Some(Duration::from_secs(30)),
            ..Http2Options::default()
        },
        upgrades: vec![UpgradeConfig { protocol: "websocket".into(), enabled: true }],
        proxy_100_continue: true,
        append_x_forwarded_port: true,
        access_log: access_logs(),
        tracing: Some(Tracing {
            random_sampling: Percent::from_whole(1).unwrap(),
            overall_sampling: Percent::HUNDRED,
        }),
        ..HttpConnectionManager::new("in", routes)
    }
}

fn listener() -> Listener {
    let chain = |name: &str, terminal| FilterChain {
        name: name.into(),
        matcher: FilterChainMatch::default(),
        transport: DownstreamTransport::Raw,
        handshake_timeout: None,
        filters: Vec::new(),
        terminal,
    };
    let mut tls = chain(
        "tls",
        Terminal::Http(Arc::new(manager(RouteSource::Inline(Arc::new(route_table()))))),
    );
    tls.matcher = FilterChainMatch {
        destination_port: Some(8080),
        destination_ranges: vec!["127.15.0.0/16".parse().unwrap()],
        server_names: vec!["a.test".into(), "*.b.test".into()],
        transport_protocol: Some("tls".into()),
        application_protocols: vec!["istio".into()],
        direct_source_ranges: vec!["10.0.0.0/8".parse().unwrap()],
        source_type: SourceType::External,
        source_ranges: vec!["10.1.0.0/16".parse().unwrap()],
        source_ports: vec![1, 2],
    };
    tls.transport = DownstreamTransport::Tls(Box::new(DownstreamTls {
        options: tls_options(Trust::Sds("ROOTCA".into())),
        require_client_certificate: true,
        require_sni: true,
        session_resumption: false,
    }));
    tls.handshake_timeout = Some(Duration::from_secs(15));
    tls.filters = vec![
        NetworkFilter::Rbac(Box::new(rbac())),
        NetworkFilter::MetadataExchange { protocol: "istio-peer-exchange".into() },
        NetworkFilter::Stats(StatsFilter::default()),
    ];
    let tcp = TcpProxy {
        idle_timeout: None,
        duration_max: Some(Duration::from_secs(60)),
        connect_attempts_max: some(3),
        hash_source_ip: true,
        access_log: access_logs(),
        ..TcpProxy::new("tcp", TcpTarget::Weighted(vec![("a".into(), 1), ("b".into(), 0)]))
    };
    Listener {
        addresses: vec![address("127.15.1.1:15006"), address("[::1]:15006")],
        bind: false,
        use_original_dst: true,
        direction: Direction::Inbound,
        inspectors: ListenerFilters {
            original_dst: true,
            tls: true,
            http: true,
            proxy_protocol: true,
        },
        inspect_timeout: None,
        continue_on_inspect_timeout: true,
        chains: vec![tls],
        default_chain: Some(chain("rest", Terminal::Tcp(Arc::new(tcp)))),
        access_log: access_logs(),
        transparent: true,
        freebind: true,
        backlog: some(128),
        ..Listener::new("virtualInbound", address("127.0.0.1:1"))
    }
}

fn endpoint_set(name: &str) -> EndpointSet {
    let mut workload = Endpoint::at(address("127.15.1.2:8080"));
    workload.hostname = "a".into();
    workload.health = HealthStatus::Draining;
    workload.weight = some(3);
    workload.metadata = EndpointMetadata {
        transport_match: BTreeMap::from([("tlsMode".into(), "istio".into())]),
        lb: BTreeMap::from([("version".into(), "v1".into())]),
        workload: Some(WorkloadLabel {
            workload: "cart-v1".into(),
            namespace: "shop".into(),
            canonical_name: "cart".into(),
            canonical_revision: "v1".into(),
            cluster: "Kubernetes".into(),
        }),
    };
    let pipe = Endpoint {
        address: EndpointAddress::Pipe("/tmp/socket".into()),
        ..Endpoint::at(address("127.0.0.1:1"))
    };
    let place = LocalityEndpoints {
        locality: Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() },
        priority: 0,
        weight: Some(some(5)),
        endpoints: vec![workload, pipe],
    };
    let next = LocalityEndpoints { priority: 1, ..LocalityEndpoints::default() };
    EndpointSet { overprovisioning_factor: some(200), ..EndpointSet::new(name, vec![place, next]) }
}

fn cluster() -> Cluster {
    let tls = |trust| {
        UpstreamTransport::Tls(Box::new(UpstreamTls {
            options: tls_options(trust),
            sni: Some("outbound_.80_._.a.test".into()),
            auto_sni: true,
            auto_san_validation: true,
        }))
    };
    let percent = |whole| Percent::from_whole(whole).unwrap();
    Cluster {
        alt_stat_name: "a;".into(),
        connect_timeout: Duration::from_secs(10),
        lb: LbPolicy::RingHash(RingHash {
            ring_size_min: NonZeroU64::new(64).unwrap(),
            ring_size_max: NonZeroU64::new(128).unwrap(),
            function: HashFunction::Murmur2,
        }),
        subsets: Some(SubsetSelection {
            selectors: vec![vec!["stage".into(), "version".into()]],
            fallback: SubsetFallback::Default(BTreeMap::from([("version".into(), "v1".into())])),
        }),
        panic_threshold: Percent::ZERO,
        locality_weighted: true,
        circuit_breakers: CircuitBreakers {
            default: Thresholds {
                connections_max: u32::MAX,
                retry_budget: Some(RetryBudget { percent: percent(25), retries_min: 4 }),
                ..Thresholds::default()
            },
            high: Thresholds { requests_max: 0, ..Thresholds::default() },
        },
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: None,
            consecutive_gateway_failure: Some(some(5)),
            consecutive_local_origin_failure: None,
            split_local_origin: true,
            interval: Duration::from_secs(1),
            base_ejection_time: Duration::from_secs(180),
            ejection_time_max: Duration::from_secs(300),
            ejection_max: percent(100),
        }),
        http: ClusterHttp {
            protocol: HttpProtocol::Http2,
            idle_timeout: None,
            connection_duration_max: Some(Duration::from_secs(60)),
            requests_per_connection_max: Some(some(10)),
            http2: Http2Options { concurrent_streams_max: 5, ..Http2Options::default() },
            preserve_case: false,
        },
        transport: tls(Trust::System),
        transport_matches: vec![
            TransportMatch {
                name: "tlsMode-istio".into(),
                criteria: BTreeMap::from([("tlsMode".into(), "istio".into())]),
                transport: tls(Trust::Inline(Pem("roots".into()))),
            },
            TransportMatch {
                name: "tlsMode-disabled".into(),
                criteria: BTreeMap::new(),
                transport: UpstreamTransport::Raw,
            },
        ],
        tcp_keepalive: Some(TcpKeepalive {
            probes: Some(some(3)),
            time: Some(Duration::from_secs(60)),
            interval: None,
        }),
        bind_address: Some(address("127.0.0.6:0")),
        dns: DnsOptions {
            refresh_rate: Duration::from_secs(60),
            respect_ttl: true,
            family: DnsFamily::V4Only,
        },
        metadata: ClusterMetadata {
            services: vec![ServiceReference {
                host: "a.shop.svc.cluster.local".into(),
                name: "a".into(),
                namespace: "shop".into(),
            }],
            subset: "v1".into(),
            external: true,
            alpn_override: false,
            origin: Some(origin()),
        },
        ..Cluster::new("outbound|80|v1|a.shop.svc.cluster.local", Discovery::Eds("eds-name".into()))
    }
}

#[test]
fn a_listener_with_everything_comes_back() {
    let value = listener();
    let (back, warnings) = decode::listener(&encode::listener(&value)).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(back, value);
}

#[test]
fn a_route_table_with_everything_comes_back() {
    let value = route_table();
    let (back, warnings) =
        decode::route_configuration(&encode::route_configuration(&value)).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(back, value);
}

#[test]
fn a_cluster_with_everything_comes_back() {
    let value = cluster();
    let (back, warnings) = decode::cluster(&encode::cluster(&value)).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(back, value);
}

#[test]
fn every_kind_of_discovery_and_balancing_comes_back() {
    let named = |mut set: EndpointSet| {
        set.localities[0].endpoints = vec![Endpoint {
            address: EndpointAddress::Host { name: "a.test".into(), port: 80 },
            ..Endpoint::at(address("127.0.0.1:1"))
        }];
        set
    };
    let kinds = [
        Discovery::Static(endpoint_set("c")),
        Discovery::StrictDns(named(endpoint_set("c"))),
        Discovery::LogicalDns(named(endpoint_set("c"))),
        Discovery::OriginalDst { port_override: Some(80) },
    ];
    let policies = [
        LbPolicy::RoundRobin,
        LbPolicy::Random,
        LbPolicy::LeastRequest(LeastRequest { choices: some(4) }),
        LbPolicy::Maglev(MaglevTable { table_size: NonZeroU64::new(251).unwrap() }),
        LbPolicy::ClusterProvided,
    ];
    for kind in kinds {
        let original = matches!(kind, Discovery::OriginalDst { .. });
        for lb in policies.clone() {
            if original != (lb == LbPolicy::ClusterProvided) {
                continue;
            }
            let value = Cluster { lb, ..Cluster::new("c", kind.clone()) };
            let value = Cluster {
                metadata: ClusterMetadata { alpn_override: true, ..value.metadata },
                ..value
            };
            let (back, warnings) = decode::cluster(&encode::cluster(&value)).unwrap();
            assert_eq!((back, warnings), (value, vec![]));
        }
    }
}

#[test]
fn endpoints_and_secrets_come_back() {
    let set = endpoint_set("c");
    assert_eq!(decode::endpoints(&encode::endpoints(&set)).unwrap(), (set, vec![]));
    let kinds = [
        SecretKind::Certificate { chain: Pem("chain".into()), key: PrivateKey::new("key") },
        SecretKind::Trust { roots: Pem("roots".into()), crl: Some(Pem("crl".into())) },
    ];
    for kind in kinds {
        let secret = Secret { name: "s".into(), kind };
        assert_eq!(decode::secret(&encode::secret(&secret)).unwrap(), (secret, vec![]));
    }
}

#[test]
fn a_node_comes_back() {
    let metadata = serde_json::json!({ "NAMESPACE": "shop", "LABELS": { "app": "cart" }, "n": 3 });
    let node = Node {
        id: "sidecar~127.15.1.1~cart.shop~shop.svc.cluster.local".into(),
        cluster: "cart.shop".into(),
        locality: Locality { region: "r".into(), ..Locality::default() },
        metadata: metadata.as_object().unwrap().clone(),
    };
    assert_eq!(decode::node(&encode::node(&node)), node);
}

#[test]
fn a_resource_prints_as_json_with_its_extensions_unpacked() {
    let json = to_json(&encode::listener(&listener()));
    let filter = &json["filter_chains"][0]["filters"][3];
    assert_eq!(json["@type"], "type.googleapis.com/envoy.config.listener.v3.Listener");
    assert_eq!(filter["name"], "envoy.filters.network.http_connection_manager");
    assert_eq!(filter["typed_config"]["route_config"]["virtual_hosts"][0]["domains"][0], "a.test");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use iako_proxy_config::xds::type_url;
        let any = |url: &str| prost_types::Any { type_url: url.to_owned(), value: bytes.clone() };
        drop(decode::listener(&any(type_url::LISTENER)));
        drop(decode::cluster(&any(type_url::CLUSTER)));
        drop(decode::route_configuration(&any(type_url::ROUTE_CONFIGURATION)));
        drop(decode::endpoints(&any(type_url::ENDPOINTS)));
        drop(decode::secret(&any(type_url::SECRET)));
    }

    #[test]
    fn times_and_shares_come_back(seconds in 0u64..100_000_000, nanos in 0u32..1_000_000_000, ppm in 0u32..=1_000_000) {
        let mut action = RouteAction::to(ClusterTarget::Cluster("c".into()));
        action.idle_timeout = Some(Duration::new(seconds, nanos));
        action.mirrors = vec![Mirror {
            cluster: "m".into(),
            share: Percent::from_f64(f64::from(ppm) / 10_000.0).unwrap(),
            keep_host: false,
        }];
        let route = Route::new(RouteMatch::any(), Action::Forward(Box::new(action)));
        let host = VirtualHost { domains: vec![Domain::Any], routes: vec![route], ..VirtualHost::default() };
        let table = RouteConfiguration::new("t", vec![host]);
        let (back, _) = decode::route_configuration(&encode::route_configuration(&table)).unwrap();
        prop_assert_eq!(back, table);
    }
}
