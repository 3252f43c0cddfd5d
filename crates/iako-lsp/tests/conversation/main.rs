//! Conversations with the server over a real stream, as an editor has them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may be blunt")]

mod client;

use std::fs;

use client::Client;
use iako_lsp::Ending;
use serde_json::{Value, json};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec:\n  ports: [{name: http, port: 80}]\n---\n\
     apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cart, namespace: shop}\nspec:\n  host: cart\n  subsets:\n  - \
     name: v1\n    labels: {version: v1}\n  - name: v2\n    labels: {version: v2}\n---\napiVersion: networking.istio.io/v1\nkind: \
     Gateway\nmetadata: {name: edge, namespace: shop}\nspec:\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts: \
     [\"*\"]\n";
const ROUTES: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, namespace: shop}\nspec:\n  hosts: [cart]\n  \
     gateways: [edge]\n  http:\n  - route:\n    - destination:\n        host: cart\n        subset: v1\n      weigth: 100\n";

/// A client of a directory with both files, and the second one open.
fn open() -> (tempfile::TempDir, Client, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("service.yaml"), SERVICE).unwrap();
    fs::write(directory.path().join("routes.yaml"), ROUTES).unwrap();
    let mut client = Client::start(directory.path());
    let uri = format!("file://{}/routes.yaml", directory.path().display());
    client.open(&uri, ROUTES);
    (directory, client, uri)
}

fn codes(diagnostics: &Value) -> Vec<&str> {
    let list = diagnostics["diagnostics"].as_array().unwrap();
    list.iter().map(|found| found["code"].as_str().unwrap()).collect()
}

