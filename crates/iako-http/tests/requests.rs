//! What a server accepts, refuses and makes of requests.

use bytes::{Bytes, BytesMut};
use expect_test::{Expect, expect};
use iako_http::{
    BodyEvent, Http10, Known, Limits, NameCase, ParseError, RequestDecoder, Underscores,
};
use proptest::prelude::*;

/// Everything that a decoder says about the bytes, given in pieces.
fn events(pieces: &[&[u8]], limits: Limits) -> String {
    let mut decoder = RequestDecoder::new(limits);
    let mut buffer = BytesMut::new();
    let mut text = String::new();
    let mut content = Vec::new();
    let mut in_body = false;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match step(&mut decoder, &mut buffer, &mut in_body, &mut content, &mut text) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    text += &format!("refused {} {}: {error}\n", error.status(), error.details());
                    return text;
                }
            }
        }
    }
    if let Err(error) = decoder.eof(&buffer) {
        text += &format!("at end: {error}\n");
    }
    text
}

fn step(
    decoder: &mut RequestDecoder,
    buffer: &mut BytesMut,
    in_body: &mut bool,
    content: &mut Vec<u8>,
    text: &mut String,
) -> Result<bool, ParseError> {
    if !*in_body {
        let Some(head) = decoder.head(buffer)? else { return Ok(false) };
        *text += &format!(
            "{} {} at {:?} {:?} {:?}\n",
            head.method().as_str(),
            head.path(),
            head.authority(),
            head.length(),
            head.persistence()
        );
        for field in head.fields().iter() {
            *text += &format!("  {}: {}\n", lossy(field.name), lossy(field.value));
        }
        *in_body = true;
        return Ok(true);
    }
    match decoder.body(buffer)? {
        None => return Ok(false),
        Some(BodyEvent::Data(data)) => content.extend_from_slice(&data),
        Some(BodyEvent::Trailers(trailers)) => {
            for field in trailers.iter() {
                *text += &format!("  trailer {}: {}\n", lossy(field.name), lossy(field.value));
            }
        }
        Some(BodyEvent::End) => {
            if !content.is_empty() {
                *text += &format!("  content {:?}\n", lossy(content));
            }
            content.clear();
            *in_body = false;
        }
    }
    Ok(true)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(input: &str, expected: &Expect) {
    expected.assert_eq(&events(&[input.as_bytes()], Limits::default()));
}

fn refusal(input: &[u8], limits: Limits) -> Option<ParseError> {
    let mut decoder = RequestDecoder::new(limits);
    let mut buffer = BytesMut::from(input);
    match decoder.head(&mut buffer) {
        Err(error) => Some(error),
        Ok(_) => loop {
            match decoder.body(&mut buffer) {
                Err(error) => return Some(error),
                Ok(None | Some(BodyEvent::End)) => return None,
                Ok(Some(_)) => {}
            }
        },
    }
}

#[test]
fn reads_pipelined_requests_with_every_framing() {
    check(
        "\r\nGET /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nX-Foo:  Bar \r\n\r\n\
         POST /b HTTP/1.1\r\nhost: b\r\ncontent-length: 3\r\n\r\nabc\
         POST /c HTTP/1.1\r\nhost: c\r\ntransfer-encoding: Chunked\r\n\r\n\
         3;x=y\r\nabc\r\n2 \r\nde\r\n0\r\nX-T: 1\r\ncontent-length: 9\r\n\r\n\
         DELETE /d HTTP/1.1\nhost: d\nconnection: close\n\n",
        &expect![[r#"
            GET /a?b=c at "a.test:80" Empty KeepAlive
              x-foo: Bar
            POST /b at "b" Exact(3) KeepAlive
              content-length: 3
              content "abc"
            POST /c at "c" Chunked KeepAlive
              trailer x-t: 1
              content "abcde"
            DELETE /d at "d" Empty Close
        "#]],
    );
}

#[test]
fn reads_the_four_forms_of_a_target() {
    check(
        "GET http://a.test:8080/x?y HTTP/1.1\r\nhost: other\r\n\r\n\
         GET HTTPS://a.test HTTP/1.1\r\nhost: other\r\n\r\n\
         GET http://a.test?q=1 HTTP/1.1\r\nhost: other\r\n\r\n\
         OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n\
         CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n",
        &expect![[r#"
            GET /x?y at "a.test:8080" Empty KeepAlive
            GET / at "a.test" Empty KeepAlive
            GET /?q=1 at "a.test" Empty KeepAlive
            OPTIONS * at "a" Empty KeepAlive
            CONNECT  at "a.test:443" Tunnel KeepAlive
        "#]],
    );
}

#[test]
fn fields_of_the_connection_end_here() {
    check(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: x-hop, keep-alive\r\nx-hop: 1\r\n\
         keep-alive: 5\r\nte: gzip, trailers\r\nproxy-connection: keep-alive\r\n\
         x-forwarded-for: 10.0.0.1\r\nupgrade: h2c\r\nx-kept: 1\r\n\r\n",
        &expect![[r#"
            GET / at "a" Empty KeepAlive
              te: trailers
              x-forwarded-for: 10.0.0.1
              x-kept: 1
        "#]],
    );
}

#[test]
fn folded_values_are_joined_by_one_space() {
    check(
        "GET / HTTP/1.1\r\nhost: a\r\nx-a: one\r\n   two  \r\n\tthree\r\nx-b:\r\n late\r\n\r\n",
        &expect![[r#"
            GET / at "a" Empty KeepAlive
              x-a: one two three
              x-b: late
        "#]],
    );
}

#[test]
fn what_is_ambiguous_or_malformed_is_refused_with_envoys_details() {
    let head = |fields: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let cases: Vec<(String, _, _)> = vec![
        (
            head("content-length: 3\r\ntransfer-encoding: chunked\r\n"),
            400,
            "http1.content_length_and_chunked_not_allowed",
        ),
        (head("content-length: 3\r\ncontent-length: 4\r\n"), 400, "http1.codec_error"),
        (head("content-length: 3, 3\r\n"), 400, "http1.codec_error"),
        (head("content-length: +3\r\n"), 400, "http1.codec_error"),
        (head("content-length:\r\n"), 400, "http1.codec_error"),
        (head("content-length: 9223372036854775808\r\n"), 400, "http1.codec_error"),
        (head("content-length: 1\r\n 2\r\n"), 400, "http1.codec_error"),
        (head("transfer-encoding: gzip\r\n"), 501, "http1.invalid_transfer_encoding"),
        (head("transfer-encoding: gzip, chunked\r\n"), 501, "http1.invalid_transfer_encoding"),
        (
            head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
            501,
            "http1.invalid_transfer_encoding",
        ),
        (head("transfer-encoding: \x0bchunked\r\n"), 400, "http1.invalid_characters"),
        (head("x-a : 1\r\n"), 400, "http1.codec_error"),
        (head(": 1\r\n"), 400, "http1.codec_error"),
        (head("no-colon\r\n"), 400, "http1.codec_error"),
        (head("x-a: b\0c\r\n"), 400, "http1.invalid_characters"),
        (head("x-a: b\rc: d\r\n"), 400, "http1.invalid_characters"),
        (head("host: b\r\n"), 400, "http.invalid_authority"),
        (head("connection: X-Forwarded-For\r\n"), 400, "http1.connection_header_rejected"),
        (head("connection: :path\r\n"), 400, "http1.connection_header_rejected"),
        (head("connection: close, host\r\n"), 400, "missing_host_header"),
        (head("content-length: 3\r\ncontent-length: 3\r\n"), 400, "http1.codec_error"),
        (head("x\0a: 1\r\n"), 400, "http1.invalid_characters"),
        (head("connection: a,b,c,d,e,f,g,h,i,j,k\r\n"), 400, "http1.connection_header_rejected"),
        ("GET / HTTP/1.1\r\n folded: 1\r\nhost: a\r\n\r\n".into(), 400, "http1.codec_error"),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, "missing_host_header"),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n".into(), 400, "http.invalid_authority"),
        ("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n".into(), 400, "http.invalid_authority"),
        ("GET / HTTP/1.0\r\n\r\n".into(), 426, "low_version"),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n".into(), 426, "low_version"),
        ("GET /\r\n\r\n".into(), 426, "low_version"),
        ("GET / HTTP/1.10\r\nhost: a\r\n\r\n".into(), 400, "http1.codec_error"),
        ("GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.invalid_characters"),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.codec_error"),
        ("GET / HTTP/1.1 \r\nhost: a\r\n\r\n".into(), 400, "http1.codec_error"),
        ("GET relative HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.codec_error"),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.invalid_scheme"),
        ("GET http://u:p@a/ HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.invalid_url"),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.invalid_url"),
        ("FOO / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.codec_error"),
        ("CONNECT a.test HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400, "http1.invalid_url"),
        (
            "CONNECT a:1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n".into(),
            400,
            "http1.body_disallowed",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".into(),
            501,
            "http1.invalid_transfer_encoding",
        ),
    ];
    for (input, status, details) in cases {
        let error = refusal(input.as_bytes(), Limits::default());
        let found = error.map(|error| (error.status(), error.details()));
        assert_eq!(found, Some((status, details)), "{input:?}");
    }
}

#[test]
fn chunked_framing_is_read_to_the_letter() {
    let chunked = |body: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}")
    };
    for body in [
        "g\r\n",
        "\r\n",
        "-1\r\n",
        "0x3\r\nabc\r\n",
        "3\nabc\r\n",
        "3;\x01\r\nabc\r\n",
        "3 x\r\n",
        "8000000000000000\r\n",
        "10000000000000000\r\n",
        "00000000000000003\r\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "0\r\nbad name: 1\r\n\r\n",
    ] {
        let found = refusal(chunked(body).as_bytes(), Limits::default());
        assert!(found.is_some(), "{body:?} was accepted");
    }
    let long = chunked(&format!("3;{}", "x".repeat(2000)));
    assert_eq!(refusal(long.as_bytes(), Limits::default()), Some(ParseError::ChunkExtension));
}

#[test]
fn heads_have_bounds() {
    let limits = Limits { head_bytes_max: 200, fields_max: 3, ..Limits::default() };
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "v".repeat(200));
    assert_eq!(refusal(large.as_bytes(), limits), Some(ParseError::HeadTooLarge));
    let many = b"GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n";
    assert_eq!(refusal(many, limits), Some(ParseError::TooManyFields));
    let trailers = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nt: {}",
        "v".repeat(200)
    );
    assert_eq!(refusal(trailers.as_bytes(), limits), Some(ParseError::TrailersTooLarge));
}

#[test]
fn http_10_is_served_when_configured() {
    let limits = Limits { http_10: Http10::Accept, ..Limits::default() };
    let found = events(
        &[b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"],
        limits,
    );
    expect![[r#"
        GET / at "" Empty Close
        GET / at "" Empty KeepAlive
    "#]]
    .assert_eq(&found);
    let chunked = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(refusal(chunked, limits), Some(ParseError::TransferEncoding));
}

#[test]
fn underscores_and_name_case_follow_the_configuration() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n folded\r\nX-Z: 2\r\n\r\n";
    let reject = Limits { underscores: Underscores::Reject, ..Limits::default() };
    assert_eq!(refusal(input, reject), Some(ParseError::Underscore));
    let drop = Limits { underscores: Underscores::Drop, ..Limits::default() };
    assert_eq!(events(&[input], drop), "GET / at \"a\" Empty KeepAlive\n  x-z: 2\n");
    let keep = Limits { name_case: NameCase::Preserve, ..Limits::default() };
    let head = RequestDecoder::new(keep).head(&mut BytesMut::from(&input[..])).unwrap().unwrap();
    let names: Vec<_> = head.fields().iter().map(|f| (f.name, f.original_name)).collect();
    assert_eq!(names, [(&b"x_y"[..], &b"X_Y"[..]), (b"x-z", b"X-Z")]);
}

#[test]
fn fields_are_found_by_number_and_by_text() {
    let input =
        b"GET / HTTP/1.1\r\nHost: a\r\nx-own: 1\r\nCookie: a\r\nX-Own: 2\r\ncookie: b\r\n\r\n";
    let mut buffer = BytesMut::from(&input[..]);
    let head = RequestDecoder::new(Limits::default()).head(&mut buffer).unwrap().unwrap();
    let fields = head.fields();
    assert_eq!(fields.values(Known::Cookie).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(fields.values("x-own").nth(1), Some(&b"2"[..]));
    assert_eq!(fields.shared("cookie"), Some(Bytes::from_static(b"a")));
    assert!(!fields.contains(Known::Accept) && !fields.contains("x-other"));
}

proptest! {
    #[test]
    fn cutting_the_input_anywhere_changes_nothing(
        cuts in proptest::collection::vec(0_usize..700, 0..8),
        which in 0..SAMPLES.len(),
    ) {
        let input = SAMPLES[which].as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < input.len()).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&input[start..cut]);
            start = cut;
        }
        pieces.push(&input[start..]);
        for case in [NameCase::Lower, NameCase::Preserve] {
            let limits = Limits { name_case: case, ..Limits::default() };
            prop_assert_eq!(events(&pieces, limits), events(&[input], limits));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        iako_http::fuzz::fuzz_request(&bytes);
        iako_http::fuzz::fuzz_response(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(
        which in 0..SAMPLES.len(),
        damage in proptest::collection::vec((0_usize..700, any::<u8>()), 1..6),
    ) {
        let mut input = SAMPLES[which].as_bytes().to_vec();
        for (place, byte) in damage {
            if let Some(target) = input.get_mut(place) {
                *target = byte;
            }
        }
        iako_http::fuzz::fuzz_request(&input);
        iako_http::fuzz::fuzz_response(&input);
    }
}

#[test]
fn every_single_cut_changes_nothing() {
    for sample in SAMPLES {
        let input = sample.as_bytes();
        let whole = events(&[input], Limits::default());
        for cut in 0..input.len() {
            assert_eq!(events(&[&input[..cut], &input[cut..]], Limits::default()), whole);
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(events(&bytes, Limits::default()), whole);
    }
}

const SAMPLES: &[&str] = &[
    "\r\n\r\nGET /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nX-Foo:  Bar \r\n folded\r\n\tagain\r\n\r\n\
     POST /c HTTP/1.1\r\nhost: c\r\ntransfer-encoding: chunked\r\n\r\n\
     3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n\
     GET http://a.test?q HTTP/1.1\r\nhost: b\r\n\r\n",
    "POST /b HTTP/1.1\nhost: b\ncontent-length: 3\nte: x, trailers , y\nconnection: close, x\nx: 1\n\nabc",
    "POST /b HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n",
    "GET / HTTP/1.1\r\nhost: b\r\nbad name: 1\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc\
     HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\nHTTP/1.0 404 X\r\n\r\nrest",
];

#[test]
fn a_nominated_field_is_nothing_to_decide_by() {
    let input = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: x-role, upgrade\r\nupgrade: websocket\r\nx-role: admin\r\n\r\n";
    let mut buffer = BytesMut::from(&input[..]);
    let head = RequestDecoder::new(Limits::default()).head(&mut buffer).unwrap().unwrap();
    let edits = iako_http::HeaderEdits::default();
    assert_eq!(edits.get(head.fields(), "x-role"), None);
    assert_eq!(edits.get(head.fields(), Known::Upgrade), Some(&b"websocket"[..]));
}
