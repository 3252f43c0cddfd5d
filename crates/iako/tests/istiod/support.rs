//! That nothing of what was recorded is left out in silence.

use std::{collections::BTreeSet, path::Path};

use iako_xds::Resource;
use iako_xds_codec::{self as xds, Warning, decode};
use prost_types::Any;

use crate::{
    plane::{encoded, type_url},
    recording::{self, KINDS},
};

/// Scenarios, as they lie in the folder.
pub(crate) fn scenarios() -> Vec<String> {
    let files = std::fs::read_dir(recording::folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.strip_suffix(".json.gz")?.to_owned())).collect();
    names.sort();
    names
}

fn warnings(kind: &str, resource: &Resource) -> Result<Vec<Warning>, String> {
    let any = Any { type_url: type_url(kind).to_string(), value: resource.body.to_vec() };
    let said = match kind {
        "listeners" => decode::listener(&any).map(|(_, said)| said),
        "clusters" => decode::cluster(&any).map(|(_, said)| said),
        "routes" => decode::route_configuration(&any).map(|(_, said)| said),
        _ => decode::endpoints(&any).map(|(_, said)| said),
    };
    said.map_err(|invalid| format!("{}: {}", invalid.path, invalid.problem))
}

/// Every resource is taken, and every field that is set in any of them is honoured, or its effect is
/// missing and a warning and the page of what is supported say so.
#[test]
fn every_resource_is_taken_and_every_field_without_effect_is_named() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/xds-support.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (mut taken, mut unnamed) = (0, BTreeSet::new());
    for scenario in scenarios() {
        for (workload, recorded) in recording::read(&scenario) {
            for kind in KINDS {
                let all = recorded[kind].as_array().cloned().unwrap_or_default();
                for resource in encoded(kind, &all) {
                    match warnings(kind, &resource) {
                        Ok(warnings) => {
                            taken += 1;
                            unnamed
                                .extend(warnings.iter().filter_map(|one| unnamed_in(&page, one)));
                        }
                        Err(problem) => panic!("{scenario} {workload}: {problem}"),
                    }
                }
            }
        }
    }
    assert_eq!(taken, 871);
    assert_eq!(unnamed, BTreeSet::new());
}

/// The field of a warning that the page says nothing about.
fn unnamed_in(page: &str, warning: &Warning) -> Option<String> {
    let field = warning.path.steps().iter().rev().find_map(|step| match step {
        xds::Step::Field(name) => Some(name.clone()),
        _ => None,
    })?;
    (!page.contains(&field)).then(|| format!("{field}: {}", warning.message))
}
