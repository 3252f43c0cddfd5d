use iako_proxy_config::{
    AccessLogFilter, Action, ClusterTarget, Discovery, Domain, EndpointSet, LogComparison,
    LogSample, OutlierDetection, PathMatch, Route, RouteAction, RouteMatch, RuntimeWritten,
    VirtualHost, WeightedCluster,
};
use iako_types::FractionDenominator;

use super::*;

fn runtime(values: &[(&str, f64)]) -> Runtime {
    let layer: RuntimeValues = values
        .iter()
        .map(|(key, number)| ((*key).to_owned(), RuntimeValue::of_number(*number)))
        .collect();
    Runtime::of_layers([&layer])
}

fn percent(percent: u32) -> Percent {
    Percent::from_whole(percent).unwrap()
}

#[test]
fn later_layers_win_key_by_key() {
    let layer = |pairs: &[(&str, f64)]| -> RuntimeValues {
        let value = |number| RuntimeValue::of_number(number);
        pairs.iter().map(|(key, number)| ((*key).to_owned(), value(*number))).collect()
    };
    let runtime = Runtime::of_layers([&layer(&[("a", 1.0), ("b", 2.0)]), &layer(&[("b", 3.0)])]);
    assert_eq!((runtime.integer("a"), runtime.integer("b"), runtime.len()), (Some(1), Some(3), 2));
    assert_eq!(runtime.integer(""), None);
}

#[test]
fn a_share_is_a_fraction_or_whole_percent() {
    let mut share = Keyed::new(percent(5), "k");
    assert!(runtime(&[("k", 30.0)]).now(&Arc::new(Listener::internal("l"))).chains.is_empty());
    assert!(share.tune(&runtime(&[("k", 30.0)])));
    assert_eq!(share.value, percent(30));
    let fraction = RuntimeValue {
        written: RuntimeWritten::Object,
        fraction: Some(percent(70)),
        ..RuntimeValue::of_text("{}")
    };
    let layer = RuntimeValues::from([("k".to_owned(), fraction)]);
    assert!(share.tune(&Runtime::of_layers([&layer])));
    assert_eq!(share.value, percent(70));
    assert!(!share.tune(&runtime(&[("other", 1.0)])));
    assert!(!Keyed::fixed(percent(5)).tune(&runtime(&[("", 30.0)])));
}

fn table() -> Arc<RouteConfiguration> {
    let forward = |target| Action::Forward(Box::new(RouteAction::to(target)));
    let weighted = ["a", "b"].map(|cluster| WeightedCluster {
        cluster: cluster.to_owned(),
        weight: 1,
        weight_key: Some(format!("w.{cluster}").into()),
        ..WeightedCluster::default()
    });
    let mut matcher = RouteMatch::path(PathMatch::Exact("/s".to_owned()));
    matcher.share = Some(Keyed::new(percent(0), "share"));
    let keyed = Route::new(matcher, forward(ClusterTarget::Cluster("a".to_owned())));
    let split = Route::new(RouteMatch::any(), forward(ClusterTarget::Weighted(weighted.into())));
    let plain = || forward(ClusterTarget::Cluster("c".to_owned()));
    let host = |name: &str, routes: Vec<Route>| {
        let domain = format!("{name}.test").parse::<Domain>().unwrap();
        let routes = routes.into_iter().map(Arc::new).collect();
        let name = name.to_owned();
        VirtualHost { name, domains: vec![domain], routes, ..VirtualHost::default() }
    };
    let hosts = vec![
        host("one", vec![keyed, split]),
        host("two", vec![Route::new(RouteMatch::any(), plain())]),
    ];
    Arc::new(RouteConfiguration::new("r", hosts))
}

#[test]
fn only_what_the_runtime_names_is_copied() {
    let table = table();
    let unchanged = runtime(&[("unknown", 1.0)]).routes(&table);
    assert!(Arc::ptr_eq(&unchanged, &table));
    let changed = runtime(&[("share", 100.0), ("w.b", 7.0)]).routes(&table);
    assert!(Arc::ptr_eq(&changed.virtual_hosts[1], &table.virtual_hosts[1]));
    let routes = &changed.virtual_hosts[0].routes;
    assert_eq!(routes[0].matcher.share.as_ref().unwrap().value, Percent::HUNDRED);
    let Action::Forward(action) = &routes[1].action else { panic!("it forwards") };
    let ClusterTarget::Weighted(targets) = &action.target else { panic!("it is weighted") };
    assert_eq!(targets.iter().map(|target| target.weight).collect::<Vec<_>>(), [1, 7]);
}

#[test]
fn limits_of_clusters_have_keys_by_their_name() {
    let discovery = Discovery::Static(EndpointSet::new("be", Vec::new()));
    let mut cluster = Cluster::new("be", discovery);
    cluster.outlier_detection = Some(OutlierDetection::default());
    let cluster = Arc::new(cluster);
    let now = runtime(&[
        ("circuit_breakers.be.default.max_requests", 3.0),
        ("circuit_breakers.other.default.max_retries", 9.0),
        ("upstream.healthy_panic_threshold", 0.0),
        ("outlier_detection.consecutive_5xx", 2.0),
        ("outlier_detection.interval_ms", 200.0),
    ])
    .cluster(&cluster);
    assert_eq!(now.circuit_breakers.default.requests_max, 3);
    assert_eq!(now.circuit_breakers.high.requests_max, 1024);
    assert_eq!(now.circuit_breakers.default.retries_max, 3);
    assert_eq!(now.panic_threshold, Percent::ZERO);
    let outliers = now.outlier_detection.as_ref().unwrap();
    assert_eq!(outliers.consecutive_5xx, NonZeroU32::new(2));
    assert_eq!(outliers.interval, Duration::from_millis(200));
    let other = runtime(&[("circuit_breakers.other.default.max_retries", 9.0)]).cluster(&cluster);
    assert!(Arc::ptr_eq(&other, &cluster));
}

use std::num::NonZeroU32;

#[test]
fn samples_of_logs_count_in_their_own_parts() {
    let mut sample = AccessLogFilter::Sample(LogSample {
        share: Keyed::new(Percent::ZERO, "s"),
        parts: FractionDenominator::TenThousand,
        draw: iako_proxy_config::LogDraw::default(),
    });
    assert!(sample.tune(&runtime(&[("s", 5_000.0)])));
    let AccessLogFilter::Sample(sample) = sample else { panic!("it stays a sample") };
    assert_eq!(sample.share.value, percent(50));
    let mut status = AccessLogFilter::Status(Keyed::new(LogComparison::AtLeast(500), "t"));
    assert!(status.tune(&runtime(&[("t", 400.0)])));
    let AccessLogFilter::Status(status) = status else { panic!("it stays a comparison") };
    assert_eq!(status.value, LogComparison::AtLeast(400));
}
