//! A second opinion on what is a request: the `httparse` and `h2` crates.

#![expect(clippy::expect_used, reason = "tests may be blunt")]

mod differences;
mod judge;

use std::fs;
use std::path::Path;

use differences::DIFFERENCES;
use judge::{judge_http1, judge_http2};
use proptest::prelude::*;

fn replay(target: &str, judge: fn(&[u8]) -> bool) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut accepted = 0;
    for entry in fs::read_dir(&corpus).expect("the corpus is part of the repository") {
        let path = entry.expect("a directory entry").path();
        accepted += u32::from(judge(&fs::read(&path).expect("a file of the corpus")));
    }
    assert!(accepted > 0, "the second reader accepts nothing");
}

#[test]
fn every_difference_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/differences.md")).expect("the list");
    for difference in DIFFERENCES {
        let row = format!("| {} |", difference.name);
        assert!(text.contains(&row), "docs/differences.md has no row {row:?}");
    }
}

#[test]
fn httparse_and_we_agree_on_the_kept_http1_requests() {
    replay("http1_request", judge_http1);
    replay("http1_translation", judge_http1);
}

#[test]
fn h2_and_we_agree_on_the_kept_field_sections() {
    replay("http2_translation", judge_http2);
}

fn http1() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof![
        Just("/".to_owned()),
        Just("*".to_owned()),
        Just("http://b/x".to_owned()),
        Just("a:1".to_owned()),
        Just("ftp://b".to_owned()),
        "/[!-~]{0,8}",
        "[!-~]{1,8}",
    ];
    let method =
        prop_oneof![Just("GET"), Just("POST"), Just("CONNECT"), Just("OPTIONS"), Just("X")];
    let version = prop_oneof![Just("1.1"), Just("1.0")];
    let field = prop_oneof![
        Just("Host: a".to_owned()),
        Just("Host:".to_owned()),
        "Host: [!-~]{1,4}",
        Just("Content-Length: 3".to_owned()),
        "Content-Length: [0-9, +]{0,3}",
        Just("Transfer-Encoding: chunked".to_owned()),
        "Transfer-Encoding: [a-z, ]{0,9}",
        Just("Connection: close, x".to_owned()),
        "Connection: [a-z,:]{0,12}",
        Just("TE: gzip, trailers".to_owned()),
        Just("Upgrade: h2c".to_owned()),
        "[!-~]{1,5}:[ -~]{0,5}",
        "[a-z]{1,3}[ :][ -~]{0,5}",
    ];
    (method, target, version, prop::collection::vec(field, 0..5)).prop_map(
        |(method, target, version, fields)| {
            let mut text = format!("{method} {target} HTTP/{version}\r\n");
            for field in fields {
                text += &field;
                text += "\r\n";
            }
            text += "\r\n";
            text.into_bytes()
        },
    )
}

fn http2() -> impl Strategy<Value = Vec<u8>> {
    let field = |name: &'static str, values: BoxedStrategy<String>| {
        values.prop_map(move |value| (name.to_owned(), value)).boxed()
    };
    let pseudo = (
        prop_oneof![Just("GET"), Just("CONNECT"), Just("OPTIONS"), Just("")],
        prop_oneof![Just("http"), Just("https"), Just("ftp"), Just("")],
        prop_oneof![Just("/"), Just("/x?y#z"), Just("*"), Just(""), Just("x")],
        prop_oneof![Just("a"), Just("u@a"), Just("a:80"), Just("")],
        0_u8..32,
    );
    let more = prop_oneof![
        field("content-length", "[0-9]{0,3}".boxed()),
        field("host", "[a-c@]{0,3}".boxed()),
        field("te", prop_oneof![Just("trailers".to_owned()), Just("gzip".to_owned())].boxed()),
        field("cookie", "[a-z]{0,3}".boxed()),
        field(":protocol", Just("websocket".to_owned()).boxed()),
        ("[!-~]{0,4}", "[ -~]{0,4}").boxed(),
    ];
    (pseudo, prop::collection::vec(more, 0..4), any::<u8>()).prop_map(
        |((method, scheme, path, authority, which), more, kind)| {
            let pseudo = [(":method", method), (":scheme", scheme), (":path", path)]
                .into_iter()
                .chain([(":authority", authority)])
                .enumerate()
                .filter(|(place, _)| which == 0 || which & (1 << place) != 0)
                .map(|(_, (name, value))| (name.to_owned(), value.to_owned()));
            let mut bytes = vec![kind];
            for text in pseudo.chain(more).flat_map(|(name, value)| [name, value]) {
                bytes.push(u8::try_from(text.len()).unwrap_or_default());
                bytes.extend_from_slice(text.as_bytes());
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn httparse_accepts_nothing_that_we_refuse_without_a_name(input in http1()) {
        judge_http1(&input);
    }

    #[test]
    fn h2_accepts_nothing_that_we_refuse_without_a_name(input in http2()) {
        judge_http2(&input);
    }
}
