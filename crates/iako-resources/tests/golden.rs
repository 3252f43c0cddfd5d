//! What a user is told about documents that are wrong.

use expect_test::{Expect, expect};
use iako_resources::{Painter, ReadOptions, Severity, diagnostics_json, read_text, render};

/// Every diagnostic as one line: place, severity, code, path, message, help.
#[expect(clippy::needless_pass_by_value, reason = "reads best as `check(text, expect![…])`")]
fn check(text: &str, expected: Expect) {
    let content = read_text(text, "shop.yaml", &ReadOptions::default());
    let lines: Vec<String> = content
        .diagnostics
        .iter()
        .map(|d| {
            let help = d.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!(
                "{}:{} {} {} {}: {}{help}",
                d.origin.line, d.origin.column, d.severity, d.code, d.path, d.message
            )
        })
        .collect();
    let kept: Vec<String> = content.resources.iter().map(|r| r.key().to_string()).collect();
    expected.assert_eq(&format!("{}\nkept: {}\n", lines.join("\n"), kept.join(", ")));
}

fn virtual_service(http: &str) -> String {
    let indented: String = http.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: cart\nspec:\n  \
         hosts: [cart]\n{indented}"
    )
}

#[test]
fn the_manifests_of_the_issue_are_accepted() {
    check(
        include_str!("testdata/accepted/myapp.yaml"),
        expect![[r#"
            48:26 warning IAKO0042 spec.trafficPolicy.outlierDetection.consecutiveErrors: consecutiveErrors is old; it counts gateway errors here. Use consecutiveGatewayErrors or consecutive5xxErrors
            87:30 info IAKO0042 metadata.annotations["sidecar.istio.io/inject"]: sidecar.istio.io/inject is old; use the label sidecar.istio.io/inject
            kept: Gateway default/myapp-gateway, VirtualService default/myapp, DestinationRule default/service-a, AuthorizationPolicy default/service-a, Telemetry istio-system/mesh-default, Pod default/myapp
        "#]],
    );
}

#[test]
fn every_honoured_field_is_accepted_in_silence() {
    check(
        include_str!("testdata/accepted/everything.yaml"),
        expect![[r#"

        kept: VirtualService shop/all, DestinationRule shop/all, Gateway shop/edge, ServiceEntry shop/all, ServiceEntry shop/selected, WorkloadEntry shop/old, Sidecar shop/web, PeerAuthentication shop/web, RequestAuthentication shop/web, AuthorizationPolicy shop/web, Telemetry shop/web
    "#]],
    );
}

#[test]
fn misspelt_fields_are_found_with_line_and_column() {
    check(
        &virtual_service(
            "http:\n- math:\n  - uri: {prefix: /a}\n  route:\n  - destination:\n      host: cart\n      \
             sub_set: v1\n    weigth: 10\n",
        ),
        expect![[r#"
            8:5 error IAKO0020 spec.http[0].math: there is no field "math" here (did you mean match?)
            13:9 error IAKO0020 spec.http[0].route[0].destination.sub_set: there is no field "sub_set" here (did you mean subset?)
            14:7 error IAKO0020 spec.http[0].route[0].weigth: there is no field "weigth" here (did you mean weight?)
            kept: 
        "#]],
    );
}

#[test]
fn wrong_types_and_values_are_all_told_at_once() {
    check(
        &virtual_service(
            "http:\n- timeout: 5\n  retries: {attempts: -1, retryOn: \"5xx, reset\"}\n  fault:\n    delay: \
             {fixedDelay: 1d, percentage: {value: 101}}\n  match:\n  - port: 70000\n    headers:\n      \
             x-a: {regex: \"(?!a)\"}\n    uri: {exact: 7}\n  route:\n  - destination: {host: \"*\"}\n",
        ),
        expect![[r#"
            8:14 error IAKO0025 spec.http[0].timeout: expected a duration, found the number 5 (write a number with a unit, such as 500ms, 1.5s, 10m or 1h)
            9:25 error IAKO0023 spec.http[0].retries.attempts: expected a number from 0 to 2147483647, found -1
            9:38 error IAKO0024 spec.http[0].retries.retryOn: " reset" has a space; write the words with commas alone
            11:27 error IAKO0025 spec.http[0].fault.delay.fixedDelay: "1d" is no duration (write a number with a unit, such as 500ms, 1.5s, 10m or 1h)
            11:51 error IAKO0023 spec.http[0].fault.delay.percentage.value: expected a percentage between 0 and 100, found 101
            13:13 error IAKO0023 spec.http[0].match[0].port: expected a number from 1 to 65535, found 70000
            15:22 error IAKO0026 spec.http[0].match[0].headers.x-a.regex: "(?!a)" does not compile: look-around, including look-ahead and look-behind, is not supported
            16:20 error IAKO0021 spec.http[0].match[0].uri.exact: expected a text, found the number 7 (write "7" in quotes)
            18:27 error IAKO0027 spec.http[0].route[0].destination.host: "*" is a wildcard, but one host is needed
            kept: 
        "#]],
    );
}

#[test]
fn a_bad_object_leaves_its_neighbours_alone() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: \
                networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: b}\nspec: {host: 5}\n---\n\
                apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {yes: on}\n";
    check(
        text,
        expect![[r#"
            8:14 error IAKO0021 spec.host: expected a text, found the number 5 (write "5" in quotes)
            13:8 warning IAKO0012 : Kubernetes reads yes without quotes as true
            13:13 warning IAKO0012 : Kubernetes reads on without quotes as true
            13:13 error IAKO0021 data.true: expected a text, found the boolean true (put it in quotes)
            kept: Namespace a
        "#]],
    );
}

#[test]
fn kinds_that_do_nothing_are_named() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n---\n\
                apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: b}\n---\n\
                apiVersion: networking.istio.io/v1\nkind: VirtualServise\nmetadata: {name: c}\n---\n\
                apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: d}\n---\n\
                apiVersion: networking.istio.io/v2\nkind: Gateway\nmetadata: {name: e}\n---\nhello\n";
    check(
        text,
        expect![[r#"
            1:1 error IAKO0022 spec: the field spec is missing
            2:7 warning IAKO0009 kind: HTTPRoute is read and checked, not yet applied: the Gateway API comes later; use Istio's Gateway and VirtualService
            5:1 error IAKO0022 spec: the field spec is missing
            6:7 warning IAKO0009 kind: EnvoyFilter is read and checked, not yet applied: patches of Envoy's internals are not applied to our proxy; it comes later for the patches that map to settings of ours
            10:7 error IAKO0007 kind: networking.istio.io has no kind "VirtualServise" (did you mean VirtualService?)
            17:1 error IAKO0008 : Gateway has no version "v2"; it has v1, v1beta1, v1alpha3
            17:1 error IAKO0022 spec: the field spec is missing
            21:1 warning IAKO0005 : the document has no apiVersion and kind, so it is no object
            kept: 
        "#]],
    );
}

#[test]
fn fields_that_are_not_carried_say_why() {
    check(
        &virtual_service(
            "http:\n- delegate: {name: other}\n- mirrorPercent: 5\n  mirror: {host: cart}\n  route:\n  - \
             destination: {host: cart}\n- match:\n  - {uri: {prefix: /a}, statPrefix: a}\n  route:\n  - \
             destination: {host: cart}\n",
        ),
        expect![[r#"
            8:15 warning IAKO0041 spec.http[0].delegate: delegation is read and checked, not yet applied: the whole object waits
            9:5 warning IAKO0044 spec.http[1]: the rule of line 8 takes every request before this one
            9:20 warning IAKO0042 spec.http[1].mirrorPercent: mirrorPercent is old; use mirrorPercentage
            13:5 warning IAKO0044 spec.http[2]: the rule of line 8 takes every request before this one
            14:27 warning IAKO0041 spec.http[2].match[0].statPrefix: statPrefix has no effect here: the proxy keeps no statistics of single routes
            kept: VirtualService default/cart
        "#]],
    );
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    check(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\na: [1\nb: 2\n",
        expect![[r#"
            6:2 error IAKO0002 : illegal placement of ':' indicator
            kept: Namespace a
        "#]],
    );
    check(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  name: b\n",
        expect![[r#"
        5:3 error IAKO0004 : the key "name" stands here a second time; first on line 4
        kept: 
    "#]],
    );
}

#[test]
fn policies_are_checked_as_istio_does() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p}}\nspec:\n{spec}"
        )
    };
    check(
        &policy("  action: DENY\n"),
        expect![[r#"
            5:3 error IAKO0022 spec.rules: a DENY policy without rules never matches; write rules: [{}] to refuse all
            kept: 
        "#]],
    );
    check(
        &policy(
            "  action: CUSTOM\n  rules:\n  - from: []\n  - from: [{source: {}}]\n  - from: [{source: {ipBlocks: \
             [1.2.3]}}]\n  - when: [{key: request.foo, values: [a]}]\n  - when: [{key: source.ip}]\n  - to: \
             [{operation: {paths: [\"/a/{*}b\"], ports: [80]}}]\n",
        ),
        expect![[r#"
            5:3 error IAKO0022 spec.provider.name: action CUSTOM needs the name of an extension provider
            5:11 warning IAKO0041 spec.action: action CUSTOM asks nobody yet: everything that its rules match is refused
            7:11 error IAKO0030 spec.rules[0].from: from is empty; remove it to mean everything
            8:21 error IAKO0030 spec.rules[1].from[0].source: source is empty; remove from to mean anybody
            9:33 error IAKO0023 spec.rules[2].from[0].source.ipBlocks[0]: "1.2.3" is no address and no range
            10:18 error IAKO0024 spec.rules[3].when[0].key: there is no condition "request.foo" (conditions are request.headers[name], source.ip, remote.ip, source.namespace, source.principal, source.serviceAccount, source.trustDomain, request.auth.principal, request.auth.audiences, request.auth.presenter, request.auth.claims[name], destination.ip, destination.port and connection.sni)
            11:12 error IAKO0022 spec.rules[4].when[0].values: a condition needs values or notValues
            12:31 error IAKO0023 spec.rules[5].to[0].operation.paths[0]: "/a/{*}b" is no path template: {*} and {**} are whole segments
            12:51 error IAKO0021 spec.rules[5].to[0].operation.ports[0]: expected a text, found the number 80 (write "80" in quotes)
            kept: 
        "#]],
    );
    check(
        &policy("  action: DENY\n  rules:\n  - to: [{operation: {methods: [POST]}}]\n"),
        expect![[r#"
            7:5 warning IAKO0045 spec.rules[0]: the rule asks about requests only; opaque connections have none, so it refuses all of them
            kept: AuthorizationPolicy default/p
        "#]],
    );
}

#[test]
fn secrets_are_never_printed() {
    let text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: \"%%%\", b: aGVsbG8=}\n";
    check(
        text,
        expect![[r#"
        4:11 error IAKO0023 data.a: the value of a secret is a text of base64
        kept: 
    "#]],
    );
    let good = text.replace("\"%%%\"", "aGVsbG8=");
    let content = read_text(&good, "s.yaml", &ReadOptions::default());
    assert!(!format!("{:?}", content.resources).contains("hello"));
}

#[test]
fn anchors_are_resolved_and_bounded() {
    let good = "apiVersion: v1\nkind: List\nitems:\n- &one\n  apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: \
                a}\n- <<: *one\n  metadata: {name: b}\n";
    check(
        good,
        expect![[r#"

        kept: ConfigMap default/a, ConfigMap default/b
    "#]],
    );
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(",")));
    }
    check(
        &bomb,
        expect![[r#"
        6:38 error IAKO0003 : the text has more than 1000000 values
        kept: 
    "#]],
    );
}

#[test]
fn mesh_settings_are_read_from_their_config_map() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                trustDomain: shop.example\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n    enablTracing: true\n    \
                ingressClass: istio\n";
    check(
        text,
        expect![[r#"
            9:1 error IAKO0020 data.mesh.enablTracing: there is no field "enablTracing" here (did you mean enableTracing?)
            10:1 warning IAKO0041 data.mesh.ingressClass: ingressClass has no effect here: Kubernetes Ingress objects are not read
            kept: 
        "#]],
    );
}

#[test]
fn the_two_forms_of_output_are_fixed() {
    let text = virtual_service("http:\n- rout: []\n");
    let content = read_text(&text, "shop.yaml", &ReadOptions::default());
    let errors: Vec<_> =
        content.diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect();
    let first = errors.first().unwrap();
    expect![[r#"
        error[IAKO0022]: the rule has none of route, redirect, directResponse and delegate
          --> shop.yaml:8:5
          |
        8 |   - rout: []
          |     ^
          in: VirtualService default/cart, spec.http[0].route
    "#]]
    .assert_eq(&render(first, Some(&text), Painter::Plain));
    expect![[r#"{"diagnostics":[{"code":"IAKO0022","severity":"error","subject":"VirtualService default/cart","path":"spec.http[0].route","file":"shop.yaml","line":8,"column":5,"message":"the rule has none of route, redirect, directResponse and delegate","help":null}]}"#]].assert_eq(&serde_json::to_string(&diagnostics_json(&errors[..1])).unwrap());
}

#[test]
fn json_is_read_however_it_is_laid_out() {
    let long = "x".repeat(5000);
    let text = format!(
        "{{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [{{\"apiVersion\":\"v1\",\"kind\":\
         \"ConfigMap\",\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":\"{long}\",\"u\":\"\\u00e4\\/\"}}}}]\n}}\n"
    );
    check(
        &text,
        expect![[r#"

        kept: ConfigMap default/a
    "#]],
    );
    check(
        "apiVersion: v1\r\nkind: Namespace\r\nmetadata:\r\n  name: a\r\n",
        expect![[r#"

        kept: Namespace a
    "#]],
    );
}
