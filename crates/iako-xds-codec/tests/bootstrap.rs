//! Bootstrap files: what is taken, and what a mistake looks like.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use expect_test::{Expect, expect};
use iako_proxy_config::{AdminAddress, ConfigSource, Discovery};
use iako_xds_codec::bootstrap;

const FILE: &str = r#"
node: {id: edge, cluster: shop, metadata: {NAMESPACE: shop, n: 3}}
admin:
  address:
    socket_address: {address: 127.0.0.1, port_value: 15000}
dynamic_resources:
  lds_config: {ads: {}, resource_api_version: V3}
  cds_config: {ads: {}, resource_api_version: V3}
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {cluster_name: xds}
static_resources:
  clusters:
  - name: xds
    type: STRICT_DNS
    connectTimeout: 250ms
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: xds
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {socket_address: {address: istiod, port_value: 15010}}
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: web
          cluster: xds
"#;

#[test]
fn a_bootstrap_in_yaml_is_read() {
    let (value, warnings) = bootstrap::parse("b.yaml", FILE).unwrap();
    assert_eq!(warnings, vec![]);
    assert_eq!(value.node.text("NAMESPACE"), "shop");
    assert_eq!(value.node.metadata["n"], 3);
    assert_eq!(value.admin, Some(AdminAddress::Socket("127.0.0.1:15000".parse().unwrap())));
    let ads = value.ads.unwrap();
    assert!(ads.delta && ads.clusters == ["xds"]);
    assert_eq!(value.listener_source, Some(ConfigSource::default()));
    assert_eq!(value.cluster_source, Some(ConfigSource::default()));
    assert_eq!(value.clusters[0].connect_timeout.as_millis(), 250);
    assert!(matches!(value.clusters[0].discovery, Discovery::StrictDns(_)));
    assert_eq!(value.listeners[0].name, "web");
}

#[test]
fn instances_may_be_written_once_and_referred_to_by_name() {
    let plain = "      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {socket_address: {address: istiod, port_value: 15010}}
";
    let named = |name: &str| {
        let address = "{address: {socket_address: {address: istiod, port_value: 15010}}}";
        let places = format!("[{{load_balancer_endpoints: {{lb_endpoints: [{name}]}}}}]");
        let named =
            format!("      named_endpoints: {{one: {address}}}\n      endpoints: {places}\n");
        let file = FILE.replacen(plain, &named, 1);
        assert_ne!(file, FILE);
        bootstrap::parse("b.yaml", &file)
    };
    let expected = bootstrap::parse("b.yaml", FILE).unwrap().0.clusters;
    assert_eq!(named("{endpoint_name: one}").unwrap().0.clusters, expected);
    let error = named("{endpoint_name: two}").unwrap_err().to_string();
    assert!(error.contains("endpoint_name: `two` is not among named_endpoints"), "{error}");
}

#[test]
fn load_is_reported_to_a_service_that_is_there() {
    let with = |cluster: &str| {
        let service = format!("{{envoy_grpc: {{cluster_name: {cluster}}}}}");
        let source =
            format!("{{api_type: GRPC, transport_api_version: V3, grpc_services: [{service}]}}");
        let manager = format!("cluster_manager: {{load_stats_config: {source}}}\nadmin:\n");
        bootstrap::parse("b.yaml", &FILE.replacen("admin:\n", &manager, 1))
    };
    let service = with("xds").unwrap().0.load_reporting.unwrap();
    assert_eq!(service.cluster, "xds");
    let error = with("lrs").unwrap_err().to_string();
    assert!(error.contains("names the cluster `lrs`"), "{error}");
}

fn check_refused(from: &str, to: &str, expected: &Expect) {
    let file = FILE.replacen(from, to, 1);
    assert_ne!(file, FILE);
    expected.assert_eq(&bootstrap::parse("b.yaml", &file).unwrap_err().to_string());
}

#[test]
fn mistakes_are_told_with_their_place_and_what_to_do() {
    check_refused(
        "lb_policy: ROUND_ROBIN",
        "lb_polizy: ROUND_ROBIN",
        &expect![
            "b.yaml:19:5: static_resources.clusters[0].lb_polizy: `envoy.config.cluster.v3.Cluster` has no such field; did you mean `lb_policy`?"
        ],
    );
    check_refused(
        "ROUND_ROBIN",
        "MAGLOV",
        &expect![
            "b.yaml:19:16: static_resources.clusters[0].lb_policy: `MAGLOV` is not a value of this field; write one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED, LOAD_BALANCING_POLICY_CONFIG"
        ],
    );
    check_refused(
        "250ms",
        "soon",
        &expect![
            "b.yaml:18:21: static_resources.clusters[0].connect_timeout: is not a duration; write seconds with an `s`, such as `10s` or `0.25s`"
        ],
    );
    check_refused(
        "port_value: 8080",
        "port_value: 99999",
        &expect![
            "b.yaml:28:64: static_resources.listeners[0].address.socket_address.port_value: 99999 is not a port; write a number from 0 to 65535"
        ],
    );
    check_refused(
        "stat_prefix: web",
        "stat_prefix: web\n          max_early_data_bytes: 1",
        &expect![
            "b.yaml:35:33: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.max_early_data_bytes: is not supported: this proxy does not have it; remove `max_early_data_bytes`; docs/xds-support.md lists what is honoured"
        ],
    );
    check_refused(
        "cluster_name: xds}",
        "cluster_name: xdx}",
        &expect![
            "b.yaml:13:7: dynamic_resources.ads_config.grpc_services: names the cluster `xdx`, which is not among static_resources.clusters; add the cluster, or name one that is there"
        ],
    );
    check_refused(
        "network.tcp_proxy.v3.TcpProxy",
        "network.thrift_proxy.v3.ThriftProxy",
        &expect![
            "b.yaml:33:11: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: the network filter `tcp` (envoy.extensions.filters.network.thrift_proxy.v3.ThriftProxy) is not supported; remove the filter; docs/xds-support.md lists those there are"
        ],
    );
    check_refused(
        "node: {id",
        "node: {id: [}",
        &expect!["b.yaml:2:12: mismatched bracket '[' closed by '}'; write YAML or JSON"],
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_taken_or_refused_without_a_panic(
        text in "[ a-z0-9:{}\\[\\]\"'|>&*!#%@,?\n\t-]{0,200}",
        at in 0_usize..1100,
        noise in "\\PC{0,12}",
    ) {
        drop(bootstrap::parse("b.yaml", &text));
        let mut damaged = FILE.to_owned();
        let at = at.min(damaged.len());
        damaged.insert_str(at, &noise);
        drop(bootstrap::parse("b.yaml", &damaged));
    }
}
