//! What was read, written and read again means the same.

use iako_resources::{
    Position, ReadOptions, Span, read_text,
    text::{Entry, Limits, Node, Value, parse_documents, print_node, print_text},
};
use proptest::prelude::*;

fn node(value: Value) -> Node {
    Node { value, span: Span::default(), end: Position::default() }
}

/// A tree without places.
fn bare(tree: &Node) -> Node {
    node(match &tree.value {
        Value::List(nodes) => Value::List(nodes.iter().map(bare).collect()),
        Value::Map(entries) => Value::Map(entries.iter().map(bare_entry).collect()),
        value @ (Value::Null
        | Value::Bool(_)
        | Value::Int(..)
        | Value::Float(..)
        | Value::Text(_)) => value.clone(),
    })
}

fn bare_entry(entry: &Entry) -> Entry {
    Entry { key: entry.key.clone(), key_span: Span::default(), node: bare(&entry.node) }
}

fn trees() -> impl Strategy<Value = Node> {
    let texts = prop_oneof![
        "\\PC{0,12}",
        "[a-z0-9.:#&*!|>'\"%@`{}\\[\\], \n\t\\\\-]{0,12}",
        prop::sample::select(vec![
            "yes", "on", "n", "~", "010", "1e3", ".inf", "<<", "---", "...", "-", "a: b", "# c"
        ])
        .prop_map(str::to_owned),
    ];
    let leaves = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Int(number, number.to_string())),
        (-1000_i32..1000).prop_map(|number| {
            let number = f64::from(number) / 8.0 + 0.0625;
            Value::Float(number, number.to_string())
        }),
        texts.clone().prop_map(Value::Text),
    ]
    .prop_map(node);
    leaves.prop_recursive(4, 40, 5, move |inner| {
        let keys = prop::collection::btree_map(texts.clone(), inner.clone(), 0..5);
        let entry = |(key, node)| Entry { key, key_span: Span::default(), node };
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|nodes| node(Value::List(nodes))),
            keys.prop_map(move |pairs| node(Value::Map(pairs.into_iter().map(entry).collect()))),
        ]
    })
}

/// Merge keys mean more than they say, quoted or not; a tree that was read has none.
fn has_merge(tree: &Node) -> bool {
    match &tree.value {
        Value::List(nodes) => nodes.iter().any(has_merge),
        Value::Map(entries) => entries.iter().any(|it| it.key == "<<" || has_merge(&it.node)),
        Value::Null | Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_tree_survives(tree in trees().prop_filter("merges", |tree| !has_merge(tree))) {
        let written = print_node(&tree);
        let again = parse_documents(&written, Limits::default());
        prop_assert_eq!(&again.failures, &[], "{}", written);
        let roots: Vec<Node> = again.documents.iter().map(|(root, _)| bare(root)).collect();
        prop_assert_eq!(roots, vec![tree], "{}", written);
    }

    #[test]
    fn any_text_survives_on_one_line(text in "\\PC{0,20}") {
        let written = print_text(&text);
        prop_assert!(!written.contains('\n'));
        let again = parse_documents(&format!("[{written}, {written}]"), Limits::default());
        let expected = node(Value::List(vec![node(Value::Text(text)); 2]));
        let roots: Vec<Node> = again.documents.iter().map(|(root, _)| bare(root)).collect();
        prop_assert_eq!(roots, vec![expected], "{}", written);
    }
}

#[test]
fn objects_mean_the_same_after_writing() {
    for text in [
        include_str!("testdata/accepted/everything.yaml"),
        include_str!("testdata/accepted/myapp.yaml"),
    ] {
        let documents = parse_documents(text, Limits::default());
        let parts: Vec<String> = documents.documents.iter().map(|(it, _)| print_node(it)).collect();
        let written = parts.join("---\n");
        assert_eq!(told(&written), told(text));
    }
}

/// What came of a text, without places.
fn told(text: &str) -> (Vec<String>, Vec<String>) {
    let content = read_text(text, "a.yaml", &ReadOptions::default());
    let objects = content.resources.iter().map(|it| without_places(&format!("{it:?}"))).collect();
    let problems = content.diagnostics.iter().map(|it| format!("{} {}", it.code, it.path));
    (objects, problems.collect())
}

/// A debug form without the numbers of lines and columns.
fn without_places(text: &str) -> String {
    let mut parts = text.split(", ").collect::<Vec<_>>();
    parts.retain(|part| !part.contains("line: ") && !part.contains("column: "));
    parts.join(", ")
}
