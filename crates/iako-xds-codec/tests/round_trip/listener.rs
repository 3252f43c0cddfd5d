//! A listener with everything.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use iako_proxy_config::*;
use iako_types::Percent;

use crate::callouts;
use crate::content;
use crate::login;
use crate::matching::{client_cert_rules, early_headers, local_reply};
use crate::route::route_table;
use crate::shared::*;
use crate::steps;
use crate::tracing;

/// A table in its place: only one that is sent asks for more of itself.
fn inline_table() -> RouteSource {
    let table = RouteConfiguration { virtual_host_source: None, ..route_table() };
    RouteSource::Inline(Arc::new(table))
}

#[expect(clippy::too_many_lines, reason = "one entry for each kind of filter")]
pub(crate) fn http_filters() -> Vec<HttpFilter> {
    let filter = |name: &str, kind| HttpFilter { name: name.into(), disabled: false, kind };
    let peer = PeerMetadata {
        downstream_discovery: vec![PeerDiscovery::IstioHeaders, PeerDiscovery::WorkloadDiscovery],
        upstream_discovery: vec![PeerDiscovery::IstioHeaders],
        downstream_propagation: true,
        upstream_propagation: true,
        skip_external: true,
    };
    let [answers, passes] = steps::health_checks();
    vec![
        filter("istio.peer_metadata", HttpFilterKind::PeerMetadata(peer)),
        filter("envoy.filters.http.jwt_authn", HttpFilterKind::JwtAuthn(Box::new(jwt_authn()))),
        HttpFilter {
            disabled: true,
            ..filter("envoy.filters.http.rbac", HttpFilterKind::Rbac(Box::new(rbac())))
        },
        filter("edits", HttpFilterKind::HeaderMutation(Box::new(header_mutation()))),
        filter("facts", HttpFilterKind::HeaderToMetadata(Box::new(header_to_metadata()))),
        filter("own facts", HttpFilterKind::SetMetadata(set_metadata())),
        filter("istio.alpn", HttpFilterKind::Alpn),
        filter("envoy.filters.http.fault", HttpFilterKind::Fault(Box::new(fault()))),
        filter("envoy.filters.http.cors", HttpFilterKind::Cors),
        filter("az", HttpFilterKind::ExtAuthz(Box::new(callouts::authz()))),
        filter("ep", HttpFilterKind::ExtProc(Box::new(callouts::processing()))),
        filter("rl", HttpFilterKind::GlobalRateLimit(Box::new(callouts::global_limit()))),
        filter("lrl", HttpFilterKind::LocalRateLimit(Box::new(callouts::local_limit()))),
        filter("skipped", HttpFilterKind::Matched(Box::new(callouts::matched()))),
        filter("chosen", HttpFilterKind::Composite(Box::new(callouts::composite()))),
        filter("adm", HttpFilterKind::AdmissionControl(Box::new(callouts::admission()))),
        filter(
            "cc",
            HttpFilterKind::AdaptiveConcurrency(Box::new(callouts::concurrency(
                callouts::measured(),
            ))),
        ),
        filter(
            "cf",
            HttpFilterKind::AdaptiveConcurrency(Box::new(callouts::concurrency(LeastTime::Fixed(
                Duration::from_millis(12),
            )))),
        ),
        filter("envoy.filters.http.grpc_web", HttpFilterKind::GrpcWeb),
        filter(
            "envoy.filters.http.grpc_stats",
            HttpFilterKind::GrpcStats(Box::new(steps::grpc_stats())),
        ),
        filter("content.buffer", HttpFilterKind::Buffer(content::buffer())),
        filter("content.gzip", HttpFilterKind::Compressor(Box::new(content::compressor()))),
        filter("content.old", HttpFilterKind::Compressor(Box::new(content::old_compressor()))),
        filter("content.read", HttpFilterKind::Decompressor(Box::new(content::decompressor()))),
        filter(
            "content.limit",
            HttpFilterKind::BandwidthLimit(Box::new(content::bandwidth_limit())),
        ),
        filter("content.csrf", HttpFilterKind::Csrf(Box::new(content::csrf()))),
        filter(
            "content.instead",
            HttpFilterKind::CustomResponse(Box::new(content::custom_response())),
        ),
        filter(
            "login.secret",
            HttpFilterKind::CredentialInjector(Box::new(login::secret_in_header())),
        ),
        filter(
            "login.token",
            HttpFilterKind::CredentialInjector(Box::new(login::token_in_header())),
        ),
        filter("login.here", HttpFilterKind::OAuth2(Some(Box::new(login::oauth2())))),
        filter("login.routes", HttpFilterKind::OAuth2(None)),
        filter("steps.json", HttpFilterKind::JsonToMetadata(Box::new(steps::json_to_metadata()))),
        filter("steps.state", HttpFilterKind::SetState(Box::new(steps::set_state()))),
        filter("steps.health", HttpFilterKind::HealthCheck(Box::new(answers))),
        filter("steps.cached", HttpFilterKind::HealthCheck(Box::new(passes))),
        filter("steps.tags", HttpFilterKind::IpTagging(Box::new(steps::ip_tagging()))),
        filter("content.cache", HttpFilterKind::Cache(Box::new(content::cache()))),
        filter(
            "envoy.filters.http.on_demand",
            HttpFilterKind::OnDemand(Box::new(OnDemand { clusters: Some(on_demand_clusters()) })),
        ),
        filter(
            "sent.apart",
            HttpFilterKind::Discovered(Box::new(discovered(
                "sent.apart",
                "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
                HttpFilterKind::GrpcWeb,
            ))),
        ),
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
            HttpFilterKind::Router(Router {
                suppress_envoy_headers: true,
                strict_headers: StrictHeader::ALL.to_vec(),
                respect_expected_timeout: true,
                child_spans: true,
            }),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "one value with every field set")]
