//! Field sections of HTTP/2: what is read, what is refused and how, and what is written.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

use bytes::BytesMut;
use iako_http::h2::{ConnectProtocol, Ends, ErrorCode, Violation};
use iako_http::hpack::Pseudo;
use iako_http::{
    BodyLength, FieldName, FieldValue, HeaderEdits, Known, Limits, Method, RequestDecoder,
    RequestEdits, RequestHead, RequestSection, ResponseEdits, ResponseHead, ResponseTo, Scheme,
    SectionError, SectionReader, SectionWriter, Sensitivity, TargetForm, Underscores, Version,
};
use iako_testkit::frames::block;

type Pairs<'a> = &'a [(&'a str, &'a str)];
type Text<'a> = (&'a str, &'a str);

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/x?y=1")];

fn with<'a>(first: &[Text<'a>], more: &[Text<'a>]) -> Vec<Text<'a>> {
    first.iter().chain(more).copied().collect()
}

/// [`GET`] with one pseudo-header field replaced.
fn replaced<'a>(name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    GET.iter().map(|pair| if pair.0 == name { (pair.0, value) } else { *pair }).collect()
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.iter().filter(|pair| pair.0 != name).copied().collect()
}

fn reader() -> SectionReader {
    SectionReader::new(Limits::default(), 4096)
}

fn request(fields: Pairs<'_>) -> Result<RequestHead, SectionError> {
    reader().request(&block(fields), Ends::Later, ConnectProtocol::Accept)
}

fn response(fields: Pairs<'_>, to: ResponseTo) -> Result<ResponseHead, SectionError> {
    reader().response(&block(fields), Ends::Later, to)
}

fn refused(fields: Pairs<'_>) -> SectionError {
    match request(fields) {
        Err(error) => error,
        Ok(head) => panic!("{head:?}"),
    }
}

