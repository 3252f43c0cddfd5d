use std::time::Duration;

use expect_test::expect;

use super::*;

fn registry() -> (StatsRegistry, Vec<Counter>) {
    let registry = StatsRegistry::new(2);
    let cart = registry.cluster("outbound|80|v1|cart.shop.svc.cluster.local");
    let counters = vec![
        cart.counter("upstream_rq_total"),
        cart.counter("upstream_rq_2xx"),
        cart.counter("upstream_rq_503"),
        registry.listener("127.15.1.1:8080").counter("downstream_cx_total"),
        registry.http("inbound \"x\"").counter("downstream_rq_5xx"),
    ];
    for (amount, counter) in (1..).zip(&counters) {
        counter.add(amount);
    }
    (registry, counters)
}

fn ask(registry: &StatsRegistry, pairs: &[(&str, &str)]) -> String {
    registry.render(&StatsQuery::parse(pairs.iter().copied()).unwrap())
}

#[test]
fn text_is_sorted_and_filtered_by_a_pattern() {
    let (registry, _counters) = registry();
    let live = registry.server().gauge("live");
    live.set(1);
    let time = registry.cluster("a").histogram("upstream_rq_time");
    expect![[r#"
        cluster.outbound|80|v1|cart.shop.svc.cluster.local.upstream_rq_2xx: 2
        cluster.outbound|80|v1|cart.shop.svc.cluster.local.upstream_rq_503: 3
        cluster.outbound|80|v1|cart.shop.svc.cluster.local.upstream_rq_total: 1
        http.inbound "x".downstream_rq_5xx: 5
        listener.127.15.1.1_8080.downstream_cx_total: 4
        server.live: 1
        cluster.a.upstream_rq_time: No recorded values
    "#]]
    .assert_eq(&ask(&registry, &[]));
    time.record(Duration::from_millis(20));
    let filtered = ask(&registry, &[("filter", "rq_time$"), ("usedonly", "")]);
    assert!(filtered.starts_with("cluster.a.upstream_rq_time: P0(nan,"), "{filtered}");
}

#[test]
fn prometheus_has_one_type_line_a_metric_and_escaped_labels() {
    let (registry, _counters) = registry();
    let other = registry.cluster("other").counter("upstream_rq_total");
    other.inc();
    expect![[r#"
        # TYPE envoy_cluster_upstream_rq counter
        envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="outbound|80|v1|cart.shop.svc.cluster.local"} 3
        # TYPE envoy_cluster_upstream_rq_total counter
        envoy_cluster_upstream_rq_total{envoy_cluster_name="other"} 1
        envoy_cluster_upstream_rq_total{envoy_cluster_name="outbound|80|v1|cart.shop.svc.cluster.local"} 1
        # TYPE envoy_cluster_upstream_rq_xx counter
        envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="outbound|80|v1|cart.shop.svc.cluster.local"} 2
        # TYPE envoy_http_downstream_rq_xx counter
        envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="inbound \"x\""} 5
        # TYPE envoy_listener_downstream_cx_total counter
        envoy_listener_downstream_cx_total{envoy_listener_address="127.15.1.1_8080"} 4
    "#]]
    .assert_eq(&ask(&registry, &[("format", "prometheus")]));
}

// A virtual host is no address: its colon stays, and each variable part is a label.
#[test]
fn parts_with_names_of_their_own_are_labels_too() {
    let registry = StatsRegistry::new(1);
    let scope = registry.virtual_host("a:80").named_part("vcluster", "envoy_virtual_cluster", "x");
    let total = scope.counter("upstream_rq_total");
    total.add(3);
    assert_eq!(registry.value("vhost.a:80.vcluster.x.upstream_rq_total"), Some(3));
    expect![[r#"
        # TYPE envoy_vhost_vcluster_upstream_rq_total counter
        envoy_vhost_vcluster_upstream_rq_total{envoy_virtual_host="a:80",envoy_virtual_cluster="x"} 3
    "#]]
    .assert_eq(&ask(&registry, &[("format", "prometheus")]));
}

#[test]
fn json_is_envoys_shape() {
    let registry = StatsRegistry::new(1);
    let total = registry.cluster("a").counter("upstream_rq_total");
    total.add(7);
    expect![[r#"
        {"stats":[{"name":"cluster.a.upstream_rq_total","value":7}]}
    "#]]
    .assert_eq(&ask(&registry, &[("format", "json")]));
}

#[test]
fn a_bad_query_is_answered_with_what_to_do() {
    let error = |pair| StatsQuery::parse([pair]).unwrap_err();
    assert!(error(("filter", "(")).starts_with("filter is no valid regular expression"));
    assert_eq!(
        error(("format", "xml")),
        "format 'xml' is unknown: use text, json, prometheus, html or active-html"
    );
    assert!(error(("histogram_buckets", "all")).contains("cumulative"));
    assert!(error(("hidden", "")).contains("include"));
    let query = [("format", "prometheus"), ("histogram_buckets", "disjoint")];
    assert!(StatsQuery::parse(query).unwrap_err().starts_with("unsupported"));
}

#[test]
fn statistics_survive_a_change_of_configuration_and_go_with_their_cluster() {
    let registry = StatsRegistry::new(1);
    let first = registry.cluster("kept").counter("upstream_rq_total");
    first.inc();
    let gone = registry.cluster("gone").counter("upstream_rq_total");
    gone.inc();
    let again = registry.cluster("kept").counter("upstream_rq_total");
    drop((first, gone));
    registry.sweep();
    again.inc();
    assert_eq!(registry.value("cluster.kept.upstream_rq_total"), Some(2));
    assert_eq!(registry.value("cluster.gone.upstream_rq_total"), None);
}

#[test]
fn workers_count_into_one_statistic() {
    let registry = StatsRegistry::new(2);
    let active = registry.http("in").gauge("downstream_rq_active");
    let threads: Vec<_> = (0..2)
        .map(|worker| {
            let active = active.clone();
            std::thread::spawn(move || {
                crate::bind_worker(worker);
                (0..1_000).for_each(|_| active.inc());
                (0..400).for_each(|_| active.dec());
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(active.value(), 1_200);
}

#[test]
fn histograms_show_the_bounds_that_were_chosen_in_the_form_that_is_asked_for() {
    let registry = StatsRegistry::new(1);
    let meets: NameCheck = Box::new(|name| name.starts_with("cluster.a."));
    registry.choose_bounds(vec![(meets, vec![1.0, 100.0, 1_800_000.0])]);
    let time = registry.cluster("a").histogram("upstream_rq_time");
    [1, 50, 60].iter().for_each(|millis| time.record(Duration::from_millis(*millis)));
    let line = |form| ask(&registry, &[("histogram_buckets", form)]);
    let name = "cluster.a.upstream_rq_time:";
    assert_eq!(line("cumulative"), format!("{name} B1(0,1) B100(0,3) B1.8e+06(0,3)\n"));
    assert_eq!(line("disjoint"), format!("{name} B1(0,1) B100(0,2) B1.8e+06(0,0)\n"));
    assert!(line("detailed").starts_with(&format!("{name}\n  totals=0.")), "{}", line("detailed"));
    assert!(line("summary").starts_with(&format!("{name} P0(nan,")));
    let json = ask(&registry, &[("histogram_buckets", "disjoint"), ("format", "json")]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let bucket = |bound: u64, count: u64| serde_json::json!({"upper_bound": bound, "interval": 0, "cumulative": count});
    assert_eq!(
        json["stats"][0]["histograms"][0]["buckets"],
        serde_json::json!([bucket(1, 1), bucket(100, 2), bucket(1_800_000, 0)])
    );
    let summary = ask(&registry, &[("histogram_buckets", "summary"), ("format", "prometheus")]);
    assert!(summary.starts_with("# TYPE envoy_cluster_upstream_rq_time summary\n"), "{summary}");
    assert!(summary.contains("{envoy_cluster_name=\"a\",quantile=\"0.995\"} "), "{summary}");
    assert_eq!(ask(&registry, &[("hidden", "only")]), "");
}