pub(crate) fn manager(routes: RouteSource) -> HttpConnectionManager {
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
        client_cert_rules: Some(Box::new(client_cert_rules())),
        early_headers: early_headers(),
        add_user_agent: true,
        scheme: SchemeChange::Overwrite("https".into()),
        local_reply: local_reply(),
        strip_trailing_dot: true,
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
        connection_duration_jitter: Some(Percent::from_whole(20).unwrap()),
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
            name_case: HeaderCase::ProperWords,
            trailers: true,
        },
        http2: Http2Options {
            concurrent_streams_max: 7,
            allow_connect: true,
            keepalive_interval: Some(Duration::from_secs(30)),
            header_table_bytes: 8192,
            floods: Http2Floods {
                outbound_frames_max: 11,
                outbound_control_frames_max: 12,
                empty_frames_max: 13,
                priority_frames_max: 14,
                window_updates_max: 15,
            },
            ..Http2Options::default()
        },
        upgrades: vec![UpgradeConfig { protocol: "websocket".into(), enabled: true }],
        proxy_100_continue: true,
        append_x_forwarded_port: true,
        scheme_by_port: BTreeMap::from([
            (80, ForwardedScheme::Http),
            (443, ForwardedScheme::Https),
        ]),
        access_log: access_logs(),
        access_log_times: HttpLogTimes {
            interval: Some(Duration::from_millis(1_500)),
            on_start: true,
            on_tunnel: true,
        },
        request_id_traces: RequestIdTraces { packs_reason: false, decides: false },
        tracing: Some(tracing::tracing()),
        ..HttpConnectionManager::new("in", routes)
    }
}

