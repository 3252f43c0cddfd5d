//! Finished texts and texts that are being typed give the same answers.

use iako_resources::{Position, text::Lines};

use super::{At, find, lines};

const HEAD: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: a\n  namespace: shop\n";

/// The pattern, what the cursor (`|`) is at, and the word.
fn at(body: &str) -> String {
    let marked = format!("{HEAD}{body}");
    let cursor = marked.find('|').unwrap();
    let text = marked.replacen('|', "", 1);
    let lines = Lines::new(&text);
    let position = lines.position(cursor);
    describe(&find(&text, &lines, position, "default").unwrap())
}

fn describe(spot: &super::Spot) -> String {
    assert_eq!((spot.kind.as_str(), spot.namespace.as_str()), ("VirtualService", "shop"));
    let at = if spot.at == At::Key { "key" } else { "value" };
    format!("{} {at} {:?}", spot.pattern(), spot.word)
}

#[test]
fn finished_texts_are_looked_up_in_their_tree() {
    let body = "spec:\n  hosts: [ca|rt]\n";
    assert_eq!(at(body), "spec.hosts[] value \"cart\"");
    let body = "spec:\n  http:\n  - route:\n    - destination: {host: cart, sub|set: v1}\n";
    assert_eq!(at(body), "spec.http[].route[].destination key \"subset\"");
}

#[test]
fn a_text_being_typed_is_looked_up_by_its_indentation() {
    let cases = [
        ("spec:\n  |", "spec key \"\""),
        ("spec:\n  ho|", "spec key \"ho\""),
        (
            "spec:\n  http:\n  - route:\n    - destination:\n        host: |\n",
            "spec.http[].route[].destination.host value \"\"",
        ),
        (
            "spec:\n  http:\n  - route:\n    - destination:\n        host: a\n      wei|",
            "spec.http[].route[] key \"wei\"",
        ),
        (
            "spec:\n  http:\n    - match:\n        - uri:\n            exact: /a\n      ti|",
            "spec.http[] key \"ti\"",
        ),
        (
            "spec:\n  http:\n  - match:\n    - uri: {exact: /a}\n    retries:\n      |",
            "spec.http[].retries key \"\"",
        ),
        ("spec:\n  gateways:\n  - |", "spec.gateways[] key \"\""),
        ("spec:\n  gateways:\n  - mesh\n  - my|", "spec.gateways[] key \"my\""),
    ];
    for (body, expected) in cases {
        let marked = format!("{HEAD}{body}");
        let cursor = marked.find('|').unwrap();
        let text = marked.replacen('|', "", 1);
        let typed = Lines::new(&text);
        let position: Position = typed.position(cursor);
        let spot = lines::find(&typed, position, "default").unwrap();
        assert_eq!(describe(&spot), expected, "{body}");
    }
}

#[test]
fn pairs_beside_the_cursor_are_known() {
    let body = "spec:\n  http:\n  - route:\n    - destination:\n        host: cart\n        subset: |\n        port:\n          number: 80\n";
    let marked = format!("{HEAD}{body}");
    let cursor = marked.find('|').unwrap();
    let text = marked.replacen('|', "", 1);
    let typed = Lines::new(&text);
    let spot = lines::find(&typed, typed.position(cursor), "default").unwrap();
    assert_eq!(spot.sibling("host"), Some("cart"));
    assert!(spot.sibling("port").is_some());
    assert_eq!(spot.sibling("number"), None);
}