fn labels(completion: &Value) -> Vec<&str> {
    completion["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["label"].as_str().unwrap())
        .collect()
}

#[test]
fn findings_follow_the_text_and_its_version() {
    let (_directory, mut client, uri) = open();
    let told = client.findings(&uri, 1);
    assert!(codes(&told).contains(&"IAKO0020"), "{told}");
    let misspelt =
        &told["diagnostics"].as_array().unwrap().iter().find(|d| d["code"] == "IAKO0020").unwrap()
            ["range"];
    assert_eq!(
        *misspelt,
        json!({"start": {"line": 11, "character": 6}, "end": {"line": 11, "character": 12}})
    );

    client.change(&uri, 2, ((11, 6), (11, 12)), "weight");
    let told = client.findings(&uri, 2);
    assert!(!codes(&told).contains(&"IAKO0020"), "{told}");

    // An edit of a version that is past is not applied.
    client.change(&uri, 2, ((0, 0), (0, 4)), "x");
    client.change(&uri, 3, ((10, 16), (10, 18)), "v9");
    let told = client.findings(&uri, 3);
    assert!(codes(&told).contains(&"IAKO0101"), "{told}");
    assert_eq!(client.end(), Ending::Orderly);
}

#[test]
fn a_broken_text_is_told_and_its_mending_too() {
    let (_directory, mut client, uri) = open();
    client.findings(&uri, 1);
    client.change(&uri, 2, ((4, 2), (4, 2)), "a: [\n");
    assert!(codes(&client.findings(&uri, 2)).contains(&"IAKO0002"));
    client.change(&uri, 3, ((4, 2), (5, 0)), "");
    assert_eq!(
        codes(&client.findings(&uri, 3)).iter().filter(|code| **code == "IAKO0002").count(),
        0
    );
    client.end();
}

#[test]
fn a_quick_fix_is_an_edit_of_the_version_that_is_open() {
    let (_directory, mut client, uri) = open();
    client.findings(&uri, 1);
    let range = json!({"start": {"line": 11, "character": 8}, "end": {"line": 11, "character": 8}});
    let params =
        json!({"textDocument": {"uri": uri}, "range": range, "context": {"diagnostics": []}});
    let actions = client.ask("textDocument/codeAction", &params);
    assert_eq!(actions[0]["title"], "Rename to weight");
    let change = &actions[0]["edit"]["documentChanges"][0];
    assert_eq!(change["textDocument"]["version"], 1);
    assert_eq!(change["edits"][0]["newText"], "weight");
    client.end();
}

#[test]
fn fields_are_explained_with_their_default() {
    let (_directory, mut client, uri) = open();
    let hover = client.at("textDocument/hover", &uri, (10, 10));
    let text = hover["contents"]["value"].as_str().unwrap();
    assert!(text.starts_with("**spec.http[].route[].destination.subset**: a text"), "{text}");
    assert!(text.len() > 60, "no description: {text}");
    assert_eq!(client.at("textDocument/hover", &uri, (2, 3)), Value::Null);
    client.end();
}

#[test]
fn fields_words_and_names_are_completed() {
    let (_directory, mut client, uri) = open();
    // A new line in the destination, and one beside it.
    client.change(&uri, 2, ((11, 0), (12, 0)), "        po\n");
    let found = client.at("textDocument/completion", &uri, (11, 10));
    assert_eq!(labels(&found), ["port"], "{found}");
    client.change(&uri, 3, ((10, 16), (12, 0)), "\n");
    let found = client.at("textDocument/completion", &uri, (10, 16));
    assert_eq!(labels(&found), ["v1", "v2"], "{found}");
    client.change(&uri, 4, ((9, 14), (11, 0)), "\n");
    let found = client.at("textDocument/completion", &uri, (9, 14));
    assert!(labels(&found).contains(&"cart"), "{found}");
    client.change(&uri, 5, ((5, 0), (6, 0)), "  gateways:\n  - e\n");
    let found = client.at("textDocument/completion", &uri, (6, 5));
    assert!(labels(&found).contains(&"edge") && labels(&found).contains(&"mesh"), "{found}");
    client.change(&uri, 6, ((0, 0), (20, 0)), "apiVersion: networking.istio.io/v1\nkind: Vir");
    let found = client.at("textDocument/completion", &uri, (1, 9));
    assert!(labels(&found).contains(&"VirtualService"), "{found}");
    client.end();
}

#[test]
fn names_lead_to_their_definitions() {
    let (directory, mut client, uri) = open();
    let service = format!("file://{}/service.yaml", directory.path().display());
    // Host, subset, gateway: the cursor, and the line of the definition.
    for (place, line) in [((9, 16), 0), ((10, 17), 12), ((5, 14), 17)] {
        let found = client.at("textDocument/definition", &uri, place);
        assert_eq!(found[0]["uri"], service.as_str(), "{place:?} {found}");
        assert_eq!(found[0]["range"]["start"]["line"], line, "{place:?} {found}");
    }
    client.end();
}

#[test]
fn what_is_asked_out_of_turn_is_refused() {
    let mut client = Client::connect();
    assert_eq!(client.refusal("textDocument/hover", &json!({})), -32002);
    client.initialize(&json!({"capabilities": {}}));
    assert_eq!(client.refusal("initialize", &json!({})), -32600);
    assert_eq!(client.refusal("no/such/method", &json!({})), -32601);
    client.bytes("Content-Length: 3\r\n\r\n{{{");
    assert_eq!(client.next()["error"]["code"], -32700);
    assert_eq!(client.end(), Ending::Orderly);
    let client = Client::connect();
    assert_eq!(client.hang_up(), Ending::Abrupt);
}

#[test]
fn files_that_are_not_open_are_read_when_they_change() {
    let (directory, mut client, uri) = open();
    client.change(&uri, 2, ((11, 6), (11, 12)), "weight");
    assert!(!codes(&client.findings(&uri, 2)).contains(&"IAKO0101"));
    let service = directory.path().join("service.yaml");
    fs::write(&service, SERVICE.replace("name: v1\n", "name: v7\n")).unwrap();
    let change = json!({"uri": format!("file://{}", service.display()), "type": 2});
    client.tell("workspace/didChangeWatchedFiles", &json!({"changes": [change]}));
    assert!(codes(&client.findings(&uri, 2)).contains(&"IAKO0101"));
    client.end();
}