fn inspectors() -> Vec<ListenerFilter> {
    let proxy = ProxyProtocol {
        optional: true,
        version_1: false,
        rules: vec![TlvRule {
            kind: 0xea,
            namespace: "n".into(),
            key: "k".into(),
            encoding: TlvEncoding::Base64,
        }],
        pass_through: PassThroughTlvs::Only(vec![1, 2]),
        in_filter_state: true,
        stat_prefix: "p".into(),
        ..ProxyProtocol::default()
    };
    let ports = |start, end| ConnectionPredicate::DestinationPorts { start, end };
    vec![
        ListenerFilter::original_dst(),
        ListenerFilter {
            disabled: Some(ConnectionPredicate::Or(vec![
                ports(1, 2),
                ConnectionPredicate::And(vec![
                    ConnectionPredicate::Any,
                    ConnectionPredicate::Not(Box::new(ports(3, 65_536))),
                ]),
            ])),
            ..ListenerFilter::http()
        },
        ListenerFilter::new(ListenerFilterKind::Tls(TlsInspector {
            hello_bytes_max: 512,
            closes_on_error: true,
        })),
        ListenerFilter::new(ListenerFilterKind::ProxyProtocol(Box::new(proxy))),
        ListenerFilter::new(ListenerFilterKind::OriginalSrc(OriginalSrc {
            bind_port: true,
            mark: NonZeroU32::new(7),
        })),
        ListenerFilter::new(ListenerFilterKind::Discovered(Box::new(discovered(
            "listener.apart",
            "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
            ListenerFilterKind::Http,
        )))),
    ]
}

/// A listener whose chains are chosen by a tree.
pub(crate) fn matched_listener() -> Listener {
    let text = |text: &str| MatchCheck::Text(StringMatch::exact(text));
    let single = |input, check| MatchPredicate::Single { input, check };
    let outcome = |then| MatchOutcome { then, keep_matching: false };
    let chosen = |name: &str| outcome(MatchThen::Action(name.to_owned()));
    let by_name = MatchNode::Prefix {
        input: ConnectionInput::ServerName,
        outcomes: BTreeMap::from([("a.".into(), chosen("a"))]),
    };
    let by_name = Box::new(MatchTree { node: by_name, otherwise: None });
    let ranges = MatchCheck::Ip(vec!["10.0.0.0/8".parse().unwrap()]);
    let near = MatchPredicate::Any(vec![
        single(ConnectionInput::SourceIp, ranges),
        MatchPredicate::Not(Box::new(single(ConnectionInput::DestinationPort, text("80")))),
    ]);
    let local = MatchPredicate::All(vec![
        single(ConnectionInput::SourceType, text("local")),
        single(ConnectionInput::ApplicationProtocol, text("'h2'")),
    ]);
    let matcher = ChainMatcher {
        node: MatchNode::List(vec![
            (near, outcome(MatchThen::Tree(by_name))),
            (local, chosen("a")),
        ]),
        otherwise: Some(Box::new(chosen("b"))),
    };
    let tcp = || {
        let target = TcpTarget::Cluster("c".into());
        Terminal::Tcp(Arc::new(TcpProxy::new("tcp", target)))
    };
    let chain = |name: &str| FilterChain {
        name: name.into(),
        matcher: FilterChainMatch::default(),
        transport: DownstreamTransport::Raw,
        handshake_timeout: None,
        filters: Vec::new(),
        terminal: tcp(),
        metadata: metadata_besides("my.ns"),
    };
    Listener {
        chains: vec![chain("a"), chain("b")],
        chain_matcher: Some(matcher),
        ..Listener::new("matched", address("127.0.0.1:1"))
    }
}

