//! What is encoded decodes to the same value, without a warning: our control plane says nothing
//! that our proxy does not understand.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

#[path = "round_trip/callouts.rs"]
mod callouts;
#[path = "round_trip/cluster.rs"]
mod cluster;
#[path = "round_trip/content.rs"]
mod content;
#[path = "round_trip/listener.rs"]
mod listener;
#[path = "round_trip/login.rs"]
mod login;
#[path = "round_trip/matching.rs"]
mod matching;
#[path = "round_trip/route.rs"]
mod route;
#[path = "round_trip/shared.rs"]
mod shared;
#[path = "round_trip/steps.rs"]
mod steps;
#[path = "round_trip/tracing.rs"]
mod tracing;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use iako_proxy_config::*;
use iako_types::{Locality, Percent};
use iako_xds_codec::{decode, encode, to_json};
use proptest::prelude::*;

use crate::cluster::{cluster, endpoint_set};
use crate::listener::{listener, matched_listener, udp_listener};
use crate::route::route_table;
use crate::shared::{address, some, tls_options};

#[test]
fn a_listener_with_everything_comes_back() {
    let value = listener();
    let (back, warnings) = decode::listener(&encode::listener(&value)).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(back, value);
}

#[test]
fn chains_of_protocols_that_are_not_read_come_back() {
    use OpaqueKind::{Mongo, Mysql, Postgres, Redis};
    let opaque = |kind, prefix: &str| {
        NetworkFilter::Opaque(Box::new(OpaqueProtocol { kind, stat_prefix: prefix.into() }))
    };
    let mut value = listener();
    let mut chain = value.chains.remove(0);
    chain.filters = vec![opaque(Mongo, "m"), opaque(Mysql, "my"), opaque(Postgres, "p")];
    let mut redis = chain.clone();
    redis.name = "redis".into();
    redis.filters = vec![NetworkFilter::SniCluster, opaque(Redis, "r")];
    let target = TcpTarget::Cluster("all".into());
    let tcp = TcpProxy { idle_timeout: None, ..TcpProxy::new("r", target) };
    redis.terminal = Terminal::Tcp(Arc::new(tcp));
    redis.matcher.destination_port = Some(6379);
    value.chains = vec![chain, redis];
    // Both kinds are told of: those of which nothing is read, once, and Redis.
    let (back, warnings) = decode::listener(&encode::listener(&value)).unwrap();
    assert_eq!((back, warnings.len()), (value, 2));
}

#[test]
fn listeners_of_datagrams_and_within_the_proxy_come_back() {
    let internal = Listener {
        kind: ListenerKind::Internal,
        addresses: Vec::new(),
        pipes: Vec::new(),
        ..Listener { name: "within".into(), ..listener() }
    };
    for value in [udp_listener(), internal] {
        let (back, warnings) = decode::listener(&encode::listener(&value)).unwrap();
        assert_eq!(warnings, vec![]);
        assert_eq!(back, value);
    }
}

#[test]
fn a_listener_that_chooses_chains_by_a_tree_comes_back() {
    let value = matched_listener();
    assert_eq!(decode::listener(&encode::listener(&value)).unwrap(), (value, vec![]));
}

#[test]
fn a_route_table_with_everything_comes_back() {
    let value = route_table();
    let (back, warnings) =
        decode::route_configuration(&encode::route_configuration(&value)).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(back, value);
}

// What is compiled of a table is kept by these pointers.
#[test]
fn versions_of_a_table_share_what_did_not_change() {
    let table = |changed: &str| {
        let route = |path: &str| {
            let answer = DirectResponse::new(200, bytes::Bytes::new());
            let matcher = RouteMatch::path(PathMatch::Prefix(path.to_owned()));
            Arc::new(Route::new(matcher, Action::Respond(answer)))
        };
        let host = |name: &str, routes| VirtualHost {
            name: name.to_owned(),
            domains: vec![name.parse().unwrap()],
            routes,
            ..VirtualHost::default()
        };
        let hosts = [
            host("same.test", vec![route("/a"), route("/b")]),
            host("other.test", vec![route("/a"), route(changed)]),
        ];
        let value = RouteConfiguration::new("shared", hosts);
        decode::route_configuration(&encode::route_configuration(&value)).unwrap().0
    };
    let (old, new) = (table("/b"), table("/c"));
    assert!(Arc::ptr_eq(&old.virtual_hosts[0], &new.virtual_hosts[0]));
    assert!(!Arc::ptr_eq(&old.virtual_hosts[1], &new.virtual_hosts[1]));
    let routes = |table: &RouteConfiguration| table.virtual_hosts[1].routes.clone();
    assert!(Arc::ptr_eq(&routes(&old)[0], &routes(&new)[0]));
    assert!(!Arc::ptr_eq(&routes(&old)[1], &routes(&new)[1]));
    assert_eq!(routes(&old)[0], routes(&old)[0]);
    assert_ne!(routes(&old)[1], routes(&new)[1]);
}