fn text(head: &RequestHead) -> Vec<(String, String)> {
    head.fields().iter().map(|field| (lossy(field.name), lossy(field.value))).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pairs(fields: Pairs<'_>) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_request_becomes_a_head_in_one_buffer() {
    let head =
        request(&with(&GET, &[("user-agent", "curl/8"), ("x-own", "1"), ("te", "trailers")]))
            .unwrap();
    assert_eq!(*head.method(), Method::Get);
    assert_eq!(head.version(), Version::Http2);
    assert_eq!(head.scheme(), Some(Scheme::Http));
    assert_eq!((head.authority(), head.path()), ("a.test", "/x?y=1"));
    assert_eq!(head.form(), TargetForm::Origin);
    assert_eq!(head.length(), BodyLength::Chunked);
    assert_eq!(text(&head), pairs(&[("user-agent", "curl/8"), ("x-own", "1"), ("te", "trailers")]));
    assert_eq!(head.fields().text(Known::UserAgent), Some("curl/8"));
    assert_eq!(head.fields().text("x-own"), Some("1"));
}

#[test]
fn heads_that_follow_each_other_do_not_disturb_each_other() {
    let mut reader = reader();
    let heads: Vec<RequestHead> = (0..50)
        .map(|turn| {
            let path = format!("/{turn}");
            let fields = with(&without(":path"), &[(":path", &path), ("x-turn", &path)]);
            let block = block(&fields);
            reader.request(&block, Ends::Here, ConnectProtocol::Refuse).unwrap()
        })
        .collect();
    for (turn, head) in heads.iter().enumerate() {
        assert_eq!(head.path(), format!("/{turn}"));
        assert_eq!(head.fields().text("x-turn"), Some(head.path()));
        assert_eq!(head.length(), BodyLength::Empty);
    }
}

#[test]
fn rfc9113_8_2_names_are_written_in_lower_case_whatever_they_were() {
    let limits = Limits { name_case: iako_http::NameCase::Preserve, ..Limits::default() };
    let text =
        "POST / HTTP/1.1\r\nHost: a\r\nX-OwN: 1\r\nUSER-AGENT: x\r\nContent-Length: 3\r\n\r\n";
    let head = RequestDecoder::new(limits).head(&mut BytesMut::from(text)).unwrap().unwrap();
    let section = RequestSection { length: Some(3), ..PLAIN };
    let fields =
        written(|writer, out| writer.request(&head, &RequestEdits::default(), section, out));
    assert!(fields.contains(&("x-own".to_owned(), "1".to_owned())), "{fields:?}");
    assert_eq!(fields.iter().find(|(name, _)| name.chars().any(char::is_uppercase)), None);

    let text = "HTTP/1.1 200 OK\r\nX-OwN: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut decoder = iako_http::ResponseDecoder::new(limits);
    decoder.expect(ResponseTo::Plain);
    let head = decoder.head(&mut BytesMut::from(text)).unwrap().unwrap();
    let fields = written(|writer, out| {
        writer.response(&head, &ResponseEdits::default(), None, out);
    });
    assert_eq!(fields, pairs(&[(":status", "200"), ("x-own", "1")]));
    let fields = written(|writer, out| {
        writer.trailers(head.fields(), &HeaderEdits::default(), out);
    });
    assert_eq!(fields, pairs(&[("x-own", "1")]));
}

#[test]
fn rfc9113_8_2_1_names_are_lower_case_tokens() {
    assert_eq!(refused(&with(&GET, &[("X-Upper", "1")])), SectionError::UpperCase);
    for name in ["", "a b", "a:b", "a\n", "a\0", "ä", "a\u{7f}", "(a)"] {
        assert_eq!(refused(&with(&GET, &[(name, "1")])), SectionError::Name, "{name:?}");
    }
}

#[test]
fn rfc9113_8_2_1_values_hold_no_control_characters() {
    for byte in (0..=0x1f_u8).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let value = format!("a{}b", char::from(byte));
        assert_eq!(refused(&with(&GET, &[("x-a", &value)])), SectionError::Value, "{byte}");
        assert_eq!(refused(&replaced(":path", &format!("/{value}"))), SectionError::Value);
    }
    assert!(request(&with(&GET, &[("x-a", "a\tb")])).is_ok());
    assert!(request(&with(&GET, &[("x-a", "ünï")])).is_ok());
}

#[test]
fn rfc9113_8_2_1_values_neither_begin_nor_end_with_a_blank() {
    for value in [" a", "a ", "\ta", "a\t", " "] {
        assert_eq!(refused(&with(&GET, &[("x-a", value)])), SectionError::Blank, "{value:?}");
    }
    assert!(request(&with(&GET, &[("x-a", "")])).is_ok());
}

#[test]
fn rfc9113_8_2_2_fields_of_a_connection_are_refused() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        let fields = with(&GET, &[(name, "x")]);
        assert_eq!(refused(&fields), SectionError::ConnectionField, "{name}");
    }
    // `http2-settings` is of a connection too, but not forbidden: it ends here.
    let head = request(&with(&GET, &[("http2-settings", "AAMAAABk")])).unwrap();
    assert!(head.fields().is_empty());
}

#[test]
fn rfc9113_8_2_2_te_says_trailers_or_nothing() {
    assert_eq!(refused(&with(&GET, &[("te", "gzip")])), SectionError::Te);
    assert_eq!(refused(&with(&GET, &[("te", "trailers, gzip")])), SectionError::Te);
    assert!(request(&with(&GET, &[("te", "trailers")])).is_ok());
}