#[expect(clippy::too_many_lines, reason = "one value with every field set")]
pub(crate) fn listener() -> Listener {
    let chain = |name: &str, terminal| FilterChain {
        name: name.into(),
        matcher: FilterChainMatch::default(),
        transport: DownstreamTransport::Raw,
        handshake_timeout: None,
        filters: Vec::new(),
        terminal,
        metadata: FilterMetadata::default(),
    };
    let mut tls = chain("tls", Terminal::Http(Arc::new(manager(inline_table()))));
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
        resumption: SessionResumption {
            tickets: SessionTickets::Keys(vec![TicketKey::new([7; 80])]),
            stored: false,
            lifetime: Some(Duration::from_secs(60)),
        },
        prefer_client_ciphers: true,
        scan_certificates: true,
        stapling: OcspPolicy::Strict,
    }));
    tls.handshake_timeout = Some(Duration::from_secs(15));
    tls.filters = vec![
        NetworkFilter::Rbac(Box::new(Rbac {
            counts_policies: false,
            deny_delay: Some(Duration::from_millis(30)),
            ..rbac()
        })),
        NetworkFilter::MetadataExchange { protocol: "istio-peer-exchange".into() },
        NetworkFilter::Stats(StatsFilter::default()),
        NetworkFilter::Discovered(Box::new(discovered(
            "network.apart",
            "stats.PluginConfig",
            NetworkFilter::Stats(StatsFilter::default()),
        ))),
        NetworkFilter::ConnectionLimit(Box::new(ConnectionLimit {
            stat_prefix: "limit".into(),
            connections_max: std::num::NonZeroU64::new(7).unwrap(),
            delay: Some(Duration::from_millis(20)),
            enabled: Keyed::new(true, "limit.enabled"),
        })),
        NetworkFilter::RateLimit(Box::new(ConnectionRateLimit {
            stat_prefix: "rate".into(),
            tokens: ConnectionTokens {
                max: some(9),
                per_fill: some(3),
                interval: Duration::from_secs(2),
            },
            enabled: Keyed::new(false, "rate.enabled"),
            share_key: "shared".into(),
        })),
        NetworkFilter::SniCluster,
        NetworkFilter::ExtAuthz(Box::new(ConnectionAuthz {
            stat_prefix: "asked".into(),
            service: callouts::service(),
            on_failure: AuthzFailure::Allow,
            enabled_metadata: Some(metadata_match()),
            include_peer_certificate: true,
            include_tls_session: true,
            labels_key: "labels".into(),
            metadata_namespaces: vec!["a".into(), "b".into()],
            only_watches: true,
        })),
        NetworkFilter::GlobalRateLimit(Box::new(GlobalConnectionRate {
            stat_prefix: "counted".into(),
            service: GrpcService {
                timeout: Some(Duration::from_millis(70)),
                ..callouts::service()
            },
            domain: "d".into(),
            descriptors: vec![
                vec![("a".into(), "%DOWNSTREAM_LOCAL_PORT%".into()), ("b".into(), "2".into())],
                vec![("c".into(), "3".into())],
            ],
            failure_denies: true,
            enabled: Keyed::new(Percent::HUNDRED, GlobalConnectionRate::ENABLED_KEY),
            enforced: Keyed::new(Percent::HUNDRED, GlobalConnectionRate::ENFORCED_KEY),
        })),
        NetworkFilter::SetState(Box::new(SetConnectionState {
            on_connection: vec![state("envoy.upstream.dynamic_host", "")],
            on_handshake: vec![state("own", "envoy.string")],
            on_bytes: vec![state("envoy.upstream.dynamic_port", "")],
        })),
    ];
    let tcp = TcpProxy {
        idle_timeout: None,
        duration_max: Some(Duration::from_secs(60)),
        duration_jitter: Some(Percent::from_whole(10).unwrap()),
        connect_attempts_max: some(3),
        connect_back_off: Some(BackOff {
            base: Duration::from_millis(10),
            max: Duration::from_millis(40),
        }),
        hash_source_ip: true,
        tunnel: Some(Box::new(TcpTunnel {
            hostname: "%REQUESTED_SERVER_NAME%:443".into(),
            method: TunnelMethod::Post { path: "/tunnel".into() },
            headers: mutations().request_add,
        })),
        on_demand: Some(Box::new(on_demand_clusters())),
        access_log_times: TcpLogTimes {
            interval: Some(Duration::from_secs(5)),
            on_connected: true,
            on_start: true,
        },
        access_log: access_logs(),
        ..TcpProxy::new(
            "tcp",
            TcpTarget::Weighted(vec![
                WeightedTcpCluster::new("a", 1),
                WeightedTcpCluster {
                    subset: vec![("version".into(), "v1".into())],
                    ..WeightedTcpCluster::new("b", 2)
                },
            ]),
        )
    };
    Listener {
        addresses: vec![address("127.15.1.1:15006"), address("[::1]:15006")],
        bind: false,
        use_original_dst: true,
        direction: Direction::Inbound,
        pipes: vec![PipeAddress { path: "/run/l.sock".into(), mode: 0o660 }],
        stat_prefix: "in".into(),
        inspectors: inspectors(),
        inspect_timeout: None,
        continue_on_inspect_timeout: true,
        chains: vec![tls],
        default_chain: Some(chain("rest", Terminal::Tcp(Arc::new(tcp)))),
        access_log: access_logs(),
        transparent: true,
        freebind: true,
        backlog: some(128),
        socket: SocketSettings {
            reuse_port: false,
            balance: ConnectionBalance::Exact,
            keepalive: Some(TcpKeepalive {
                probes: Some(some(3)),
                time: Some(Duration::from_secs(9)),
                interval: None,
            }),
            fast_open_queue: Some(5),
            multipath: true,
            options: vec![SocketOption {
                description: "d".into(),
                level: 1,
                name: 2,
                value: SocketOptionValue::Bytes(vec![0xff, 1].into()),
                state: SocketState::Listening,
            }],
        },
        connections_max: Some(1000),
        ignores_global_limit: true,
        kept_bytes_max: NonZeroU32::new(4096),
        metadata: metadata_besides("iako.listener"),
        ignores_overload: true,
        ..Listener::new("virtualInbound", address("127.0.0.1:1"))
    }
}