// A part that was warned of is read again each time, and says so again.
#[test]
fn a_warning_about_an_unchanged_route_is_said_each_time() {
    use iako_xds_api::envoy::config::route::v3 as pb;
    let typed_metadata = || iako_xds_api::envoy::config::core::v3::Metadata {
        typed_filter_metadata: [("a".to_owned(), prost_types::Any::default())].into(),
        ..Default::default()
    };
    let mut any = encode::route_configuration(&route_table());
    let mut message: pb::RouteConfiguration = prost::Message::decode(any.value.as_slice()).unwrap();
    message.virtual_hosts[0].routes[1].metadata = Some(typed_metadata());
    any.value = prost::Message::encode_to_vec(&message);
    let warned = || decode::route_configuration(&any).unwrap().1;
    let first = warned();
    assert_eq!(first.len(), 1);
    assert!(first[0].path.to_string().contains("virtual_hosts[0].routes[1]"), "{first:?}");
    assert_eq!(warned(), first);
}

#[test]
fn every_provider_of_spans_comes_back() {
    for provider in tracing::providers() {
        let mut traced = tracing::tracing();
        traced.provider = Some(Arc::new(provider));
        // A written table has no hosts that are asked for.
        let table = RouteConfiguration { virtual_host_source: None, ..route_table() };
        let routes = RouteSource::Inline(Arc::new(table));
        let manager = HttpConnectionManager { tracing: Some(traced), ..listener::manager(routes) };
        let mut value = listener();
        let chain = value.default_chain.iter_mut().chain(&mut value.chains).next();
        chain.unwrap().terminal = Terminal::Http(Arc::new(manager));
        let (back, warnings) = decode::listener(&encode::listener(&value)).unwrap();
        assert_eq!((back, warnings), (value, vec![]));
    }
}

#[test]
fn what_cannot_stand_beside_the_rest_comes_back() {
    let scoped = RouteSource::Scoped(Arc::new(matching::scoped_routes()));
    let discovered = ScopedRoutes {
        scopes: ScopeSource::Discovered(ConfigSource::default()),
        ..matching::scoped_routes()
    };
    let manager = HttpConnectionManager {
        ip_detection: matching::ip_detection(),
        use_remote_address: false,
        xff_trusted_hops: 0,
        scheme: SchemeChange::MatchUpstream,
        ..listener::manager(scoped)
    };
    let managers = [
        HttpConnectionManager {
            routes: RouteSource::Scoped(Arc::new(discovered)),
            ..manager.clone()
        },
        manager,
    ];
    for manager in managers {
        let mut value = listener();
        let chain = value.default_chain.iter_mut().chain(&mut value.chains).next();
        chain.unwrap().terminal = Terminal::Http(Arc::new(manager));
        let (back, warnings) = decode::listener(&encode::listener(&value)).unwrap();
        assert_eq!((back, warnings), (value, vec![]));
    }
    let formats = RouteAction {
        path_rewrite: Some(PathRewrite::Format("/%PROTOCOL%".into())),
        host_rewrite: Some(HostRewrite::Format("%PROTOCOL%.test".into())),
        ..RouteAction::to(ClusterTarget::Cluster("c".into()))
    };
    let route = Route::new(RouteMatch::any(), Action::Forward(Box::new(formats)));
    let host = VirtualHost {
        domains: vec![Domain::Any],
        routes: vec![Arc::new(route)],
        ..VirtualHost::default()
    };
    let table = RouteConfiguration::new("t", [host]);
    let back = decode::route_configuration(&encode::route_configuration(&table)).unwrap();
    assert_eq!(back, (table, vec![]));
    for value in matching::scopes() {
        assert_eq!(decode::scope(&encode::scope(&value)).unwrap(), (value, vec![]));
    }
}

