//! A log against the rules of the standard that readers rely on.

use iako_analyze::Project;
use iako_resources::ReadOptions;
use serde_json::Value;

use super::log;

const TEXT: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  \
                    hosts: [a]\n  http:\n  - rout:\n    - destination: {host: 5}\n---\nkind: [x\n";

fn sample() -> Value {
    let mut project = Project::new(ReadOptions::default(), [127, 15, 0, 0].into());
    project.set("my dir/a b.yaml", TEXT);
    let checked = project.check();
    assert!(checked.diagnostics.len() > 1);
    log(&checked.diagnostics, &project)
}

/// The keys that the schema of an object knows; the standard forbids others.
fn assert_keys(value: &Value, known: &[&str], required: &[&str]) {
    let fields = value.as_object().unwrap();
    for key in fields.keys() {
        assert!(known.contains(&key.as_str()), "{key} in {value}");
    }
    for key in required {
        assert!(fields.contains_key(*key), "no {key} in {value}");
    }
}

#[test]
fn a_log_keeps_the_rules_of_the_standard() {
    let log = sample();
    assert_keys(&log, &["$schema", "version", "runs"], &["version", "runs"]);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_keys(run, &["tool", "columnKind", "results"], &["tool"]);
    assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&run["columnKind"].as_str().unwrap()));
    let driver = &run["tool"]["driver"];
    assert_keys(driver, &["name", "version", "semanticVersion", "rules"], &["name"]);
    let rules = driver["rules"].as_array().unwrap();
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "rule ids differ");
    for rule in rules {
        let known =
            ["id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration"];
        assert_keys(rule, &known, &["id"]);
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
    }
    for result in run["results"].as_array().unwrap() {
        assert_result(result, rules);
    }
}

fn assert_result(result: &Value, rules: &[Value]) {
    let known =
        ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints", "fixes"];
    assert_keys(result, &known, &["message"]);
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[index]["id"], result["ruleId"]);
    assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
    assert!(!result["message"]["text"].as_str().unwrap().is_empty());
    for print in result["partialFingerprints"].as_object().unwrap().values() {
        assert!(print.is_string());
    }
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "my%20dir/a%20b.yaml");
    let region = &place["region"];
    let number = |key: &str| region.get(key).map(|value| value.as_u64().unwrap());
    assert!(number("startLine").unwrap() >= 1 && number("startColumn").unwrap() >= 1);
    assert!(number("endColumn").is_none_or(|end| end >= number("startColumn").unwrap()));
    for fix in result["fixes"].as_array().into_iter().flatten() {
        assert_keys(fix, &["description", "artifactChanges"], &["artifactChanges"]);
        let change = &fix["artifactChanges"][0];
        assert_keys(
            change,
            &["artifactLocation", "replacements"],
            &["artifactLocation", "replacements"],
        );
        assert!(!change["replacements"].as_array().unwrap().is_empty());
        for replacement in change["replacements"].as_array().unwrap() {
            assert_keys(replacement, &["deletedRegion", "insertedContent"], &["deletedRegion"]);
            assert!(replacement["insertedContent"]["text"].is_string());
        }
    }
}

#[test]
fn a_finding_that_can_be_mended_has_its_fix() {
    let log = sample();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let fixed: Vec<&Value> =
        results.iter().filter(|result| result.get("fixes").is_some()).collect();
    let replaced = &fixed[0]["fixes"][0]["artifactChanges"][0]["replacements"][0];
    assert_eq!(replaced["insertedContent"]["text"], "route");
    assert_eq!(replaced["deletedRegion"]["startLine"], 7);
}
