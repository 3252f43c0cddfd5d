//! What the published schemas find, at the place where it stands, and beside what readers say.

use expect_test::{Expect, expect};
use iako_resources::{ReadOptions, read_text};

fn check(text: &str, expected: &Expect) {
    let content = read_text(text, "x.yaml", &ReadOptions::default());
    let mut told = String::new();
    for found in &content.diagnostics {
        let place = format!("{}:{}+{}", found.origin.line, found.origin.column, found.length);
        let (severity, code) = (found.severity, found.code);
        told.push_str(&format!("{place} {severity} {code} {}: {}", found.path, found.message));
        let help = found.help.as_ref().map(|help| format!(" ({help})"));
        told.push_str(&help.unwrap_or_default());
        told.push('\n');
    }
    let kept: Vec<String> = content.resources.iter().map(|kept| kept.key().to_string()).collect();
    told.push_str(&format!("kept: {}\n", kept.join(", ")));
    expected.assert_eq(&told);
}

#[test]
fn what_no_reader_looks_at_is_found_by_the_schema_at_its_place() {
    check(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec:\n  rules:\n  \
         - filters:\n    - type: CORS\n      cors: {allowHeaders: ['*', x-a]}\n    timeouts: {request: 1s, backendRequest: 2s}\n",
        &expect![[r#"
            2:7+9 warning IAKO0009 kind: HTTPRoute is read and checked, not yet applied: the Gateway API comes later; use Istio's Gateway and VirtualService
            8:28+1 error IAKO0031 spec.rules[0].filters[0].cors.allowHeaders: AllowHeaders cannot contain '*' alongside other methods
            9:15+1 error IAKO0031 spec.rules[0].timeouts: backendRequest timeout cannot be longer than request timeout
            kept: 
        "#]],
    );
}

#[test]
fn what_a_reader_has_said_is_not_said_again() {
    check(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec:\n  \
         host: a\n  trafficPolicy:\n    loadBalancer: {simple: RANDOMLY}\n    connectionPool:\n      \
         tcp: {maxConnections: many, connectTimeout: soon}\n    outlierdetection: {}\n",
        &expect![[r#"
            7:28+8 error IAKO0024 spec.trafficPolicy.loadBalancer.simple: expected one of UNSPECIFIED, LEAST_REQUEST, LEAST_CONN, ROUND_ROBIN, RANDOM, PASSTHROUGH, found "RANDOMLY" (did you mean RANDOM?)
            9:29+4 error IAKO0021 spec.trafficPolicy.connectionPool.tcp.maxConnections: expected a whole number, found the text "many"
            9:51+4 error IAKO0025 spec.trafficPolicy.connectionPool.tcp.connectTimeout: "soon" is no duration (write a number with a unit, such as 500ms, 1.5s, 10m or 1h)
            10:5+16 error IAKO0020 spec.trafficPolicy.outlierdetection: there is no field "outlierdetection" here (did you mean outlierDetection?)
            kept: 
        "#]],
    );
}

#[test]
fn kinds_of_kubernetes_are_warned_about_fields_and_refused_for_types() {
    check(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replica: 2\n  \
         selector: {matchLabels: {app: a}}\n  template:\n    metadata: {labels: {app: a}}\n    spec:\n      \
         containers:\n      - name: a\n        imagePulPolicy: Always\n        resources: {limits: {cpu: 1}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec:\n  clusterIp: None\n  \
         ports: [{port: 80, nodePort: none}]\n",
        &expect![[r#"
            5:3+7 warning IAKO0020 spec.replica: there is no field "replica" here (did you mean replicas?)
            12:9+14 warning IAKO0020 spec.template.spec.containers[0].imagePulPolicy: there is no field "imagePulPolicy" here (did you mean imagePullPolicy?)
            19:3+9 warning IAKO0020 spec.clusterIp: there is no field "clusterIp" here (did you mean clusterIP?)
            20:32+4 error IAKO0021 spec.ports[0].nodePort: expected a whole number, found the text "none"
            kept: Deployment default/a
        "#]],
    );
}

#[test]
fn versions_that_will_go_name_their_successor() {
    check(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: a}\nspec:\n  \
         rules: [{backendRefs: [{name: a, port: 80}]}]\n",
        &expect![[r#"
            1:13+34 warning IAKO0042 apiVersion: v1alpha2 of TCPRoute is deprecated (write apiVersion: gateway.networking.k8s.io/v1)
            2:7+8 warning IAKO0009 kind: TCPRoute is read and checked, not yet applied: the Gateway API comes later; use Istio's Gateway and VirtualService
            kept: TCPRoute default/a
        "#]],
    );
}