fn header_mutation() -> HeaderMutationFilter {
    let added = HeaderEdit::Add(HeaderValueOption {
        name: "x-a".parse().unwrap(),
        value: "1".into(),
        action: AppendAction::AddIfAbsent,
        keep_empty: true,
    });
    HeaderMutationFilter {
        edits: MessageEdits {
            request: vec![added.clone(), HeaderEdit::Remove("x-b".parse().unwrap())],
            query: vec![
                QueryEdit::Remove("q".into()),
                QueryEdit::Add {
                    name: "r".into(),
                    value: "v".into(),
                    action: AppendAction::OverwriteIfExists,
                },
            ],
            response: vec![HeaderEdit::RemoveMatching(StringMatch::prefix("x-")), added],
        },
        narrowest_wins: true,
    }
}

fn header_to_metadata() -> HeaderToMetadata {
    let fact = HeaderFact {
        namespace: "n".into(),
        key: "k".into(),
        value: String::new(),
        rewrite: Some((Pattern::parse("a+").unwrap(), "b".into())),
        kind: HeaderFactKind::Number,
        base64: true,
    };
    let missing = HeaderFact {
        value: "none".into(),
        rewrite: None,
        kind: HeaderFactKind::Text,
        base64: false,
        ..fact.clone()
    };
    let rule = HeaderFactRule {
        source: HeaderFactSource::Header("x-h".parse().unwrap()),
        present: Some(fact),
        missing: Some(missing),
        remove: true,
    };
    let cookie = HeaderFactRule {
        source: HeaderFactSource::Cookie("c".into()),
        missing: None,
        remove: false,
        ..rule.clone()
    };
    HeaderToMetadata { request: vec![rule.clone(), cookie], response: vec![rule] }
}

fn set_metadata() -> SetMetadata {
    let value = serde_json::json!({"a": "b", "l": [1.5, null, true]});
    let value = value.as_object().cloned().unwrap();
    let entry = MetadataEntry { namespace: "n".into(), value, joins: true };
    SetMetadata { entries: vec![entry.clone(), MetadataEntry { joins: false, ..entry }] }
}

fn jwt_state_rules() -> JwtStateRules {
    JwtStateRules {
        name: "who".into(),
        requirements: BTreeMap::from([
            ("a".to_owned(), Some(JwtRequirement::AllowMissing)),
            ("b".to_owned(), None),
        ]),
    }
}

