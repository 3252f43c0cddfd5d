//! Recorded configurations of real control planes and of a real Envoy: each is taken, or refused
//! for one precise reason. Skipped where the recordings are not at hand; `IAKO_CORPUS` names them.
#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use iako_xds_codec::{self as xds, bootstrap};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use prost_types::Any;
use serde_json::Value;

fn corpus() -> Option<PathBuf> {
    let named = option_env!("IAKO_CORPUS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus");
    named.or(Some(beside)).filter(|path| path.is_dir())
}

/// Fields that the recordings have and that are not supported, by how many cases they refuse.
type Refusals = BTreeMap<String, usize>;

#[test]
fn every_bootstrap_that_a_real_envoy_ran_is_taken_or_refused_by_name() {
    let Some(corpus) = corpus() else { return };
    let text = std::fs::read_to_string(corpus.join("envoy/observed.json")).unwrap();
    let observed: Value = serde_json::from_str(&text).unwrap();
    let mut refusals = Refusals::new();
    let mut taken = 0;
    for case in observed["cases"].as_array().unwrap() {
        let config = serde_json::to_string_pretty(&case["envoy_config"]).unwrap();
        match bootstrap::parse("observed.json", &config) {
            Ok(_) => taken += 1,
            Err(error) => {
                assert!(error.place.line > 1 && !error.field.is_empty(), "{error}");
                *refusals
                    .entry(format!("{}: {}: {}", case["id"], error.field, error.problem))
                    .or_default() += 1;
            }
        }
    }
    println!("taken: {taken}\nrefused: {refusals:#?}");
    assert!(taken >= 74, "only {taken} bootstraps are taken");
}

#[test]
fn what_a_real_istiod_sent_is_taken_or_refused_by_name() {
    let Some(corpus) = corpus() else { return };
    let (mut taken, mut refusals, mut warnings) = (0, Refusals::new(), Refusals::new());
    for scenario in std::fs::read_dir(corpus.join("istiod")).unwrap().flatten() {
        let Ok(files) = std::fs::read_dir(scenario.path()) else { continue };
        for file in
            files.flatten().filter(|file| file.path().extension().is_some_and(|e| e == "json"))
        {
            let sent: Value =
                serde_json::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap();
            for (kind, url) in [
                ("listeners", xds::type_url::LISTENER),
                ("clusters", xds::type_url::CLUSTER),
                ("routes", xds::type_url::ROUTE_CONFIGURATION),
                ("endpoints", xds::type_url::ENDPOINTS),
            ] {
                for resource in sent[kind].as_array().into_iter().flatten() {
                    match decode(url, resource) {
                        Ok(said) => {
                            taken += 1;
                            for warning in said {
                                let last =
                                    warning.path.steps().last().map(|step| format!("{step:?}"));
                                let message =
                                    warning.message.split(" (and in").next().unwrap().to_owned();
                                *warnings
                                    .entry(format!(
                                        "{kind} {}: {message}",
                                        last.unwrap_or_default()
                                    ))
                                    .or_default() += 1;
                            }
                        }
                        Err(refusal) => {
                            *refusals
                                .entry(format!("{}: {refusal}", file.path().display()))
                                .or_default() += 1;
                        }
                    }
                }
            }
        }
    }
    println!("taken: {taken}\nrefused: {refusals:#?}\nwarnings: {warnings:#?}");
    assert!(taken > 860, "only {taken} resources are taken");
}

fn decode(url: &str, resource: &Value) -> Result<Vec<xds::Warning>, String> {
    let name = url.rsplit('/').next().unwrap();
    let descriptor = xds::pool().get_message_by_name(name).unwrap();
    let message =
        DynamicMessage::deserialize(descriptor, resource).map_err(|error| error.to_string())?;
    let any = Any { type_url: url.to_owned(), value: message.encode_to_vec() };
    let said = match url {
        xds::type_url::LISTENER => xds::decode::listener(&any).map(|(_, said)| said),
        xds::type_url::CLUSTER => xds::decode::cluster(&any).map(|(_, said)| said),
        xds::type_url::ROUTE_CONFIGURATION => {
            xds::decode::route_configuration(&any).map(|(_, said)| said)
        }
        _ => xds::decode::endpoints(&any).map(|(_, said)| said),
    };
    said.map_err(|invalid| invalid.to_string())
}