#[test]
fn rfc9113_8_2_3_crumbs_of_a_cookie_are_joined_wherever_they_stand() {
    let head = request(&with(&GET, &[("cookie", "a=1"), ("cookie", "b=2"), ("x-a", "1")])).unwrap();
    assert_eq!(text(&head), pairs(&[("cookie", "a=1; b=2"), ("x-a", "1")]));
    let scattered = [
        ("cookie", "a=1"),
        ("x-a", "1"),
        ("cookie", "b=2"),
        ("cookie", "c=3"),
        ("x-b", "2"),
        ("cookie", "d=4"),
    ];
    let head = request(&with(&GET, &scattered)).unwrap();
    let expected = [("cookie", "a=1; b=2; c=3; d=4"), ("x-a", "1"), ("x-b", "2")];
    assert_eq!(text(&head), pairs(&expected));
    // Empty ones leave no blank at either end.
    for (crumbs, joined) in [
        (["", "", ""], ""),
        (["a=1", "", ""], "a=1; ;"),
        (["", "a=1", "b=2"], "a=1; b=2"),
        (["a=1", "", "b=2"], "a=1; ; b=2"),
    ] {
        let [first, second, third] = crumbs.map(|crumb| ("cookie", crumb));
        let head = request(&with(&GET, &[first, second, third])).unwrap();
        assert_eq!(text(&head), pairs(&[("cookie", joined)]), "{crumbs:?}");
        let head = request(&with(&GET, &[first, ("x-a", "1"), second, third])).unwrap();
        assert_eq!(text(&head), pairs(&[("cookie", joined), ("x-a", "1")]), "{crumbs:?}");
    }
}

#[test]
fn rfc9113_8_3_pseudo_fields_stand_in_front_once_and_are_known() {
    let late = with(&without(":path"), &[("x-a", "1"), (":path", "/")]);
    assert_eq!(refused(&late), SectionError::LatePseudo);
    for pair in GET {
        let error = refused(&with(&GET, &[pair]));
        assert!(matches!(error, SectionError::RepeatedPseudo(_)), "{pair:?}: {error:?}");
    }
    assert_eq!(refused(&with(&GET, &[(":foo", "1")])), SectionError::UnknownPseudo);
    assert_eq!(
        refused(&with(&GET, &[(":status", "200")])),
        SectionError::UnexpectedPseudo(Pseudo::Status)
    );
}

#[test]
fn rfc9113_8_3_1_method_scheme_and_path_are_needed() {
    for (name, pseudo) in
        [(":method", Pseudo::Method), (":scheme", Pseudo::Scheme), (":path", Pseudo::Path)]
    {
        assert_eq!(refused(&without(name)), SectionError::MissingPseudo(pseudo));
    }
    let error = SectionError::MissingPseudo(Pseudo::Path);
    assert_eq!(error.details(), "http2.violation.of.messaging.rule");
}