fn jwt_authn() -> JwtAuthn {
    let mut provider = JwtProvider::new(
        "https://issuer",
        Jwks::Remote {
            uri: "https://issuer/keys".into(),
            cluster: "issuer".into(),
            timeout: Duration::from_secs(3),
            cache: Duration::from_secs(300),
            retry: Some(FetchRetry {
                retries_max: 3,
                pause: Duration::from_millis(5),
                pause_max: Duration::from_millis(9),
            }),
        },
    );
    provider.subjects = Some(StringMatch::prefix("spiffe://"));
    provider.require_expiration = true;
    provider.lifetime_max = Some(Duration::from_secs(60));
    provider.pad_payload_header = true;
    provider.header_in_metadata = "header".into();
    provider.failed_status_in_metadata = "why".into();
    provider.audiences = vec!["a".into()];
    provider.from_headers =
        vec![JwtHeader { name: "x-jwt".parse().unwrap(), prefix: "Bearer ".into() }];
    provider.from_params = vec!["t".into()];
    provider.from_cookies = vec!["c".into()];
    provider.payload_header = Some("x-payload".parse().unwrap());
    provider.claim_to_headers = vec![
        ClaimToHeader { header: "x-sub".parse().unwrap(), claim: vec!["a".into(), "b".into()] },
        ClaimToHeader { header: "x-url".parse().unwrap(), claim: vec!["a.b".into()] },
    ];
    provider.payload_in_metadata = "payload".into();
    provider.space_delimited_claims = vec!["scope".into()];
    provider.clear_route_cache = true;
    JwtAuthn {
        state_rules: Some(jwt_state_rules()),
        providers: BTreeMap::from([
            ("p".to_owned(), provider),
            ("q".to_owned(), JwtProvider::new("", Jwks::Inline("{}".into()))),
        ]),
        rules: vec![
            JwtRule {
                matcher: RouteMatch::any(),
                requirement: Some(JwtRequirement::Any(vec![
                    JwtRequirement::Provider { name: "p".into(), audiences: vec!["b".into()] },
                    JwtRequirement::All(vec![
                        JwtRequirement::Provider { name: "q".into(), audiences: vec![] },
                        JwtRequirement::AllowMissing,
                    ]),
                    JwtRequirement::AllowMissing,
                    JwtRequirement::AllowMissingOrFailed,
                ])),
            },
            JwtRule { matcher: RouteMatch::any(), requirement: None },
            JwtRule {
                matcher: RouteMatch::any(),
                requirement: Some(JwtRequirement::ExtractOnly {
                    header: "x-good".parse().unwrap(),
                }),
            },
        ],
        bypass_cors_preflight: true,
        requirements: BTreeMap::from([
            ("one".to_owned(), Some(JwtRequirement::AllowMissing)),
            ("none".to_owned(), None),
        ]),
        strip_failure_response: true,
        stat_prefix: "mine".into(),
    }
}

pub(crate) fn udp_listener() -> Listener {
    let proxy = UdpProxy {
        idle_timeout: Duration::from_secs(5),
        hash: Some(UdpHash::SourceIp),
        per_datagram: true,
        datagram_bytes_max: std::num::NonZeroU16::new(9000).unwrap(),
        access_log: access_logs(),
        proxy_access_log: access_logs(),
        ..UdpProxy::new("dns", "resolvers")
    };
    Listener {
        kind: ListenerKind::Udp(Arc::new(proxy)),
        addresses: vec![address("127.15.1.1:53"), address("[::1]:53")],
        access_log: access_logs(),
        ..Listener::new("dns", address("127.0.0.1:1"))
    }
}

fn state(key: &str, factory: &str) -> FilterStateValue {
    FilterStateValue {
        key: key.into(),
        factory: factory.into(),
        value: LogFormat::Text("%REQUESTED_SERVER_NAME%".into()),
        skips_empty: true,
        read_only: false,
        shared: SharedState::No,
    }
}
