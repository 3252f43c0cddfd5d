//! HTTP/1.1 rule by rule: RFC 9112, and RFC 9110 section 7, as they bind an intermediary.
//!
//! Where a message ends, and what it says, must be beyond doubt for whoever reads it behind us. Rules
//! that are choices follow Envoy unless `docs/differences.md` says otherwise.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

use bytes::BytesMut;
use iako_http::{
    BodyEncoder, BodyEvent, BodyLength, ConnectionField, FieldsBuilder, Framing, HeaderEdits,
    Http10, Known, Limits, Methods, NameCase, ParseError, Persistence, RequestDecoder,
    RequestEdits, RequestHead, ResponseDecoder, ResponseHead, ResponseTo, TargetForm, Underscores,
    Version, Wire, edited_fields, write_request_head,
};

const HTTP_10: Limits = Limits {
    head_bytes_max: 60 * 1024,
    fields_max: 100,
    interim_responses_max: 64,
    chunk_extension_bytes_max: 1024,
    http_10: Http10::Accept,
    methods: Methods::Registered,
    underscores: Underscores::Allow,
    name_case: NameCase::Lower,
};

fn read(input: &[u8]) -> Result<RequestHead, ParseError> {
    match RequestDecoder::new(Limits::default()).head(&mut BytesMut::from(input)) {
        Ok(Some(head)) => Ok(head),
        Ok(None) => panic!("{:?} is no whole head", String::from_utf8_lossy(input)),
        Err(error) => Err(error),
    }
}

