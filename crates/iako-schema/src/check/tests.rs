use serde_json::{Value as Json, json};

use super::*;
use crate::definition;

/// What is found in a document of a kind, as `problem path: message`.
fn found(group: &str, kind: &str, spec: &Json) -> Vec<String> {
    let definition = definition(group, kind).unwrap();
    let document =
        json!({"apiVersion": "x", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    let root = &definition.versions[0].root;
    let findings = check(root, &document, Spelling::AlsoSnakeCase);
    let told = |one: &Finding<'_, Json>| format!("{:?} {}: {}", one.problem, one.path, one.message);
    findings.iter().map(told).collect()
}

fn http_route(spec: &Json) -> Vec<String> {
    found("gateway.networking.k8s.io", "HTTPRoute", spec)
}

fn destination_rule(spec: &Json) -> Vec<String> {
    found("networking.istio.io", "DestinationRule", spec)
}

#[test]
fn what_is_allowed_is_passed_in_silence() {
    let spec = json!({
        "parentRefs": [{"name": "gateway"}],
        "hostnames": ["a.test"],
        "rules": [{"matches": [{"path": {"value": "/x"}}], "backendRefs": [{"name": "b", "port": 80}]}],
    });
    assert_eq!(http_route(&spec), Vec::<String>::new());
    let spec = json!({"host": "a", "traffic_policy": {"load_balancer": {"simple": "RANDOM"}}});
    assert_eq!(destination_rule(&spec), Vec::<String>::new());
}

#[test]
fn types_names_words_and_bounds_are_held() {
    let spec = json!({
        "parentRefs": [{"nam": "gateway", "port": "80"}, 5],
        "rules": [{"matches": [{"method": "FETCH", "path": {"type": "Exact", "value": 1}}]}],
        "hostnames": ["not a host"],
    });
    let told = http_route(&spec);
    for wanted in [
        "UnknownField spec.parentRefs[0].nam: there is no field \"nam\" here",
        "WrongType spec.parentRefs[0].port: expected a whole number, found the text \"80\"",
        "Missing spec.parentRefs[0].name: the field name is missing",
        "WrongType spec.parentRefs[1]: expected a mapping, found the number 5",
        "WrongType spec.rules[0].matches[0].path.value: expected a text, found the number 1",
    ] {
        assert!(told.contains(&wanted.to_owned()), "{wanted} in {told:#?}");
    }
    let starts = |start: &str| told.iter().any(|one| one.starts_with(start));
    assert!(
        starts("UnknownWord spec.rules[0].matches[0].method: expected one of GET"),
        "{told:#?}"
    );
    assert!(starts("BadValue spec.hostnames[0]: \"not a host\" does not match"), "{told:#?}");
}

#[test]
fn a_null_counts_as_absent_and_absent_fields_have_their_defaults() {
    let spec = json!({"parentRefs": null, "rules": [{"matches": [{"path": {"value": "x"}}]}]});
    let told = http_route(&spec);
    // That the type is PathPrefix, only the default says.
    assert_eq!(
        told,
        ["Rule spec.rules[0].matches[0].path: \
          value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']"]
    );
}

#[test]
fn rules_are_not_asked_about_what_has_the_wrong_type() {
    let spec = json!({"rules": [{"matches": [{"path": {"type": "Exact", "value": ["x"]}}]}]});
    assert_eq!(
        http_route(&spec),
        ["WrongType spec.rules[0].matches[0].path.value: expected a text, found a list"]
    );
}

#[test]
fn fields_that_exclude_each_other_are_named() {
    let both = json!({"simple": "RANDOM", "consistentHash": {"useSourceIp": true}});
    let spec = json!({"host": "a", "trafficPolicy": {"loadBalancer": both}});
    assert_eq!(
        destination_rule(&spec),
        [
            "Conflict spec.trafficPolicy.loadBalancer: only one of simple, consistentHash may be given"
        ]
    );
}

#[test]
fn elements_that_have_to_differ_do() {
    let listener = json!({"name": "a", "port": 80, "protocol": "HTTP"});
    let spec = json!({"gatewayClassName": "x", "listeners": [listener, listener]});
    let told = found("gateway.networking.k8s.io", "Gateway", &spec);
    let wanted = "Duplicate spec.listeners[1]: another element has the same name";
    assert!(told.contains(&wanted.to_owned()), "{told:#?}");
}

#[test]
fn every_pattern_and_rule_compiles_and_none_asks_for_an_old_value_that_may_be_absent() {
    fn walk(schema: &Schema, count: &mut usize) {
        assert!(schema.pattern.as_ref().is_none_or(crate::schema::Pattern::is_valid));
        for rule in &schema.rules {
            if rule.is_transition {
                assert!(rule.text.contains("oldSelf"));
                continue;
            }
            *count += 1;
            assert!(rule.compiled().is_ok(), "{}: {:?}", rule.text, rule.compiled());
            assert!(rule.message_expression.is_none() || rule.compiled_message().is_some());
        }
        let properties = schema.properties.iter().map(|property| &property.schema);
        let inner = schema.items.iter().chain(&schema.values).chain(&schema.one_of);
        let inner = inner.chain(&schema.any_of).chain(&schema.all_of).chain(&schema.not);
        properties.chain(inner).for_each(|inner| walk(inner, count));
    }
    let mut count = 0;
    for definition in crate::definitions() {
        definition.versions.iter().for_each(|version| walk(&version.root, &mut count));
    }
    assert!(count > 400, "{count}");
}

#[test]
fn descriptions_and_defaults_are_at_hand() {
    let route = definition("gateway.networking.k8s.io", "HTTPRoute").unwrap();
    let spec = &route.version("v1").unwrap().root.property("spec").unwrap().schema;
    let hostnames = &spec.property("hostnames").unwrap().schema;
    assert!(hostnames.description().starts_with("Hostnames defines a set of hostnames"));
    let rules = &spec.property("rules").unwrap().schema;
    assert!(rules.default.is_some());
    assert!(definition("gateway.networking.k8s.io", "HTTPRout").is_none());
}