#[test]
fn a_cluster_with_everything_comes_back() {
    let value = cluster();
    let (back, warnings) = decode::cluster(&encode::cluster(&value)).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(back, value);
}

fn discoveries() -> Vec<Discovery> {
    let named = |mut set: EndpointSet| {
        let endpoint = Endpoint {
            address: EndpointAddress::Host { name: "a.test".into(), port: 80 },
            ..Endpoint::at(address("127.0.0.1:1"))
        };
        if let Some(locality) = set.localities.first_mut() {
            locality.endpoints = vec![endpoint];
        }
        set
    };
    vec![
        Discovery::Static(endpoint_set("c")),
        Discovery::StrictDns(named(endpoint_set("c"))),
        Discovery::LogicalDns(named(endpoint_set("c"))),
        Discovery::OriginalDst { port_override: Some(80), header: None, metadata: None },
        Discovery::OriginalDst {
            port_override: None,
            header: Some("x-to".parse().unwrap()),
            metadata: None,
        },
        Discovery::OriginalDst {
            port_override: None,
            header: None,
            metadata: Some(MetadataPath { filter: "f".into(), path: vec!["a".into(), "b".into()] }),
        },
        Discovery::Aggregate(vec!["a".into(), "b".into()]),
    ]
}

fn policies() -> Vec<LbPolicy> {
    vec![
        LbPolicy::RoundRobin(None),
        LbPolicy::RoundRobin(Some(slow_start())),
        LbPolicy::Random,
        LbPolicy::LeastRequest(LeastRequest { choices: some(4), ..LeastRequest::default() }),
        LbPolicy::LeastRequest(LeastRequest {
            full_scan: true,
            active_request_bias: Keyed::new(0.5, "lb.bias"),
            slow_start: Some(slow_start()),
            ..LeastRequest::default()
        }),
        LbPolicy::Maglev(maglev(ConsistentHashing::default())),
        LbPolicy::Maglev(maglev(ConsistentHashing {
            use_hostname: true,
            balance_factor: Some(some(125)),
            policies: Vec::new(),
        })),
        LbPolicy::Maglev(maglev(ConsistentHashing {
            policies: vec![HashPolicy {
                source: HashSource::QueryParameter("user".into()),
                terminal: true,
            }],
            ..ConsistentHashing::default()
        })),
        LbPolicy::ClientWeighted(Box::new(ClientWeighted {
            blackout: Duration::from_secs(1),
            error_penalty: 0.5,
            metrics: vec!["named_metrics.a".into()],
            slow_start: Some(slow_start()),
            ..ClientWeighted::default()
        })),
        LbPolicy::PeakEwma(PeakEwma { decay: Duration::from_secs(3), ..PeakEwma::default() }),
        LbPolicy::PickFirst(PickFirst { shuffle: true }),
        LbPolicy::ClusterProvided,
    ]
}

