//! A cluster with everything.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use iako_proxy_config::*;
use iako_types::{Locality, Percent};

use crate::shared::*;

pub(crate) fn endpoint_set(name: &str) -> EndpointSet {
    let mut workload = Endpoint::at(address("127.15.1.2:8080"));
    workload.hostname = "a".into();
    workload.health = HealthStatus::Draining;
    workload.weight = some(3);
    workload.check = EndpointCheck {
        address: Some(address("127.15.1.2:9")),
        port: Some(8081),
        hostname: "check.test".into(),
        disabled: true,
    };
    workload.metadata = EndpointMetadata {
        transport_match: BTreeMap::from([("tlsMode".into(), "istio".into())]),
        // Numbers are texts to balancers, and stay what they are beside.
        lb: BTreeMap::from([("version".into(), "v1".into()), ("x".into(), "1".into())]),
        lb_lists: BTreeMap::from([("stages".into(), vec!["a".into(), "b".into()])]),
        workload: Some(WorkloadLabel {
            workload: "cart-v1".into(),
            namespace: "shop".into(),
            canonical_name: "cart".into(),
            canonical_revision: "v1".into(),
            cluster: "Kubernetes".into(),
        }),
        rest: metadata_besides("envoy.lb"),
    };
    let pipe = Endpoint {
        address: EndpointAddress::Pipe("/tmp/socket".into()),
        additional_addresses: vec![address("[::1]:1")],
        ..Endpoint::at(address("127.0.0.1:1"))
    };
    let internal = Endpoint {
        address: EndpointAddress::Internal { listener: "within".into(), id: "a".into() },
        ..Endpoint::at(address("127.0.0.1:1"))
    };
    let place = LocalityEndpoints {
        locality: Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() },
        priority: 0,
        weight: Some(some(5)),
        endpoints: vec![workload, pipe, internal],
    };
    let next = LocalityEndpoints { priority: 1, ..LocalityEndpoints::default() };
    EndpointSet {
        overprovisioning_factor: some(200),
        weighted_health: true,
        drop: Some(DropOverload {
            category: "throttle".into(),
            share: Percent::from_whole(3).unwrap(),
        }),
        stale_after: Some(Duration::from_secs(30)),
        ..EndpointSet::new(name, vec![place, next])
    }
}

