//! Filters that count, tag, or answer what is asked of the proxy itself, with every field set.

use std::collections::BTreeMap;
use std::time::Duration;

use iako_proxy_config::*;
use iako_types::Percent;

use crate::shared::header_matches;

fn fact(kind: JsonFactKind) -> JsonFact {
    JsonFact {
        namespace: "own".into(),
        key: "k".into(),
        value: Some(serde_json::json!({"a": [1, "b", null, true]})),
        kind,
        keeps_existing: true,
    }
}

pub(crate) fn json_to_metadata() -> JsonToMetadata {
    let rule = JsonRule {
        keys: vec!["a".into(), "b".into()],
        present: Some(JsonFact { value: None, ..fact(JsonFactKind::Number) }),
        missing: Some(fact(JsonFactKind::Text)),
        error: Some(fact(JsonFactKind::Any)),
    };
    let rules = JsonRules {
        rules: vec![rule],
        media_types: vec!["text/json".into()],
        media_type_pattern: Some(Pattern::parse("a.*").unwrap()),
        reads_untyped: true,
    };
    JsonToMetadata { request: Some(rules.clone()), response: Some(rules) }
}

pub(crate) fn set_state() -> SetRequestState {
    let value = FilterStateValue {
        key: "own".into(),
        factory: "envoy.string".into(),
        value: LogFormat::Text("%REQ(x-a)%".into()),
        skips_empty: true,
        read_only: false,
        shared: SharedState::No,
    };
    SetRequestState { values: vec![value], clears_route: true }
}

pub(crate) fn grpc_stats() -> GrpcStats {
    GrpcStats {
        methods: CountedMethods::Listed(vec![GrpcServiceMethods {
            service: "a.B".into(),
            methods: vec!["C".into(), "D".into()],
        }]),
        emits_state: true,
        measures_time: true,
        replaces_dots: true,
    }
}

pub(crate) fn health_checks() -> [HealthAnswers; 2] {
    let clusters = BTreeMap::from([("c".to_owned(), Percent::from_f64(12.5).unwrap())]);
    [
        HealthAnswers { mode: HealthMode::Answer(clusters), headers: header_matches() },
        HealthAnswers {
            mode: HealthMode::Pass(Some(Duration::from_millis(1500))),
            headers: header_matches(),
        },
    ]
}

pub(crate) fn ip_tagging() -> IpTagging {
    IpTagging {
        requests: TaggedRequests::External,
        tags: vec![IpTag {
            name: "t".into(),
            ranges: vec!["10.0.0.0/8".parse().unwrap(), "fe80::/10".parse().unwrap()],
        }],
        header: Some(IpTagHeader { name: "x-tags".parse().unwrap(), sanitizes: false }),
    }
}