#[test]
fn every_kind_of_discovery_and_balancing_comes_back() {
    for kind in discoveries() {
        let original = matches!(kind, Discovery::OriginalDst { .. });
        for lb in policies() {
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
fn every_kind_of_session_comes_back() {
    let states = [
        None,
        Some(SessionState::Cookie(SessionCookie {
            name: "s".into(),
            path: "/p".into(),
            ttl: Some(Duration::from_secs(9)),
            attributes: vec![("SameSite".into(), "Lax".into())],
        })),
        Some(SessionState::Header("x-s".parse().unwrap())),
        Some(SessionState::Envelope("x-s".parse().unwrap())),
    ];
    for state in states {
        let session = StatefulSession { state, strict: true, status_gone: 410 };
        let mut table = route_table();
        for own in [None, Some(Box::new(session))] {
            Arc::make_mut(&mut table.virtual_hosts[0]).overrides.settings =
                std::collections::BTreeMap::from([(
                    "s".to_owned(),
                    FilterSettings::StatefulSession(own),
                )]);
            let (back, warnings) =
                decode::route_configuration(&encode::route_configuration(&table)).unwrap();
            assert_eq!((back, warnings), (table.clone(), vec![]));
        }
    }
}

fn slow_start() -> SlowStart {
    SlowStart {
        aggression: Keyed::new(2.0, "lb.aggression"),
        weight_min: Percent::from_whole(5).unwrap(),
        ..SlowStart::new(Duration::from_secs(60))
    }
}

fn maglev(hashing: ConsistentHashing) -> MaglevTable {
    MaglevTable { table_size: NonZeroU64::new(251).unwrap(), hashing }
}

#[test]
fn policies_around_a_policy_come_back() {
    let zones = ZoneAware {
        enabled: Percent::from_whole(90).unwrap(),
        cluster_size_min: 2,
        fail_on_panic: true,
        ..ZoneAware::default()
    };
    let places = [
        LocalityBalancing::Weighted,
        LocalityBalancing::ZoneAware(zones),
        LocalityBalancing::ZoneAware(ZoneAware {
            force_local: Some(3),
            basis: LocalityBasis::Weight,
            ..zones
        }),
    ];
    let named = OverrideHost {
        sources: vec![
            OverrideSource::Header("x-host".parse().unwrap()),
            OverrideSource::Metadata(MetadataPath {
                filter: "envoy.lb".into(),
                path: vec!["a".into(), "b".into()],
            }),
        ],
        selected_key: Some(MetadataPath { filter: "f".into(), path: vec!["k".into()] }),
    };
    for localities in places {
        for lb in [LbPolicy::RoundRobin(None), LbPolicy::PickFirst(PickFirst::default())] {
            let value = Cluster {
                lb: lb.clone(),
                localities: if matches!(lb, LbPolicy::PickFirst(_)) {
                    LocalityBalancing::Weighted
                } else {
                    localities
                },
                subsets: cluster::subsets(),
                override_host: Some(named.clone()),
                random_subset: Some(some(7)),
                metadata: ClusterMetadata { alpn_override: true, ..Default::default() },
                ..Cluster::new("c", Discovery::Static(endpoint_set("c")))
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
        SecretKind::Certificate {
            chain: Pem("chain".into()),
            key: PrivateKey::new("key"),
            staple: Some(OcspResponse([0x30, 0xff].into())),
        },
        SecretKind::Trust(Box::new(
            tls_options(Trust::Spiffe(vec![("a.test".parse().unwrap(), Pem("roots".into()))]))
                .validation,
        )),
        SecretKind::TicketKeys(vec![TicketKey::new([1; 80]), TicketKey::new([2; 80])]),
        SecretKind::Generic(SecretBytes::new(*b"bytes\xff")),
    ];
    for kind in kinds {
        let secret = Secret { name: "s".into(), kind };
        assert_eq!(decode::secret(&encode::secret(&secret)).unwrap(), (secret, vec![]));
    }
}

#[test]
fn a_private_key_is_never_printed() {
    let json = to_json(&encode::listener(&listener())).to_string();
    assert!(json.contains(r#""private_key":{"inline_string":"[redacted]"}"#), "{json}");
    let (chain, key) = (Pem("c".into()), PrivateKey::new("clear"));
    let kind = SecretKind::Certificate { chain, key, staple: None };
    let json = to_json(&encode::secret(&Secret { name: "s".into(), kind })).to_string();
    assert!(!json.contains("clear"), "{json}");
    let kind = SecretKind::TicketKeys(vec![TicketKey::new([0; 80])]);
    let json = to_json(&encode::secret(&Secret { name: "s".into(), kind })).to_string();
    assert!(!json.contains("AAAA"), "{json}");
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
    let filter = json["filter_chains"][0]["filters"].as_array().unwrap().last().unwrap();
    assert_eq!(json["@type"], "type.googleapis.com/envoy.config.listener.v3.Listener");
    assert_eq!(filter["name"], "envoy.filters.network.http_connection_manager");
    assert_eq!(filter["typed_config"]["route_config"]["virtual_hosts"][0]["domains"][0], "a.test");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use iako_xds_codec::type_url;
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
            share: Percent::from_f64(f64::from(ppm) / 10_000.0).unwrap().into(),
            ..Mirror::to("m")
        }];
        let route = Route::new(RouteMatch::any(), Action::Forward(Box::new(action)));
        let host = VirtualHost { domains: vec![Domain::Any], routes: vec![Arc::new(route)], ..VirtualHost::default() };
        let table = RouteConfiguration::new("t", vec![host]);
        let (back, _) = decode::route_configuration(&encode::route_configuration(&table)).unwrap();
        prop_assert_eq!(back, table);
    }
}