#[test]
fn rfc9113_8_3_1_a_path_begins_with_a_slash_and_holds_no_blanks() {
    let malformed = SectionError::MalformedPseudo(Pseudo::Path);
    for path in ["", "x", "http://a/", "/a b", " /", "/ ", "?a", "*"] {
        assert_eq!(refused(&replaced(":path", path)), malformed, "{path:?}");
    }
    let mut fields = block(&without(":path"));
    fields.extend_from_slice(b"\x00\x05:path\x03/\xff\xfe");
    let refused = reader().request(&fields, Ends::Here, ConnectProtocol::Refuse);
    assert_eq!(refused.err(), Some(malformed));
    let options =
        [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
    assert_eq!(request(&options).unwrap().form(), TargetForm::Asterisk);
}

#[test]
fn rfc9113_8_3_1_authority_and_host() {
    // Envoy: `:authority` wins over `host`, and `host` alone is taken.
    let head = request(&with(&GET, &[("host", "b.test")])).unwrap();
    assert_eq!(head.authority(), "a.test");
    assert!(head.fields().is_empty());
    let head = request(&with(&without(":authority"), &[("host", "b.test")])).unwrap();
    assert_eq!(head.authority(), "b.test");
    assert!(!head.fields().contains(Known::Host));
    assert_eq!(refused(&without(":authority")), SectionError::MissingPseudo(Pseudo::Authority));
    for authority in ["", "user@a.test", "a/b", "a b", "a?b", "a#b", "a\\b", "ä.test"] {
        let error = SectionError::MalformedPseudo(Pseudo::Authority);
        assert_eq!(refused(&replaced(":authority", authority)), error, "{authority:?}");
        let host = with(&without(":authority"), &[("host", authority)]);
        assert!(request(&host).is_err(), "{authority:?}");
    }
    assert_eq!(refused(&with(&GET, &[("host", "a"), ("host", "a")])), SectionError::Host);
}

#[test]
fn rfc9113_8_3_1_methods_are_tokens_and_schemes_are_schemes() {
    for method in ["", "G ET", "GET\u{e4}", "GET("] {
        assert!(request(&replaced(":method", method)).is_err(), "{method:?}");
    }
    assert_eq!(request(&replaced(":method", "FOO")).unwrap().method().as_str(), "FOO");
    for scheme in ["", "ht tp", "1http", "http:"] {
        assert!(request(&replaced(":scheme", scheme)).is_err(), "{scheme:?}");
    }
    // As with Envoy, another scheme is taken and counts for nothing.
    assert_eq!(request(&replaced(":scheme", "ftp")).unwrap().scheme(), None);
}

#[test]
fn rfc9113_8_5_connect_names_an_authority_and_nothing_else() {
    let head = request(&[(":method", "CONNECT"), (":authority", "a.test:443")]).unwrap();
    assert_eq!(head.form(), TargetForm::Authority);
    assert_eq!((head.authority(), head.path()), ("a.test:443", ""));
    assert_eq!(head.length(), BodyLength::Tunnel);
    assert_eq!(head.upgrade(), None);
    let connect = [(":method", "CONNECT"), (":authority", "a")];
    assert_eq!(
        refused(&with(&connect, &[(":path", "/")])),
        SectionError::UnexpectedPseudo(Pseudo::Path)
    );
    assert_eq!(
        refused(&with(&connect, &[(":scheme", "http")])),
        SectionError::UnexpectedPseudo(Pseudo::Scheme)
    );
    assert_eq!(
        refused(&[(":method", "CONNECT"), ("host", "a")]),
        SectionError::MissingPseudo(Pseudo::Authority)
    );
    // RFC 9110 §9.3.6: content of CONNECT is the tunnel's.
    let head = request(&with(&connect, &[("content-length", "5")])).unwrap();
    assert_eq!(head.length(), BodyLength::Tunnel);
    assert!(!head.fields().contains(Known::ContentLength));
}

#[test]
fn rfc8441_4_extended_connect_has_all_pseudo_fields() {
    let connect = with(&replaced(":method", "CONNECT"), &[(":protocol", "websocket")]);
    let head = request(&connect).unwrap();
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    assert_eq!((head.authority(), head.path()), ("a.test", "/x?y=1"));
    assert_eq!(head.length(), BodyLength::Tunnel);
    for (name, pseudo) in
        [(":scheme", Pseudo::Scheme), (":path", Pseudo::Path), (":authority", Pseudo::Authority)]
    {
        let fields: Vec<_> = connect.iter().filter(|pair| pair.0 != name).copied().collect();
        assert_eq!(refused(&fields), SectionError::MissingPseudo(pseudo));
    }
    let unexpected = SectionError::UnexpectedPseudo(Pseudo::Protocol);
    assert_eq!(refused(&with(&GET, &[(":protocol", "websocket")])), unexpected);
    // RFC 8441 §3: only after we have said that we take it.
    let refused = reader().request(&block(&connect), Ends::Later, ConnectProtocol::Refuse);
    assert_eq!(refused.err(), Some(unexpected));
}

#[test]
fn rfc9113_8_1_1_content_length_is_one_number_that_fits_the_stream() {
    for value in ["", "x", "-1", "+1", "1,1", "0x1", "9223372036854775808", "1 1"] {
        let fields = with(&GET, &[("content-length", value)]);
        assert_eq!(refused(&fields), SectionError::ContentLength, "{value:?}");
    }
    for second in ["1", "2"] {
        let fields = with(&GET, &[("content-length", "1"), ("content-length", second)]);
        assert_eq!(refused(&fields), SectionError::ContentLengthRepeated);
    }
    let head = request(&with(&GET, &[("content-length", "1")])).unwrap();
    assert_eq!(head.length(), BodyLength::Exact(1));
    let ended = |length| {
        reader().request(
            &block(&with(&GET, &[("content-length", length)])),
            Ends::Here,
            ConnectProtocol::Refuse,
        )
    };
    assert_eq!(ended("0").unwrap().length(), BodyLength::Exact(0));
    assert_eq!(ended("5").err(), Some(SectionError::MissingContent));
}

#[test]
fn underscores_are_allowed_refused_or_dropped() {
    let fields = block(&with(&GET, &[("x_y", "1"), ("x-z", "2")]));
    let read = |underscores| {
        let limits = Limits { underscores, ..Limits::default() };
        SectionReader::new(limits, 4096).request(&fields, Ends::Here, ConnectProtocol::Refuse)
    };
    assert_eq!(read(Underscores::Allow).unwrap().fields().len(), 2);
    assert_eq!(text(&read(Underscores::Drop).unwrap()), pairs(&[("x-z", "2")]));
    let error = read(Underscores::Reject).unwrap_err();
    assert_eq!(error, SectionError::Underscore);
    assert_eq!(error.details(), "http2.unexpected_underscore");
}

#[test]
fn counts_and_sizes_are_bounded_and_the_table_survives_it() {
    let limits = Limits { fields_max: 5, head_bytes_max: 100, ..Limits::default() };
    let mut reader = SectionReader::new(limits, 4096);
    let read = |reader: &mut SectionReader, block: &[u8]| {
        reader.request(block, Ends::Here, ConnectProtocol::Refuse)
    };
    let error = read(&mut reader, &block(&with(&GET, &[("a", "1"), ("b", "2")]))).unwrap_err();
    assert_eq!(error, SectionError::TooManyFields);
    assert_eq!(error.violation().code(), ErrorCode::INTERNAL_ERROR);
    assert_eq!(error.details(), "http2.too_many_headers");
    // The entry that came behind the limit is in the table nevertheless.
    let mut large = block(&with(&GET, &[("x-large", &"v".repeat(100))]));
    large.extend_from_slice(b"\x40\x03x-z\x01z");
    assert_eq!(read(&mut reader, &large).err(), Some(SectionError::TooLarge));
    let mut next = block(&GET);
    next.push(0xbe);
    assert_eq!(text(&read(&mut reader, &next).unwrap()), pairs(&[("x-z", "z")]));
}

#[test]
fn a_bomb_of_references_costs_no_memory() {
    let mut reader = reader();
    let mut bomb = block(&GET);
    bomb.extend_from_slice(b"\x40\x01a\x7f\xa1\x1e");
    bomb.extend_from_slice(&[b'x'; 4000]);
    bomb.resize(bomb.len() + 16_000, 0xbe);
    for _ in 0..10 {
        let refused = reader.request(&bomb, Ends::Here, ConnectProtocol::Refuse);
        assert_eq!(refused.err(), Some(SectionError::TooLarge));
    }
    assert!(reader.request(&block(&GET), Ends::Here, ConnectProtocol::Refuse).is_ok());
}

#[test]
fn a_skipped_block_changes_the_table() {
    let mut reader = reader();
    reader.skip(b"\x40\x03x-z\x01z").unwrap();
    let mut next = block(&GET);
    next.push(0xbe);
    let head = reader.request(&next, Ends::Here, ConnectProtocol::Refuse).unwrap();
    assert_eq!(text(&head), pairs(&[("x-z", "z")]));
}

#[test]
fn what_cannot_be_decompressed_is_the_connections_error() {
    let error = reader().request(&[0x80], Ends::Here, ConnectProtocol::Refuse).unwrap_err();
    assert_eq!(error.violation(), Violation::Compression);
    assert_eq!(error.violation().code(), ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn envoys_details_for_malformed_fields() {
    for fields in [
        with(&GET, &[("X", "1")]),
        with(&GET, &[("te", "gzip")]),
        with(&GET, &[("upgrade", "x")]),
        with(&GET, &[(":foo", "x")]),
        with(&GET, &[(":path", "/")]),
        with(&GET, &[("a", "\0")]),
        replaced(":path", ""),
        with(&without(":path"), &[("x-a", "1"), (":path", "/")]),
    ] {
        assert_eq!(refused(&fields).details(), "http2.invalid.header.field", "{fields:?}");
    }
}

#[test]
fn rfc9113_8_3_2_a_response_has_a_status_of_three_digits() {
    let head = response(&[(":status", "200"), ("server", "x")], ResponseTo::Plain).unwrap();
    assert_eq!((head.status(), head.version()), (200, Version::Http2));
    assert_eq!(head.length(), BodyLength::Chunked);
    assert_eq!(head.fields().text(Known::Server), Some("x"));
    let malformed = SectionError::MalformedPseudo(Pseudo::Status);
    for status in ["", "20", "2000", "abc", "099", "+20", "2 0"] {
        let refused = response(&[(":status", status)], ResponseTo::Plain);
        assert_eq!(refused.err(), Some(malformed), "{status:?}");
    }
    let missing = response(&[("server", "x")], ResponseTo::Plain);
    assert_eq!(missing.err(), Some(SectionError::MissingPseudo(Pseudo::Status)));
    let twice = response(&[(":status", "200"), (":status", "200")], ResponseTo::Plain);
    assert_eq!(twice.err(), Some(SectionError::RepeatedPseudo(Pseudo::Status)));
    let foreign = response(&[(":status", "200"), (":path", "/")], ResponseTo::Plain);
    assert_eq!(foreign.err(), Some(SectionError::UnexpectedPseudo(Pseudo::Path)));
}

#[test]
fn rfc9113_8_6_switching_protocols_does_not_exist() {
    let refused = response(&[(":status", "101")], ResponseTo::Upgrade);
    assert_eq!(refused.err(), Some(SectionError::MalformedPseudo(Pseudo::Status)));
}

#[test]
fn rfc9113_8_1_an_interim_response_does_not_end_the_stream() {
    assert!(
        response(&[(":status", "103"), ("link", "</a>")], ResponseTo::Plain).unwrap().is_interim()
    );
    let ended = reader().response(&block(&[(":status", "103")]), Ends::Here, ResponseTo::Plain);
    assert_eq!(ended.err(), Some(SectionError::EndedInterim));
}

#[test]
fn rfc9110_6_4_1_responses_without_content_may_announce_some() {
    let announced = [(":status", "200"), ("content-length", "5")];
    let read = |fields: Pairs<'_>, to| reader().response(&block(fields), Ends::Here, to);
    assert_eq!(read(&announced, ResponseTo::Head).unwrap().length(), BodyLength::Empty);
    let not_modified = [(":status", "304"), ("content-length", "5")];
    assert_eq!(read(&not_modified, ResponseTo::Plain).unwrap().length(), BodyLength::Empty);
    assert_eq!(read(&announced, ResponseTo::Plain).err(), Some(SectionError::MissingContent));
    for to in [ResponseTo::Connect, ResponseTo::Upgrade] {
        assert_eq!(response(&announced, to).unwrap().length(), BodyLength::Tunnel);
    }
}

#[test]
fn rfc9113_8_1_trailers_have_no_pseudo_fields_and_change_no_framing() {
    let read = |fields: Pairs<'_>| reader().trailers(&block(fields));
    let fields = read(&[
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("host", "b"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("x-a", "1"),
    ])
    .unwrap();
    let names: Vec<String> = fields.iter_all().map(|field| lossy(field.name)).collect();
    assert_eq!(names, ["grpc-status", "x-a"]);
    assert_eq!(read(&[(":path", "/")]).err(), Some(SectionError::UnexpectedPseudo(Pseudo::Path)));
    assert_eq!(read(&[("connection", "x")]).err(), Some(SectionError::ConnectionField));
}

/// Reads back what was written, with the pseudo-header fields as the peer sees them.
fn written(write: impl FnOnce(&mut SectionWriter, &mut BytesMut)) -> Vec<(String, String)> {
    struct Collect(Vec<(String, String)>);
    impl iako_http::hpack::FieldSink for Collect {
        fn field(&mut self, field: iako_http::hpack::DecodedField<'_>) {
            self.0.push((lossy(field.name), lossy(field.value)));
        }
    }
    let mut out = BytesMut::new();
    write(&mut SectionWriter::new(4096), &mut out);
    let mut collect = Collect(Vec::new());
    iako_http::hpack::Decoder::new(4096).decode(&out, &mut collect).unwrap();
    collect.0
}

fn http1(text: &str) -> RequestHead {
    let mut buffer = BytesMut::from(text);
    RequestDecoder::new(Limits::default()).head(&mut buffer).unwrap().unwrap()
}

const PLAIN: RequestSection<'_> =
    RequestSection { scheme: Scheme::Http, length: None, protocol: None };

#[test]
fn an_http1_request_is_written_without_what_http2_forbids() {
    let head = http1(
        "POST /a HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
         Keep-Alive: 5\r\nTE: gzip, Trailers\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: x\r\nProxy-Connection: x\r\nX-Kept: 1\r\n\r\n",
    );
    let fields = written(|writer, out| {
        writer.request(&head, &RequestEdits::default(), PLAIN, out);
    });
    let expected = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/a"),
        ("te", "trailers"),
        ("x-kept", "1"),
    ];
    assert_eq!(fields, pairs(&expected));
}

#[test]
fn edits_are_applied_while_writing() {
    let head = http1("GET /a HTTP/1.1\r\nhost: a\r\nx-old: 1\r\ncontent-length: 3\r\n\r\n");
    let mut edits = RequestEdits {
        method: Some(Method::Put),
        scheme: Some(Scheme::Https),
        authority: Some("b".into()),
        path: Some("/b c\n".into()),
        ..RequestEdits::default()
    };
    edits.fields.remove(FieldName::parse(b"x-old").unwrap());
    edits.fields.set(Known::XRequestId, FieldValue::from_static(" id "));
    edits.fields.set(Known::Te, FieldValue::from_static("gzip"));
    edits.fields.set(Known::Connection, FieldValue::from_static("close"));
    let section = RequestSection { length: Some(3), ..PLAIN };
    let fields = written(|writer, out| writer.request(&head, &edits, section, out));
    let expected = [
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", "b"),
        (":path", "/b%20c%0A"),
        ("x-request-id", "id"),
        ("content-length", "3"),
    ];
    assert_eq!(fields, pairs(&expected));
}

#[test]
fn rfc8441_5_an_upgrade_becomes_an_extended_connect_and_its_acceptance_200() {
    let head = http1(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\n\r\n",
    );
    let section = RequestSection { protocol: head.upgrade(), ..PLAIN };
    let fields =
        written(|writer, out| writer.request(&head, &RequestEdits::default(), section, out));
    let expected = [
        (":method", "CONNECT"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/chat"),
        (":protocol", "websocket"),
        ("sec-websocket-version", "13"),
    ];
    assert_eq!(fields, pairs(&expected));

    let accepted =
        ResponseHead::new(101, Version::Http11, BodyLength::Tunnel, iako_http::Fields::default());
    let fields =
        written(|writer, out| writer.response(&accepted, &ResponseEdits::default(), None, out));
    assert_eq!(fields, pairs(&[(":status", "200")]));
}

#[test]
fn an_extended_connect_is_forwarded_as_one() {
    let connect = with(&replaced(":method", "CONNECT"), &[(":protocol", "websocket")]);
    let head = request(&connect).unwrap();
    let fields = written(|writer, out| writer.request(&head, &RequestEdits::default(), PLAIN, out));
    assert_eq!(
        fields.iter().filter(|(name, _)| name.starts_with(':')).count(),
        connect.len(),
        "{fields:?}"
    );
}

#[test]
fn rfc9113_8_5_plain_connect_is_written_without_scheme_and_path() {
    let head = http1("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n");
    let fields = written(|writer, out| writer.request(&head, &RequestEdits::default(), PLAIN, out));
    assert_eq!(fields, pairs(&[(":method", "CONNECT"), (":authority", "a.test:443")]));
}

#[test]
fn responses_interim_responses_and_trailers_are_written() {
    let head = response(&[(":status", "200"), ("server", "x")], ResponseTo::Plain).unwrap();
    let mut edits = ResponseEdits { status: Some(503), ..ResponseEdits::default() };
    edits.fields.append(Known::Via, FieldValue::from_static("mesh"));
    let fields = written(|writer, out| writer.response(&head, &edits, Some(7), out));
    let expected = [(":status", "503"), ("server", "x"), ("via", "mesh"), ("content-length", "7")];
    assert_eq!(fields, pairs(&expected));

    let none = HeaderEdits::default();
    let fields = written(|writer, out| writer.interim(103, head.fields(), &none, out));
    assert_eq!(fields, pairs(&[(":status", "103"), ("server", "x")]));

    let mut edits = HeaderEdits::default();
    edits.set(Known::GrpcStatus, FieldValue::from_static("0"));
    edits.set(Known::ContentLength, FieldValue::from_static("5"));
    edits.set(Known::Trailer, FieldValue::from_static("x"));
    let fields = written(|writer, out| writer.trailers(head.fields(), &edits, out));
    assert_eq!(fields, pairs(&[("server", "x"), ("grpc-status", "0")]));
}

#[test]
fn rfc7541_6_2_3_what_came_as_never_indexed_goes_on_as_never_indexed() {
    let mut fields = block(&GET);
    fields.extend_from_slice(b"\x10\x08x-secret\x01s");
    let head = reader().request(&fields, Ends::Here, ConnectProtocol::Refuse).unwrap();
    let secret = head.fields().iter().next().unwrap();
    assert_eq!(secret.sensitivity, Sensitivity::Sensitive);
    let mut out = BytesMut::new();
    let mut writer = SectionWriter::new(4096);
    for _ in 0..3 {
        out.clear();
        writer.request(&head, &RequestEdits::default(), PLAIN, &mut out);
        assert!(out.ends_with(b"\x10\x08x-secret\x01s"), "{out:?}");
    }
}

#[test]
fn a_request_that_came_by_http2_is_written_as_http1_and_read_again() {
    let head = request(&with(&GET, &[("user-agent", "curl/8"), ("x-own", "1"), ("cookie", "a=1")]))
        .unwrap();
    let mut out = BytesMut::new();
    let wire = iako_http::Wire {
        framing: iako_http::Framing::Silent,
        connection: iako_http::ConnectionField::Omit,
    };
    iako_http::write_request_head(&head, &RequestEdits::default(), wire, &mut out);
    let again = RequestDecoder::new(Limits::default()).head(&mut out).unwrap().unwrap();
    assert_eq!(text(&again), text(&head));
    assert_eq!((again.authority(), again.path()), (head.authority(), head.path()));
}

#[test]
fn random_blocks_are_read_or_refused() {
    use proptest::prelude::*;
    proptest!(|(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..6))| {
        let mut reader = reader();
        for block in blocks {
            let head = reader.request(&block, Ends::Here, ConnectProtocol::Accept);
            if matches!(head, Err(SectionError::Compression(_))) {
                break;
            }
        }
    });
}

#[test]
fn rfc9110_8_6_responses_that_have_no_content_by_their_status_announce_none() {
    for status in ["103", "204"] {
        let read = |length| {
            response(&[(":status", status), ("content-length", length)], ResponseTo::Plain)
        };
        assert_eq!(read("5").err(), Some(SectionError::UnexpectedLength), "{status}");
        assert_eq!(read("0").unwrap().length(), BodyLength::Empty, "{status}");
    }
}
