//! Parts that several resources have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::content;
use crate::login;
use iako_cel::{Entry, Expression, Literal, Options, Tree};
use iako_proxy_config::*;
use iako_types::{FractionDenominator, Percent};

use crate::callouts;
use crate::steps;
use serde_json::{Map, Value, json};

pub(crate) fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn origin() -> RuleOrigin {
    RuleOrigin {
        kind: "HTTPRoute".into(),
        namespace: "shop".into(),
        name: "cart".into(),
        file: "shop.yaml".into(),
        line: 12,
    }
}

fn conversion() -> Options {
    Options { string_conversion: true, ..Options::default() }
}

/// `request.headers['x-a'] == 'b' && string(source.port) in ['1', {2: b'c'}]`, as a tree.
fn condition() -> Expression {
    let select = |root: &str, field: &str| Tree::Select {
        operand: Box::new(Tree::Name(root.into())),
        field: field.into(),
        is_test: false,
    };
    let call = |function: &str, arguments| Tree::Call {
        target: None,
        function: function.into(),
        arguments,
    };
    let text = |text: &str| Tree::Literal(Literal::Text(text.into()));
    let header = call("_[_]", vec![select("request", "headers"), text("x-a")]);
    let entry = Entry {
        key: Tree::Literal(Literal::Int(2)),
        value: Tree::Literal(Literal::Bytes(b"c".to_vec())),
    };
    let map = Tree::Map { message: String::new(), entries: vec![entry] };
    let listed = call("string", vec![select("source", "port")]);
    let listed = call("@in", vec![listed, Tree::List(vec![text("1"), map])]);
    let both = vec![call("_==_", vec![header, text("b")]), listed];
    Expression::from_tree(call("_&&_", both), conversion()).unwrap()
}

pub(crate) fn header(name: &str, value: &str, action: AppendAction) -> HeaderValueOption {
    HeaderValueOption { name: name.parse().unwrap(), value: value.into(), action, keep_empty: true }
}

pub(crate) fn header_values() -> Vec<HeaderValueOption> {
    vec![header("x-h", "%PROTOCOL%", AppendAction::OverwriteOrAdd)]
}

pub(crate) fn mutations() -> HeaderMutations {
    HeaderMutations {
        request_add: vec![header("x-a", "%REQ(:path)%", AppendAction::AddIfAbsent)],
        request_remove: vec!["x-b".parse().unwrap()],
        response_add: vec![header("x-c", "1", AppendAction::OverwriteIfExists)],
        response_remove: vec!["x-d".parse().unwrap()],
    }
}

pub(crate) fn header_matches() -> Vec<HeaderMatch> {
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

pub(crate) fn metadata_match() -> MetadataMatch {
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
            MetadataValueMatch::Number(Double(1.5)),
            MetadataValueMatch::NumberWithin(Double(-1.0), Double(2.0)),
            MetadataValueMatch::Present(true),
        ]),
        invert: true,
    }
}

pub(crate) fn tls_options(trust: Trust) -> TlsOptions {
    TlsOptions {
        minimum: TlsVersion::V1_2,
        maximum: Some(TlsVersion::V1_3),
        cipher_suites: vec!["ECDHE-ECDSA-AES256-GCM-SHA384".into()],
        curves: vec![Curve::X25519MlKem768, Curve::P256],
        alpn: vec!["istio".into(), "h2".into()],
        certificates: vec![
            CertificateSource::Inline {
                chain: Pem("chain".into()),
                key: PrivateKey::new("key"),
                staple: Some(OcspResponse([0x30, 0xff].into())),
            },
            CertificateSource::Sds("default".into()),
        ],
        validation: Validation {
            trust,
            subject_alt_names: vec![
                SanMatch { kind: Some(SanKind::Uri), matcher: StringMatch::exact("spiffe://a/b") },
                SanMatch { kind: Some(SanKind::Dns), matcher: StringMatch::suffix(".test") },
                SanMatch {
                    kind: Some(SanKind::Other("1.2.3".into())),
                    matcher: StringMatch::exact("a"),
                },
            ],
            spki_pins: vec![format!("{}=", "a".repeat(43))],
            certificate_hashes: vec!["ab".repeat(32)],
            crl: Some(Pem("crl".into())),
            chain: PeerChainRules {
                allow_expired: true,
                accept_untrusted: true,
                depth_max: Some(2),
                crl_of_leaf_only: true,
                hide_authorities: true,
            },
        },
        key_log: Some(TlsKeyLog {
            path: "/tmp/keys".into(),
            local_ranges: vec!["10.0.0.0/8".parse().unwrap()],
            remote_ranges: vec!["::1/128".parse().unwrap()],
        }),
    }
}

