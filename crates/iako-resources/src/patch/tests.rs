//! What patches do to texts.

use expect_test::{Expect, expect};

use super::{Change, Patch, apply_edits, text_edits};
use crate::{
    Code, Diagnostic, Origin, Span,
    text::{Limits, parse_documents},
};

/// Applies a patch to the object on the first line and compares the whole text.
fn check(text: &str, patch: Patch, expected: &Expect) {
    let origin = Origin::of_source("a.yaml").at(Span { line: 1, column: 1, length: 1 });
    let found = Diagnostic::new(Code::BadValue, "", origin, "x".to_owned()).with_patch(patch);
    let documents = parse_documents(text, Limits::default());
    let (after, made) = match text_edits(&found, text, &documents) {
        Some(edits) => apply_edits(text, &[edits]),
        None => ("not possible\n".to_owned(), 0),
    };
    expected.assert_eq(&format!("{after}({made})\n"));
}

const TEXT: &str =
    "a: 5   # five\nb:\n  - x: 1\n    w: 'two' # kept\n  - {p: q, r: [s, t, u]}\n  - last\nc: d\n";

#[test]
fn values_are_replaced_and_comments_stay() {
    check(
        TEXT,
        Patch::set_text("b[0].w", "on"),
        &expect![[r#"
            a: 5   # five
            b:
              - x: 1
                w: "on" # kept
              - {p: q, r: [s, t, u]}
              - last
            c: d
            (1)
        "#]],
    );
    check(
        TEXT,
        Patch::new("", "a", Change::Quote),
        &expect![[r#"
        a: "5"   # five
        b:
          - x: 1
            w: 'two' # kept
          - {p: q, r: [s, t, u]}
          - last
        c: d
        (1)
    "#]],
    );
    check(
        TEXT,
        Patch::rename("b[0].w", "z").and("b[1].p", Change::SetPlain("7".into())),
        &expect![[r#"
            a: 5   # five
            b:
              - x: 1
                z: 'two' # kept
              - {p: 7, r: [s, t, u]}
              - last
            c: d
            (1)
        "#]],
    );
    check(
        TEXT,
        Patch::rename("b[0].w", "x"),
        &expect![[r#"
        not possible
        (0)
    "#]],
    );
}

#[test]
fn pairs_and_elements_go_with_their_lines_or_commas() {
    check(
        TEXT,
        Patch::remove("c"),
        &expect![[r#"
        a: 5   # five
        b:
          - x: 1
            w: 'two' # kept
          - {p: q, r: [s, t, u]}
          - last
        (1)
    "#]],
    );
    check(
        TEXT,
        Patch::remove("a"),
        &expect![[r#"
        not possible
        (0)
    "#]],
    );
    check(
        TEXT,
        Patch::remove("b[0].x"),
        &expect![[r#"
        a: 5   # five
        b:
          - w: 'two' # kept
          - {p: q, r: [s, t, u]}
          - last
        c: d
        (1)
    "#]],
    );
}

#[test]
fn elements_between_brackets_go_with_their_commas() {
    check(
        TEXT,
        Patch::remove("b[1].r[1]"),
        &expect![[r#"
        a: 5   # five
        b:
          - x: 1
            w: 'two' # kept
          - {p: q, r: [s, u]}
          - last
        c: d
        (1)
    "#]],
    );
    check(
        TEXT,
        Patch::remove("b[1].p"),
        &expect![[r#"
        a: 5   # five
        b:
          - x: 1
            w: 'two' # kept
          - {r: [s, t, u]}
          - last
        c: d
        (1)
    "#]],
    );
    check(
        TEXT,
        Patch::remove("b[2]"),
        &expect![[r#"
        a: 5   # five
        b:
          - x: 1
            w: 'two' # kept
          - {p: q, r: [s, t, u]}
        c: d
        (1)
    "#]],
    );
    check(
        "only: 1\n",
        Patch::remove("only"),
        &expect![[r#"
        not possible
        (0)
    "#]],
    );
}

#[test]
fn pairs_are_added_after_the_last_one() {
    check(
        TEXT,
        Patch::new("", "b[0]", Change::Add("z".into(), "yes".into())),
        &expect![[r#"
        a: 5   # five
        b:
          - x: 1
            w: 'two' # kept
            z: "yes"
          - {p: q, r: [s, t, u]}
          - last
        c: d
        (1)
    "#]],
    );
    check(
        TEXT,
        Patch::new("", "b[1]", Change::Add("z".into(), "v".into())),
        &expect![[r#"
        a: 5   # five
        b:
          - x: 1
            w: 'two' # kept
          - {p: q, r: [s, t, u], z: v}
          - last
        c: d
        (1)
    "#]],
    );
}