#[expect(clippy::too_many_lines, reason = "one value with every field set")]
pub(crate) fn cluster() -> Cluster {
    let tls = |trust| {
        UpstreamTransport::Tls(Box::new(UpstreamTls {
            options: tls_options(trust),
            sni: Some("outbound_.80_._.a.test".into()),
            auto_sni: true,
            auto_host_sni: true,
            auto_san_validation: true,
            sessions_max: Some(3),
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
            hashing: ConsistentHashing { use_hostname: true, ..ConsistentHashing::default() },
        }),
        subsets: subsets(),
        panic_threshold: Percent::ZERO,
        localities: LocalityBalancing::Weighted,
        override_statuses: OverrideStatuses::of([HealthStatus::Healthy, HealthStatus::Draining]),
        circuit_breakers: CircuitBreakers {
            default: Thresholds {
                connections_max: u32::MAX,
                retry_budget: Some(RetryBudget {
                    percent: percent(25),
                    retries_min: 4,
                    interval: Duration::from_millis(100),
                }),
                pools_max: 7,
                track_remaining: true,
                ..Thresholds::default()
            },
            high: Thresholds { requests_max: 0, ..Thresholds::default() },
            host_connections_max: Some(3),
            high_host_connections_max: Some(0),
        },
        outlier_detection: outlier_detection(),
        health_check: Some(health_check()),
        membership: Membership {
            ignore_health_on_removal: true,
            close_on_set_change: true,
            ignore_new_until_checked: true,
            wait_for_checks: false,
        },
        http: http(),
        connecting: Connecting {
            ahead: Preconnect { per_instance: 1.5 },
            addresses: AddressOrder { first: FirstFamily::V6, count: some(2) },
            per_client: true,
            close_on_failure: true,
        },
        transport: tls(Trust::System),
        proxy_protocol: Some(Box::new(proxy_protocol())),
        transport_matches: vec![
            TransportMatch {
                name: "tlsMode-istio".into(),
                criteria: BTreeMap::from([("tlsMode".into(), "istio".into())]),
                transport: tls(Trust::Inline(Pem("roots".into()))),
                proxy_protocol: Some(Box::default()),
            },
            TransportMatch {
                name: "tlsMode-disabled".into(),
                criteria: BTreeMap::new(),
                transport: UpstreamTransport::Raw,
                proxy_protocol: None,
            },
        ],
        tcp_keepalive: Some(TcpKeepalive {
            probes: Some(some(3)),
            time: Some(Duration::from_secs(60)),
            interval: None,
        }),
        bind_address: Some(address("127.0.0.6:0")),
        bind_others: vec![address("[::1]:0")],
        dns: DnsOptions {
            refresh_rate: Duration::from_secs(60),
            respect_ttl: true,
            family: DnsFamily::V4Only,
            jitter: Duration::from_secs(1),
            failure_refresh: Some(DnsFailureRefresh {
                first: Duration::from_secs(1),
                max: Duration::from_secs(3),
            }),
            resolvers: vec![address("127.0.0.1:53")],
            use_tcp: true,
            no_search: true,
            query_timeout: Duration::from_secs(2),
            query_tries: some(1),
            ..DnsOptions::default()
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
            rest: metadata_besides("istio"),
        },
        ..Cluster::new("outbound|80|v1|a.shop.svc.cluster.local", Discovery::Eds("eds-name".into()))
    }
}

fn outlier_detection() -> Option<OutlierDetection> {
    Some(OutlierDetection {
        consecutive_5xx: None,
        consecutive_gateway_failure: Some(some(5)),
        consecutive_local_origin_failure: None,
        split_local_origin: true,
        success_rate: SuccessRate { hosts_min: 3, requests_min: 7, deviations_thousandths: 500 },
        failure_percentage: FailurePercentage {
            threshold: Percent::from_whole(40).unwrap(),
            hosts_min: 2,
            requests_min: 9,
        },
        enforcing: Enforcing {
            success_rate: Percent::from_whole(70).unwrap(),
            ..Enforcing::default()
        },
        ejection_time_jitter: Duration::from_secs(7),
        always_eject_one: true,
        uneject_on_good_check: false,
        interval: Duration::from_secs(1),
        base_ejection_time: Duration::from_secs(180),
        ejection_time_max: Duration::from_secs(300),
        ejection_max: Percent::HUNDRED,
    })
}

fn health_check() -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_secs(2),
        intervals: CheckIntervals {
            initial_jitter: Duration::from_millis(10),
            jitter: Duration::from_millis(20),
            jitter_percent: Percent::from_whole(5).unwrap(),
            no_traffic: Duration::from_secs(30),
            no_traffic_healthy: Some(Duration::from_secs(31)),
            unhealthy: Some(Duration::from_secs(3)),
            unhealthy_edge: Some(Duration::from_secs(4)),
            healthy_edge: Some(Duration::from_secs(5)),
            ..CheckIntervals::every(Duration::from_secs(1))
        },
        unhealthy_threshold: some(2),
        healthy_threshold: some(3),
        reuse_connection: false,
        events: HealthEvents {
            files: vec!["/tmp/events".into()],
            all_failures: true,
            all_successes: true,
        },
        alpn: vec!["hc".into()],
        transport_criteria: Some(BTreeMap::from([("tlsMode".into(), "istio".into())])),
        kind: HealthCheckKind::Http(Box::new(HttpCheck {
            method: CheckMethod::Post,
            host: "a.test".into(),
            send: b"ping".to_vec(),
            receive: vec![b"po".to_vec(), b"ng".to_vec()],
            response_bytes_max: 77,
            headers_remove: vec!["user-agent".parse().unwrap()],
            expected: vec![StatusRange { first: 200, end: 300 }],
            retriable: vec![StatusRange { first: 503, end: 504 }],
            http2: true,
            service_name: Some(StringMatch::Prefix { value: "a".into(), ignore_case: false }),
            ..HttpCheck::of("/healthz")
        })),
    }
}

pub(crate) fn subsets() -> Option<SubsetSelection> {
    Some(SubsetSelection {
        selectors: vec![
            SubsetSelector {
                fallback: Some(SelectorFallback::Keys(vec!["version".into()])),
                ..SubsetSelector::new(["version", "stage"])
            },
            SubsetSelector {
                fallback: Some(SelectorFallback::Any),
                single_host: true,
                ..SubsetSelector::new(["stage"])
            },
        ],
        fallback: SubsetFallback::Default,
        default_subset: BTreeMap::from([("version".into(), "v1".into())]),
        locality_weight_aware: true,
        scale_locality_weight: true,
        panic_mode_any: true,
        list_as_any: true,
        metadata_fallback: true,
        allow_redundant_keys: false,
    })
}

fn http() -> ClusterHttp {
    ClusterHttp {
        protocol: HttpProtocol::Http2,
        idle_timeout: None,
        stream_duration_max: Some(Duration::from_secs(8)),
        connection_duration_max: Some(Duration::from_secs(60)),
        connection_duration_jitter: Some(Percent::from_whole(20).unwrap()),
        requests_per_connection_max: Some(some(10)),
        http2: Http2Options { concurrent_streams_max: 5, ..Http2Options::default() },
        name_case: HeaderCase::Lower,
        http1_trailers: false,
        server_name_header: Some("x-server".parse().unwrap()),
    }
}