fn log_conditions() -> AccessLogFilter {
    AccessLogFilter::And(vec![
        AccessLogFilter::Status(Keyed::new(LogComparison::AtLeast(500), "log.status")),
        AccessLogFilter::Or(vec![
            AccessLogFilter::DurationMs(Keyed::new(LogComparison::AtMost(5), "log.time")),
            AccessLogFilter::ResponseFlags(vec!["UH".into()]),
            AccessLogFilter::NotHealthCheck,
            AccessLogFilter::Header(header_matches().remove(0)),
            AccessLogFilter::Sample(LogSample {
                share: Keyed::new(Percent::from_whole(1).unwrap(), "log.sample"),
                parts: FractionDenominator::TenThousand,
                draw: LogDraw::Independent,
            }),
            AccessLogFilter::Traceable,
            AccessLogFilter::Expression(
                Expression::parse("string(response.code) == '200'", conversion()).unwrap(),
            ),
            AccessLogFilter::Metadata { condition: None, pass_absent: false },
            AccessLogFilter::LogType { types: vec![6], exclude: true },
            AccessLogFilter::GrpcStatus { statuses: vec![14], exclude: true },
        ]),
    ])
}

fn grpc_log() -> GrpcLog {
    GrpcLog {
        stream: LogStreamSettings {
            name: "log".into(),
            kind: GrpcLogKind::Http,
            service: GrpcService { cluster: "logs".into(), ..GrpcService::default() },
            flush_interval: Duration::from_millis(1_500),
            buffer_bytes: 99,
            retries: 2,
        },
        fields: GrpcLogFields {
            request_headers: vec!["x-a".into()],
            response_headers: vec!["x-b".into()],
            response_trailers: vec!["x-c".into()],
            states: vec!["key".into()],
            tags: crate::tracing::tags(),
        },
    }
}

/// What is said besides, in a namespace that facts with fields may be in as well.
pub(crate) fn metadata_besides(namespace: &str) -> FilterMetadata {
    let facts = json!({"x": 1, "y": {"z": [true, "a", 1.5]}});
    let Value::Object(facts) = facts else { unreachable!() };
    FilterMetadata::new([(namespace.to_owned(), facts), ("empty".into(), Map::new())].into())
}

fn otel_log() -> OtelLog {
    OtelLog {
        stream: OtelStreamSettings {
            name: "otel".into(),
            exporter: OtlpExporter::Grpc(GrpcService {
                cluster: "logs".into(),
                ..GrpcService::default()
            }),
            labels: OtelLabels::None,
            resource: Map::from_iter([("r".into(), json!([1, true, 1.5]))]),
            flush_interval: Duration::from_millis(1_500),
            buffer_bytes: 99,
            retries: 2,
        },
        body: Some("%PROTOCOL%".into()),
        attributes: Map::from_iter([("a".into(), json!({"b": ["%PATH%"]}))]),
        states: vec!["key".into()],
        tags: crate::tracing::tags(),
        stat_prefix: "otel".into(),
        calling: conversion(),
    }
}