/// A request with these lines behind its `Host`.
fn with(lines: &str) -> Result<RequestHead, ParseError> {
    read(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

fn line(line: &str) -> Result<RequestHead, ParseError> {
    read(format!("{line}\r\nHost: a\r\n\r\n").as_bytes())
}

fn response(input: &str, to: ResponseTo) -> Result<ResponseHead, ParseError> {
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.expect(to);
    decoder.head(&mut BytesMut::from(input)).map(Option::unwrap)
}

/// What a chunked request says: its content, its trailers and what follows it.
#[derive(Debug, PartialEq, Eq)]
struct Chunked {
    content: String,
    trailers: Vec<(String, String)>,
    rest: String,
}

fn chunked(body: &str) -> Result<Chunked, ParseError> {
    chunked_within(body, Limits::default())
}

fn chunked_within(body: &str, limits: Limits) -> Result<Chunked, ParseError> {
    let mut decoder = RequestDecoder::new(limits);
    let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let mut buffer = BytesMut::from(text.as_str());
    decoder.head(&mut buffer)?.unwrap();
    let mut found = Chunked { content: String::new(), trailers: Vec::new(), rest: String::new() };
    loop {
        match decoder.body(&mut buffer)? {
            None => return Err(ParseError::Truncated),
            Some(BodyEvent::Data(data)) => found.content += &lossy(&data),
            Some(BodyEvent::Trailers(fields)) => {
                let pairs = fields.iter().map(|field| (lossy(field.name), lossy(field.value)));
                found.trailers.extend(pairs);
            }
            Some(BodyEvent::End) => break,
        }
    }
    found.rest = lossy(&buffer);
    Ok(found)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fields(head: &RequestHead) -> Vec<(String, String)> {
    head.fields().iter().map(|field| (lossy(field.name), lossy(field.value))).collect()
}

const PLAIN: Wire<'_> = Wire { framing: Framing::Silent, connection: ConnectionField::Omit };

/// What the server behind us is sent.
fn forwarded(head: &RequestHead) -> String {
    let mut out = BytesMut::new();
    write_request_head(head, &RequestEdits::default(), PLAIN, &mut out);
    lossy(&out)
}

#[test]
fn rfc9112_2_2_a_bare_lf_ends_a_line_of_a_head() {
    let head = read(b"GET / HTTP/1.1\nHost: a\nx: 1\r\ny: 2\n\n").unwrap();
    assert_eq!(head.fields().len(), 2);
    assert_eq!(forwarded(&head), "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\ny: 2\r\n\r\n");
}

#[test]
fn rfc9112_2_2_a_bare_cr_is_refused_everywhere() {
    assert_eq!(with("x: a\rb\r\n").err(), Some(ParseError::FieldValue));
    assert_eq!(with("x: a\r\r\n").err(), Some(ParseError::FieldValue));
    assert_eq!(with("x\r: a\r\n").err(), Some(ParseError::FieldName));
    assert_eq!(with("\rx: a\r\n").err(), Some(ParseError::FieldName));
    for request_line in
        ["GET\r/ HTTP/1.1", "GET /\rx HTTP/1.1", "GET / HTTP/1.1\r", "\rGET / HTTP/1.1"]
    {
        assert!(line(request_line).is_err(), "{request_line:?}");
    }
    assert_eq!(
        response("HTTP/1.1 200 O\rK\r\n\r\n", ResponseTo::Plain).err(),
        Some(ParseError::StatusLine)
    );
    assert_eq!(chunked("3\rx\r\nabc\r\n0\r\n\r\n").err(), Some(ParseError::ChunkSize));
    assert_eq!(chunked("0\r\nx: a\rb\r\n\r\n").err(), Some(ParseError::FieldValue));
}

#[test]
fn rfc9112_2_2_empty_lines_before_a_request_are_skipped_and_before_a_response_not() {
    assert!(read(b"\r\n\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert!(response("\r\nHTTP/1.1 200 OK\r\n\r\n", ResponseTo::Plain).is_err());
}

#[test]
fn rfc9112_2_2_no_blank_stands_between_the_request_line_and_the_first_field() {
    for text in
        ["GET / HTTP/1.1\r\n Host: a\r\n\r\n", "GET / HTTP/1.1\r\n\tx: 1\r\nHost: a\r\n\r\n"]
    {
        assert_eq!(read(text.as_bytes()).err(), Some(ParseError::Fold), "{text:?}");
    }
}

#[test]
fn rfc9112_2_3_versions_are_spelled_exactly() {
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9"] {
        let found = line(&format!("GET / {version}")).err();
        assert_eq!(found, Some(ParseError::LowVersion), "{version}");
    }
    for version in
        ["http/1.1", "HTTPS/1.1", "", "1.1", "HTTP/1.10", "HTTP/1", "HTTP/1.1x", "HTTP/+1.1"]
    {
        let found = line(&format!("GET / {version}")).err();
        assert_eq!(found, Some(ParseError::RequestLine), "{version}");
    }
    // HTTP/0.9 had none.
    assert_eq!(line("GET /").err(), Some(ParseError::LowVersion));
}

#[test]
fn rfc9110_2_5_a_later_minor_version_is_read_as_the_latest_known() {
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        let head = line(&format!("GET / {version}")).unwrap();
        assert_eq!(head.version(), Version::Http11, "{version}");
    }
}

// RFC 3986 §2; Envoy refuses them too.
#[test]
fn rfc9112_3_2_a_target_is_ascii() {
    for target in ["/\u{e9}", "/a?q=\u{e9}", "http://a/\u{e9}"] {
        let found = line(&format!("GET {target} HTTP/1.1")).err();
        assert_eq!(found, Some(ParseError::RequestLine), "{target}");
    }
}

#[test]
fn rfc9112_3_a_request_line_has_single_spaces() {
    for request_line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /",
        "GET",
        "GET / x HTTP/1.1",
    ] {
        assert!(line(request_line).is_err(), "{request_line:?}");
    }
}

#[test]
fn rfc9112_3_1_methods_are_case_sensitive_tokens() {
    for method in ["get", "Get", "G\0T", "G(T", "", "G\u{e4}T"] {
        assert!(line(&format!("{method} / HTTP/1.1")).is_err(), "{method:?}");
    }
}

#[test]
fn rfc9112_3_2_a_target_holds_no_blanks_or_control_characters() {
    for target in ["/a\0b", "/a\u{7f}b", "/a\u{1}b", "/a\u{b}b", "/\u{c}", "", "a", "//\\ "] {
        assert!(line(&format!("GET {target} HTTP/1.1")).is_err(), "{target:?}");
    }
    assert!(read(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
}

#[test]
fn rfc9112_3_2_exactly_one_valid_host() {
    assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n").err(), Some(ParseError::MissingHost));
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").err(), Some(ParseError::MissingHost));
    for host in ["a\r\nHost: a", "a\r\nHost: b", "a\r\nhOST: a"] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(read(text.as_bytes()).err(), Some(ParseError::Host), "{host:?}");
    }
    for host in ["a b", "a/b", "a?b", "a#b", "user@a", "a\\b", "a\"b", "<a>", "a,b c", "\u{e4}"] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(read(text.as_bytes()).err(), Some(ParseError::Host), "{host:?}");
    }
}

#[test]
fn rfc9112_3_2_2_an_absolute_target_replaces_host() {
    let head = read(b"GET http://b.test:8080/p?q HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!((head.authority(), head.path()), ("b.test:8080", "/p?q"));
    assert_eq!(head.form(), TargetForm::Absolute);
    assert_eq!(forwarded(&head), "GET /p?q HTTP/1.1\r\nhost: b.test:8080\r\n\r\n");
    // Even then Host must be there at most once, and valid.
    let twice = b"GET http://b/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    assert_eq!(read(twice).err(), Some(ParseError::Host));
}

#[test]
fn rfc9112_3_2_2_absolute_targets_that_name_nobody_are_refused() {
    for target in
        ["http://", "http:///x", "http:/a", "http:a", "http://u@a/", "http://a b/", "://a/"]
    {
        assert!(line(&format!("GET {target} HTTP/1.1")).is_err(), "{target:?}");
    }
    assert_eq!(line("GET ftp://a/ HTTP/1.1").err(), Some(ParseError::Scheme));
}

#[test]
fn rfc9112_3_2_3_the_authority_form_is_for_connect_only() {
    let head = line("CONNECT b.test:443 HTTP/1.1").unwrap();
    assert_eq!((head.authority(), head.path()), ("b.test:443", ""));
    assert_eq!(head.form(), TargetForm::Authority);
    assert_eq!(line("GET b.test:443 HTTP/1.1").err(), Some(ParseError::RequestLine));
    for target in ["/", "b.test", "b.test:", ":443", "b.test:x", "b.test:65536", "http://b.test:1/"]
    {
        let found = line(&format!("CONNECT {target} HTTP/1.1")).err();
        assert_eq!(found, Some(ParseError::Target), "{target:?}");
    }
}

#[test]
fn rfc9112_3_2_4_the_asterisk_form_is_for_options_only() {
    assert_eq!(line("OPTIONS * HTTP/1.1").unwrap().form(), TargetForm::Asterisk);
    assert_eq!(line("GET * HTTP/1.1").err(), Some(ParseError::Target));
    for request_line in ["OPTIONS ** HTTP/1.1", "OPTIONS *x HTTP/1.1"] {
        assert_eq!(line(request_line).err(), Some(ParseError::RequestLine), "{request_line:?}");
    }
}

#[test]
fn rfc9112_3_2_4_options_for_a_whole_server_is_sent_on_as_an_asterisk() {
    let head = line("OPTIONS http://b.test:8001 HTTP/1.1").unwrap();
    assert_eq!((head.authority(), head.path()), ("b.test:8001", "*"));
    assert_eq!(forwarded(&head), "OPTIONS * HTTP/1.1\r\nhost: b.test:8001\r\n\r\n");
    assert_eq!(line("OPTIONS http://b.test/ HTTP/1.1").unwrap().path(), "/");
    assert_eq!(line("OPTIONS http://b.test?q HTTP/1.1").unwrap().path(), "/?q");
    assert_eq!(line("GET http://b.test HTTP/1.1").unwrap().path(), "/");
}

#[test]
fn rfc9112_4_status_lines_have_three_digits_and_a_clean_reason() {
    for status in ["200 OK", "200 ", "200", "999 x", "200 \u{e4}\t"] {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        assert!(response(&text, ResponseTo::Plain).is_ok(), "{status:?}");
    }
    for status in
        ["", "20", "2000", "099", "-200", "2x0", " 200", "200\0", "200x", "200\tOK", "200 \u{1}"]
    {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let found = response(&text, ResponseTo::Plain).err();
        assert_eq!(found, Some(ParseError::StatusLine), "{status:?}");
    }
}

#[test]
fn rfc9112_4_a_reason_is_our_own_and_stands_behind_one_blank() {
    for (text, expected) in [
        ("HTTP/1.1 299\r\n\r\n", "HTTP/1.1 299 Unknown\r\n\r\n"),
        ("HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        ("HTTP/1.1 404 Gone fishing\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n"),
    ] {
        let head = response(text, ResponseTo::Plain).unwrap();
        let mut out = BytesMut::new();
        let edits = iako_http::ResponseEdits::default();
        iako_http::write_response_head(&head, &edits, Version::Http11, PLAIN, &mut out);
        assert_eq!(lossy(&out), expected);
    }
}

#[test]
fn rfc9112_2_3_a_message_goes_on_in_our_own_version() {
    let old = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n";
    let head = RequestDecoder::new(HTTP_10).head(&mut BytesMut::from(&old[..])).unwrap().unwrap();
    assert!(forwarded(&head).starts_with("GET / HTTP/1.1\r\n"));
    let later = read(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n").unwrap();
    assert!(forwarded(&later).starts_with("GET / HTTP/1.1\r\n"));
    let head = response("HTTP/1.0 200 OK\r\n\r\n", ResponseTo::Plain).unwrap();
    let mut out = BytesMut::new();
    let edits = iako_http::ResponseEdits::default();
    iako_http::write_response_head(&head, &edits, Version::Http11, PLAIN, &mut out);
    assert!(lossy(&out).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn rfc9110_5_3_lines_of_one_name_keep_their_order() {
    let head = with("X-A: 1\r\nx-b: 0\r\nx-a: 2\r\nSet-Cookie: z\r\nX-A: 0\r\n").unwrap();
    let mut edits = RequestEdits::default();
    let name = iako_http::FieldName::parse(b"x-a").unwrap();
    edits.fields.append(name, iako_http::FieldValue::from_static("9"));
    let mut out = BytesMut::new();
    write_request_head(&head, &edits, PLAIN, &mut out);
    let text = lossy(&out);
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("x-a")).collect();
    assert_eq!(lines, ["x-a: 1", "x-a: 2", "x-a: 0", "x-a: 9"]);
}

#[test]
fn rfc9112_5_1_no_blank_stands_before_a_colon() {
    for field in ["x : 1", "x\t: 1", "Content-Length : 3", "Transfer-Encoding : chunked", " : 1"] {
        assert!(with(&format!("{field}\r\n")).is_err(), "{field:?}");
        // A proxy may not pass such a response on as it came. It is refused too: what cannot be what it
        // seems is not repaired.
        let text = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n");
        assert!(response(&text, ResponseTo::Plain).is_err(), "{field:?}");
    }
}

#[test]
fn rfc9112_5_names_are_tokens() {
    for field in ["x", ":", "\u{e4}: 1", "x(: 1", "x\"y: 1", "x@: 1", "x/y: 1", "[x]: 1"] {
        assert_eq!(with(&format!("{field}\r\n")).err(), Some(ParseError::FieldName), "{field:?}");
    }
    assert_eq!(with("x\0: 1\r\n").err(), Some(ParseError::FieldValue));
}

#[test]
fn rfc9110_5_5_values_hold_no_control_characters() {
    for byte in (0..=0x1f_u8).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\n')) {
        let mut text = b"GET / HTTP/1.1\r\nHost: a\r\nx: b".to_vec();
        text.push(byte);
        text.extend_from_slice(b"c\r\n\r\n");
        assert_eq!(read(&text).err(), Some(ParseError::FieldValue), "{byte}");
    }
    let head = with("x: \u{e4}\tb \r\n").unwrap();
    assert_eq!(head.fields().get("x"), Some("\u{e4}\tb".as_bytes()));
}

#[test]
fn rfc9112_5_2_a_folded_value_is_joined_and_framing_fields_fold_never() {
    let head = with("x: a\r\n  b\r\n\tc\r\n").unwrap();
    assert_eq!(head.fields().text("x"), Some("a b c"));
    for field in
        ["Content-Length: 1\r\n 2", "Transfer-Encoding:\r\n chunked", "Content-Length:\r\n 3"]
    {
        assert_eq!(with(&format!("{field}\r\n")).err(), Some(ParseError::Fold), "{field:?}");
    }
    assert_eq!(with("x: a\r\n b\0\r\n").err(), Some(ParseError::FieldValue));
    // A fold that would make two hosts of one.
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n").err(), Some(ParseError::Host));
}

#[test]
fn rfc9112_6_1_length_and_transfer_encoding_exclude_each_other() {
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "content-length: 3\r\nTRANSFER-ENCODING: identity\r\n",
    ] {
        assert_eq!(with(lines).err(), Some(ParseError::LengthAndChunked), "{lines:?}");
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let found = response(&text, ResponseTo::Plain).err();
        assert_eq!(found, Some(ParseError::LengthAndChunked), "{lines:?}");
    }
}

#[test]
fn rfc9112_6_1_the_only_transfer_coding_is_chunked_once() {
    for value in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "identity",
        "identity, chunked",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
    ] {
        let found = with(&format!("Transfer-Encoding: {value}\r\n")).err();
        assert_eq!(found, Some(ParseError::TransferEncoding), "{value:?}");
    }
    assert_eq!(ParseError::TransferEncoding.status(), 501);
    assert_eq!(with("Transfer-Encoding: \tCHUNKED \r\n").unwrap().length(), BodyLength::Chunked);
    assert!(with("Transfer-Encoding: \u{b}chunked\r\n").is_err());
    assert!(with("Transfer-Encoding: chunked\0\r\n").is_err());
}

#[test]
fn rfc9112_6_1_http_10_knows_no_transfer_codings() {
    let text = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let found = RequestDecoder::new(HTTP_10).head(&mut BytesMut::from(&text[..]));
    assert_eq!(found.err(), Some(ParseError::TransferEncoding));
    let text = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(response(text, ResponseTo::Plain).err(), Some(ParseError::TransferEncoding));
}

#[test]
fn rfc9112_6_2_a_content_length_is_decimal_digits() {
    for value in [
        "",
        "+3",
        "-3",
        "3.0",
        "0x3",
        "3 3",
        "3,",
        "3;",
        "\u{663}",
        "3a",
        "9223372036854775808",
        "1e1",
    ] {
        let found = with(&format!("Content-Length: {value}\r\n")).err();
        assert_eq!(found, Some(ParseError::ContentLength), "{value:?}");
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n");
        let found = response(&text, ResponseTo::Plain).err();
        assert_eq!(found, Some(ParseError::ContentLength), "{value:?}");
    }
    let head = with("Content-Length: 9223372036854775807\r\n").unwrap();
    assert_eq!(head.length(), BodyLength::Exact(i64::MAX.unsigned_abs()));
}

#[test]
fn rfc9112_6_3_a_length_is_given_once() {
    let differing = with("Content-Length: 3\r\nContent-Length: 4\r\n");
    assert_eq!(differing.err(), Some(ParseError::ContentLengthRepeated));
    // RFC 9110 §8.6 allows to take "3, 3" for 3; who wrote it is not to be trusted with framing.
    for value in ["3, 3", "3,3", "3, 4"] {
        let found = with(&format!("Content-Length: {value}\r\n"));
        assert_eq!(found.err(), Some(ParseError::ContentLength), "{value:?}");
    }
    let equal = with("Content-Length: 3\r\nContent-Length: 3\r\n");
    assert_eq!(equal.err(), Some(ParseError::ContentLengthRepeated));
}

#[test]
fn rfc9112_6_3_a_request_without_length_has_no_content() {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut buffer =
        BytesMut::from("POST / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(decoder.head(&mut buffer).unwrap().unwrap().length(), BodyLength::Empty);
    assert!(matches!(decoder.body(&mut buffer), Ok(Some(BodyEvent::End))));
    assert_eq!(decoder.head(&mut buffer).unwrap().unwrap().authority(), "b");
}

#[test]
fn rfc9112_6_3_answers_to_head_and_304_have_no_content_whatever_they_say() {
    for framing in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", ""] {
        for (status, to) in
            [(200, ResponseTo::Head), (404, ResponseTo::Head), (304, ResponseTo::Plain)]
        {
            let text = format!("HTTP/1.1 {status} x\r\n{framing}\r\n");
            let head = response(&text, to).unwrap();
            assert_eq!(head.length(), BodyLength::Empty, "{text:?}");
        }
    }
}

// RFC 9110 §8.6, RFC 9112 §6.1. Envoy refuses the same, and forgives a length of 0.
#[test]
fn rfc9112_6_3_204_and_1xx_have_no_content_and_announce_none() {
    for (status, to) in [
        (204, ResponseTo::Plain),
        (204, ResponseTo::Head),
        (100, ResponseTo::Plain),
        (103, ResponseTo::Upgrade),
    ] {
        for framing in ["content-length: 0\r\n", ""] {
            let head = response(&format!("HTTP/1.1 {status} x\r\n{framing}\r\n"), to).unwrap();
            assert_eq!(head.length(), BodyLength::Empty, "{status} {framing}");
        }
        for framing in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
            let found = response(&format!("HTTP/1.1 {status} x\r\n{framing}\r\n"), to);
            assert_eq!(found.err(), Some(ParseError::LengthOfNothing), "{status} {framing}");
        }
    }
}

#[test]
fn rfc9112_6_3_a_2xx_to_connect_is_a_tunnel_whatever_it_says() {
    for framing in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n", ""] {
        let text = format!("HTTP/1.1 200 x\r\n{framing}\r\n");
        let head = response(&text, ResponseTo::Connect).unwrap();
        assert_eq!(head.length(), BodyLength::Tunnel);
    }
}

#[test]
fn rfc9112_6_3_a_response_without_length_lasts_until_close_and_ends_the_connection() {
    let mut decoder = ResponseDecoder::new(Limits::default());
    let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    let head = decoder.head(&mut buffer).unwrap().unwrap();
    assert_eq!((head.length(), head.persistence()), (BodyLength::UntilClose, Persistence::Close));
    let Ok(Some(BodyEvent::Data(data))) = decoder.body(&mut buffer) else { panic!("no content") };
    assert_eq!(data, "HTTP/1.1 200 OK\r\n\r\n");
    assert!(decoder.eof(&buffer).is_ok());
}

#[test]
fn rfc9112_7_1_chunk_sizes_are_hexadecimal_digits() {
    let whole = chunked("A\r\n0123456789\r\n000b\r\n0123456789x\r\n00\r\n\r\nGET").unwrap();
    assert_eq!((whole.content.len(), whole.rest.as_str()), (21, "GET"));
    for size in [
        "",
        "g",
        "-1",
        "+1",
        "0x1",
        " 1",
        "\t1",
        "1 x",
        "1_0",
        "1.",
        "8000000000000000",
        "fffffffffffffffff",
        "00000000000000001",
        "1\0",
        "\u{661}",
    ] {
        let found = chunked(&format!("{size}\r\na\r\n0\r\n\r\n"));
        assert_eq!(found.err(), Some(ParseError::ChunkSize), "{size:?}");
    }
}

#[test]
fn rfc9112_7_1_a_chunk_ends_with_crlf_and_nothing_else() {
    for body in
        ["1\r\na\n0\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\na\r0\r\n\r\n"]
    {
        assert_eq!(chunked(body).err(), Some(ParseError::ChunkEnd), "{body:?}");
    }
    // One octet too few takes the line end for content.
    assert_eq!(chunked("2\r\na\r\n0\r\n\r\n").err(), Some(ParseError::ChunkEnd));
}

#[test]
fn rfc9112_7_1_a_bare_lf_ends_no_line_of_chunked_framing() {
    assert_eq!(chunked("1\na\r\n0\r\n\r\n").err(), Some(ParseError::ChunkSize));
    assert_eq!(chunked("1;x\na\r\n0\r\n\r\n").err(), Some(ParseError::ChunkSize));
    assert_eq!(chunked("1;x=\"\n\r\na\r\n0\r\n\r\n").err(), Some(ParseError::ChunkSize));
    assert_eq!(chunked("0\n\n").err(), Some(ParseError::ChunkSize));
    for end in ["0\r\n\n", "0\r\nx: 1\n\r\n", "0\r\nx: 1\r\n\n"] {
        assert_eq!(chunked(end).err(), Some(ParseError::ChunkEnd), "{end:?}");
    }
}

#[test]
fn rfc9112_7_1_1_chunk_extensions_are_ignored_and_bounded() {
    assert_eq!(chunked("1;a=b;c=\"d\"\r\nx\r\n0 ;e\r\n\r\n").unwrap().content, "x");
    assert_eq!(chunked("1;\u{1}\r\nx\r\n0\r\n\r\n").err(), Some(ParseError::ChunkSize));
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(2000));
    assert_eq!(chunked(&long).err(), Some(ParseError::ChunkExtension));
    // One that never ends is refused as well.
    let endless = format!("1;{}", "e".repeat(2000));
    assert_eq!(chunked(&endless).err(), Some(ParseError::ChunkExtension));
}