pub(crate) fn access_logs() -> Vec<AccessLog> {
    vec![
        AccessLog {
            sink: AccessLogSink::Stdout,
            format: LogFormat::Default,
            filter: Some(log_conditions()),
        },
        AccessLog {
            sink: AccessLogSink::File("/tmp/log".into()),
            format: LogFormat::Json(JsonFormat {
                fields: Map::from_iter([
                    ("a".into(), "%PROTOCOL%".into()),
                    ("b".into(), json!({"c": ["x", 1.5, true], "d": {"e": "%PATH%"}})),
                ]),
                omit_empty: true,
                sort: true,
            }),
            filter: None,
        },
        AccessLog {
            sink: AccessLogSink::Grpc(Box::new(grpc_log())),
            format: LogFormat::Default,
            filter: None,
        },
        AccessLog {
            sink: AccessLogSink::OpenTelemetry(Box::new(otel_log())),
            format: LogFormat::Default,
            filter: None,
        },
        AccessLog {
            sink: AccessLogSink::Stderr,
            format: LogFormat::Calling(
                Box::new(LogFormat::Text("%CEL(string(1))%\n".into())),
                conversion(),
            ),
            filter: None,
        },
    ]
}

pub(crate) fn cors() -> CorsPolicy {
    CorsPolicy {
        allow_origins: vec![StringMatch::exact("https://a.test")],
        allow_methods: "GET".into(),
        allow_headers: "x-a".into(),
        expose_headers: "x-b".into(),
        max_age: "60".into(),
        allow_credentials: Some(true),
        allow_private_network: Some(false),
        forward_unmatched_preflights: Some(false),
        enabled: Keyed::new(Percent::from_whole(50).unwrap(), "cors.enabled"),
        shadow_enabled: Percent::from_whole(10).unwrap().into(),
    }
}

pub(crate) fn body_format() -> BodyFormat {
    BodyFormat {
        format: LogFormat::Text("%RESPONSE_CODE%: %LOCAL_REPLY_BODY%".into()),
        content_type: "text/html".into(),
    }
}

/// Settings that come from a server of their own.
pub(crate) fn discovered<Kind>(name: &str, type_name: &str, default: Kind) -> Discovered<Kind> {
    let grpc = GrpcSource { clusters: vec!["ecds".into()], delta: true, ..GrpcSource::default() };
    Discovered {
        name: SourcedName::new(name, ConfigSource::new(ConfigOrigin::Grpc(grpc))),
        type_names: BTreeSet::from([type_name.to_owned(), "some.Other".to_owned()]),
        default: Some(Box::new(default)),
        serves_at_once: true,
    }
}

pub(crate) fn on_demand_clusters() -> OnDemandClusters {
    OnDemandClusters {
        source: ConfigSource { initial_fetch_timeout: None, ..ConfigSource::default() },
        timeout: Duration::from_secs(7),
    }
}

pub(crate) fn overrides() -> FilterOverrides {
    FilterOverrides {
        settings: BTreeMap::from([
            ("f".to_owned(), FilterSettings::Fault(Box::new(fault()))),
            ("c".to_owned(), FilterSettings::Cors(Box::new(cors()))),
            ("r".to_owned(), FilterSettings::Rbac(None)),
            ("rr".to_owned(), FilterSettings::Rbac(Some(Box::new(rbac())))),
            ("j".to_owned(), FilterSettings::JwtRequirement("q".into())),
            ("sk".to_owned(), FilterSettings::Skip(Box::new(callouts::skips()))),
            ("f1".to_owned(), FilterSettings::DynamicForward(ForwardHost::Literal("a:1".into()))),
            (
                "f2".to_owned(),
                FilterSettings::DynamicForward(ForwardHost::Header("x-to".parse().unwrap())),
            ),
            ("az".to_owned(), FilterSettings::ExtAuthz(Box::new(callouts::authz_route()))),
            ("ep".to_owned(), FilterSettings::ExtProc(Box::new(callouts::processing_route()))),
            (
                "rl".to_owned(),
                FilterSettings::GlobalRateLimit(Box::new(callouts::global_limit_route())),
            ),
            (
                "lrl".to_owned(),
                FilterSettings::LocalRateLimit(Box::new(callouts::local_limit_route())),
            ),
            ("o".to_owned(), FilterSettings::OnDemand(Box::default())),
            ("b".to_owned(), FilterSettings::Buffer(content::buffer())),
            ("co".to_owned(), FilterSettings::Compressor(content::compressor_override())),
            ("bw".to_owned(), FilterSettings::BandwidthLimit(Box::new(content::bandwidth_limit()))),
            ("cs".to_owned(), FilterSettings::Csrf(Box::new(content::csrf()))),
            ("js".to_owned(), FilterSettings::JsonToMetadata(Box::new(steps::json_to_metadata()))),
            ("st".to_owned(), FilterSettings::SetState(Box::new(steps::set_state()))),
            ("login".to_owned(), FilterSettings::OAuth2(Box::new(login::oauth2_by_certificate()))),
            ("cr".to_owned(), FilterSettings::CustomResponse(Box::new(content::custom_response()))),
        ]),
        disabled: BTreeSet::from(["r".to_owned(), "other".to_owned()]),
    }
}

pub(crate) fn fault() -> Fault {
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
        downstream_nodes: vec!["n".into()],
        response_rate: Some(ResponseRate {
            kib_per_second: std::num::NonZeroU64::new(9),
            share: Percent::from_whole(20).unwrap(),
        }),
        keys: FaultKeys {
            delay_percent: "f.delay".into(),
            abort_percent: "f.abort".into(),
            delay_duration: "f.time".into(),
            abort_http_status: "f.status".into(),
            active_max: "f.max".into(),
            abort_grpc_status: "f.grpc".into(),
            response_rate_percent: "f.rate".into(),
        },
        ..Fault::default()
    }
}

fn rbac_matcher(action: RbacAction) -> RbacMatcher {
    let choice = |name: &str, action| MatchOutcome {
        then: MatchThen::Action(RbacChoice { name: name.into(), action }),
        keep_matching: false,
    };
    let input = MatchInput::Connection(ConnectionInput::ServerName);
    RbacMatcher::new(MatchTree {
        node: MatchNode::Exact {
            input,
            outcomes: BTreeMap::from([("a.test".to_owned(), choice("known", action))]),
        },
        otherwise: Some(Box::new(choice("others", RbacAction::Deny))),
    })
}

pub(crate) fn rbac() -> Rbac {
    let policy = Policy {
        permissions: vec![
            Permission::And(vec![
                Permission::Path(StringMatch::prefix("/a")),
                Permission::Not(Box::new(Permission::DestinationPort(80..=80))),
                Permission::DestinationPort(1..=65535),
                Permission::Or(vec![Permission::Any, Permission::Metadata(metadata_match())]),
                Permission::Upstream(UpstreamAddress {
                    range: Some("10.0.0.0/8".parse().unwrap()),
                    ports: Some(80..=90),
                }),
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
                Principal::Named(SanMatch {
                    kind: Some(SanKind::Uri),
                    matcher: StringMatch::exact("spiffe://a/b"),
                }),
                Principal::Not(Box::new(Principal::DirectRemoteIp("::1/128".parse().unwrap()))),
                Principal::RemoteIp("192.0.2.0/24".parse().unwrap()),
                Principal::Or(vec![Principal::Any, Principal::Path(StringMatch::exact("/"))]),
                Principal::Metadata(metadata_match()),
                Principal::State(FilterStateMatch {
                    key: "k".into(),
                    check: FilterStateCheck::Text(StringMatch::exact("v")),
                }),
            ]),
            Principal::Header(header_matches().remove(1)),
        ],
        condition: Some(condition()),
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
        matcher: Some(Box::new(rbac_matcher(RbacAction::Allow))),
        shadow_matcher: Some(Box::new(rbac_matcher(RbacAction::Log))),
        shadow_prefix: "dry_".into(),
        counts_policies: true,
        stat_prefix: "tcp.".into(),
        deny_delay: None,
    }
}

pub(crate) fn proxy_protocol() -> ProxyProtocolHeader {
    ProxyProtocolHeader {
        version: ProxyProtocolVersion::V2,
        passed: PassedTlvs::Listed(vec![0xe0, 2]),
        added: vec![ProxyProtocolTlv { kind: 0xe1, value: "v".into() }],
    }
}