#[test]
fn rfc9112_7_1_2_trailers_are_kept_apart_from_fields_and_may_not_frame_or_route() {
    let found = chunked(
        "0\r\nX-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nTE: trailers\r\n\
         Trailer: x\r\nConnection: x-sum\r\nUpgrade: x\r\nGrpc-Status: 0\r\n\r\nnext",
    )
    .unwrap();
    let expected = [("x-sum", "1"), ("grpc-status", "0")];
    assert_eq!(found.trailers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(found.rest, "next");
}

#[test]
fn rfc9112_7_1_2_trailers_are_checked_and_bounded_as_fields_are() {
    assert_eq!(chunked("0\r\nx : 1\r\n\r\n").err(), Some(ParseError::FieldName));
    assert_eq!(chunked("0\r\nx: \0\r\n\r\n").err(), Some(ParseError::FieldValue));
    assert_eq!(chunked("0\r\n x: 1\r\n\r\n").err(), Some(ParseError::Fold));
    let limits = Limits { head_bytes_max: 100, fields_max: 2, ..Limits::default() };
    let many = "0\r\na: 1\r\nb: 1\r\nc: 1\r\n\r\n";
    assert_eq!(chunked_within(many, limits).err(), Some(ParseError::TooManyTrailers));
    let large = format!("0\r\na: {}", "x".repeat(100));
    assert_eq!(chunked_within(&large, limits).err(), Some(ParseError::TrailersTooLarge));
}

#[test]
fn rfc9112_8_messages_that_are_cut_off_are_noticed() {
    for text in [
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n",
    ] {
        let mut decoder = RequestDecoder::new(Limits::default());
        let mut buffer = BytesMut::from(text);
        if decoder.head(&mut buffer).unwrap().is_some() {
            while decoder.body(&mut buffer).unwrap().is_some() {}
        }
        assert_eq!(decoder.eof(&buffer), Err(ParseError::Truncated), "{text:?}");
    }
}

#[test]
fn rfc9112_9_3_persistence_follows_version_and_connection() {
    let persistence = |text: &str| {
        let head = RequestDecoder::new(HTTP_10).head(&mut BytesMut::from(text)).unwrap();
        head.unwrap().persistence()
    };
    use Persistence::{Close, KeepAlive};
    for (version, connection, expected) in [
        ("HTTP/1.1", "", KeepAlive),
        ("HTTP/1.1", "Connection: close\r\n", Close),
        ("HTTP/1.1", "Connection: x, CLOSE\r\n", Close),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", Close),
        ("HTTP/1.1", "Connection: keep-alive, close\r\n", Close),
        ("HTTP/1.1", "Connection: closed\r\n", KeepAlive),
        ("HTTP/1.0", "", Close),
        ("HTTP/1.0", "Connection: keep-alive\r\n", KeepAlive),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", Close),
        ("HTTP/1.0", "Proxy-Connection: keep-alive\r\n", Close),
    ] {
        let text = format!("GET / {version}\r\nHost: a\r\n{connection}\r\n");
        assert_eq!(persistence(&text), expected, "{text:?}");
    }
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_read_one_by_one() {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut buffer = BytesMut::from(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for path in ["/1", "/2", "/3"] {
        assert_eq!(decoder.head(&mut buffer).unwrap().unwrap().path(), path);
        while !matches!(decoder.body(&mut buffer).unwrap(), Some(BodyEvent::End)) {}
    }
    assert!(buffer.is_empty());
}

#[test]
fn rfc9112_11_2_a_request_hidden_in_content_stays_content() {
    let mut decoder = RequestDecoder::new(Limits::default());
    let hidden = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let text =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    let mut buffer = BytesMut::from(text.as_str());
    decoder.head(&mut buffer).unwrap().unwrap();
    let Ok(Some(BodyEvent::Data(data))) = decoder.body(&mut buffer) else { panic!("no content") };
    assert_eq!(data, hidden);
    assert!(buffer.is_empty());
}

#[test]
fn every_message_may_come_octet_by_octet() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                3;x\r\nabc\r\n0\r\nx: 1\r\n\r\n";
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut buffer = BytesMut::new();
    let (mut head, mut content, mut trailers, mut ended) = (false, Vec::new(), 0, false);
    for octet in text.bytes() {
        buffer.extend_from_slice(&[octet]);
        if !head {
            head = decoder.head(&mut buffer).unwrap().is_some();
            continue;
        }
        while let Some(event) = decoder.body(&mut buffer).unwrap() {
            match event {
                BodyEvent::Data(data) => content.extend_from_slice(&data),
                BodyEvent::Trailers(fields) => trailers += fields.len(),
                BodyEvent::End => {
                    ended = true;
                    break;
                }
            }
        }
    }
    assert!(ended && buffer.is_empty());
    assert_eq!((content.as_slice(), trailers), (&b"abc"[..], 1));
}

#[test]
fn rfc9110_7_2_host_is_sent_first_and_once() {
    let head = read(b"GET / HTTP/1.1\r\nx: 1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(forwarded(&head), "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n");
}

#[test]
fn rfc9110_7_6_1_fields_of_the_connection_are_not_sent_on() {
    let head = with(
        "Connection: close, X-Own, upgrade\r\nX-Own: 1\r\nx-own: 2\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABk\r\nX-Kept: 1\r\n",
    )
    .unwrap();
    assert_eq!(fields(&head), [("x-kept".to_owned(), "1".to_owned())]);
}

#[test]
fn rfc9110_7_6_1_a_client_cannot_nominate_what_others_decide_by() {
    let head = with(
        "Connection: Content-Length, X-Forwarded-Client-Cert\r\nContent-Length: 3\r\n\
         X-Forwarded-Client-Cert: c\r\n",
    )
    .unwrap();
    assert_eq!(fields(&head).len(), 2);
    for name in ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", ":path"] {
        let found = with(&format!("Connection: close, {name}\r\n")).err();
        assert_eq!(found, Some(ParseError::ConnectionField), "{name}");
    }
    assert_eq!(with("Connection: Host\r\n").err(), Some(ParseError::MissingHost));
    let many = format!("Connection: {}\r\n", "x, ".repeat(11));
    assert_eq!(with(&many).err(), Some(ParseError::ConnectionField));
}

#[test]
fn rfc9110_7_6_1_no_edit_brings_a_field_of_the_connection_back() {
    let mut edits = HeaderEdits::default();
    for known in [Known::Connection, Known::Upgrade, Known::TransferEncoding, Known::KeepAlive] {
        edits.append(known, iako_http::FieldValue::from_static("x"));
    }
    let none = FieldsBuilder::default().build();
    assert_eq!(edited_fields(&none, &edits).count(), 0);
}

#[test]
fn rfc9110_7_8_an_upgrade_needs_connection_and_http_11() {
    let head = with("Connection: upgrade\r\nUpgrade: websocket\r\n").unwrap();
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    assert_eq!(with("Upgrade: websocket\r\n").unwrap().upgrade(), None);
    assert_eq!(with("Connection: upgrade\r\n").unwrap().upgrade(), None);
    let old = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let head = RequestDecoder::new(HTTP_10).head(&mut BytesMut::from(&old[..])).unwrap().unwrap();
    assert_eq!((head.version(), head.upgrade()), (Version::Http10, None));
}

#[test]
fn rfc9110_7_8_nobody_switches_protocols_unasked() {
    for to in [ResponseTo::Plain, ResponseTo::Head, ResponseTo::Connect] {
        let found = response("HTTP/1.1 101 Switching Protocols\r\n\r\n", to);
        assert_eq!(found.err(), Some(ParseError::UnexpectedSwitch));
    }
}

#[test]
fn rfc9110_9_3_6_connect_has_no_content() {
    let connect =
        |lines: &str| read(format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{lines}\r\n").as_bytes());
    assert_eq!(connect("Content-Length: 0\r\n").unwrap().length(), BodyLength::Tunnel);
    assert_eq!(connect("Content-Length: 1\r\n").err(), Some(ParseError::ConnectLength));
    let chunked = connect("Transfer-Encoding: chunked\r\n");
    assert_eq!(chunked.err(), Some(ParseError::TransferEncoding));
}

#[test]
fn rfc9110_10_1_1_expect_is_for_http_11() {
    assert!(with("Expect: 100-Continue\r\n").unwrap().expects_continue());
    assert!(!with("Expect: 200-ok\r\n").unwrap().expects_continue());
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    let head = RequestDecoder::new(HTTP_10).head(&mut BytesMut::from(&old[..])).unwrap().unwrap();
    assert!(!head.expects_continue());
}

#[test]
fn rfc9110_10_1_4_of_te_only_trailers_travels_on() {
    for (value, expected) in [
        ("trailers", Some("trailers")),
        ("gzip, Trailers", Some("Trailers")),
        ("gzip", None),
        ("", None),
    ] {
        let head = with(&format!("TE: {value}\r\n")).unwrap();
        let found = head.fields().iter().find(|field| field.known == Some(Known::Te));
        assert_eq!(found.map(|field| lossy(field.value)).as_deref(), expected, "{value:?}");
    }
}

#[test]
fn rfc9110_15_2_interim_responses_are_told_apart() {
    for (status, interim) in [(100, true), (103, true), (199, true), (200, false)] {
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(response(&text, ResponseTo::Plain).unwrap().is_interim(), interim);
    }
}

#[test]
fn what_is_written_never_says_two_lengths() {
    let head = with("Content-Length: 3\r\n").unwrap();
    let mut out = BytesMut::new();
    let wire = Wire { framing: Framing::Chunked, ..PLAIN };
    write_request_head(&head, &RequestEdits::default(), wire, &mut out);
    let text = lossy(&out);
    assert!(text.contains("transfer-encoding: chunked") && !text.contains("content-length"));
}

#[test]
fn content_that_does_not_fit_its_length_is_not_written() {
    let mut encoder = BodyEncoder::new(Framing::Length(3));
    let mut out = BytesMut::new();
    assert!(encoder.data(4, &mut out).is_err());
    let mut encoder = BodyEncoder::new(Framing::Length(3));
    encoder.data(2, &mut out).unwrap();
    assert!(encoder.end(None, &mut out).is_err());
}

#[test]
fn names_with_underscores_are_allowed_refused_or_dropped() {
    let read = |underscores| {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nx_y: 1\r\nx-y: 2\r\n\r\n";
        let limits = Limits { underscores, ..Limits::default() };
        RequestDecoder::new(limits).head(&mut BytesMut::from(&text[..])).map(Option::unwrap)
    };
    assert_eq!(read(Underscores::Allow).unwrap().fields().len(), 2);
    assert_eq!(read(Underscores::Drop).unwrap().fields().len(), 1);
    assert_eq!(read(Underscores::Reject).err(), Some(ParseError::Underscore));
}

#[test]
fn heads_are_bounded_in_bytes_and_fields_before_they_are_whole() {
    let limits = Limits { head_bytes_max: 100, fields_max: 3, ..Limits::default() };
    let refusal = |text: &str| RequestDecoder::new(limits).head(&mut BytesMut::from(text)).err();
    let endless_line = format!("GET /{}", "x".repeat(200));
    assert_eq!(refusal(&endless_line), Some(ParseError::HeadTooLarge));
    let endless_value = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(200));
    assert_eq!(refusal(&endless_value), Some(ParseError::HeadTooLarge));
    let many = "GET / HTTP/1.1\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n";
    assert_eq!(refusal(many), Some(ParseError::TooManyFields));
    assert_eq!(ParseError::HeadTooLarge.status(), 431);
    assert_eq!(ParseError::TooManyFields.status(), 431);
}
