//! HPACK against its specification, RFC 7541.

#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use bytes::BytesMut;
use iako_http::hpack::{DecodedField, Decoder, Encoder, FieldSink, HpackError, Pseudo};
use iako_http::{Field, FieldName, Known, Sensitivity};
use proptest::prelude::*;

/// Remembers everything.
#[derive(Debug, Default)]
struct Collect(Vec<(String, String, Sensitivity)>);

impl FieldSink for Collect {
    fn field(&mut self, field: DecodedField<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(field.name), text(field.value), field.sensitivity));
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
    let mut collect = Collect::default();
    decoder.decode(block, &mut collect)?;
    Ok(collect.0.into_iter().map(|(name, value, _)| (name, value)).collect())
}

/// A block in hexadecimal, its fields, and what the table counts afterwards.
type Step<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

/// Decodes blocks in turn.
fn check(table_bytes_max: usize, blocks: &[Step<'_>]) {
    let mut decoder = Decoder::new(table_bytes_max);
    for (block, fields, table_bytes) in blocks {
        let decoded = decode(&mut decoder, &unhex(block)).unwrap();
        let decoded: Vec<(&str, &str)> =
            decoded.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(&decoded, fields, "{block}");
        assert_eq!(decoder.table_bytes(), *table_bytes, "{block}");
    }
}

fn refusal(block: &[u8]) -> Option<HpackError> {
    decode(&mut Decoder::new(4096), block).err()
}

#[test]
fn rfc7541_c_2_single_fields() {
    check(
        4096,
        &[(
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &[("custom-key", "custom-header")],
            55,
        )],
    );
    check(4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0)]);
    check(4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0)]);
    check(4096, &[("82", &[(":method", "GET")], 0)]);
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn rfc7541_c_3_requests_without_huffman() {
    check(
        4096,
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0], 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1], 110),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                REQUESTS[2],
                164,
            ),
        ],
    );
}

#[test]
fn rfc7541_c_4_requests_with_huffman() {
    check(
        4096,
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0], 57),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1], 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUESTS[2], 164),
        ],
    );
}

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
];

#[test]
fn rfc7541_c_5_responses_without_huffman_and_with_eviction() {
    check(
        256,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 \
             303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 \
             6f6d",
                RESPONSES[0],
                222,
            ),
            ("4803 3330 37c1 c0bf", RESPONSES[1], 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 \
             5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 \
             5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
                RESPONSES[2],
                215,
            ),
        ],
    );
}

#[test]
fn rfc7541_c_6_responses_with_huffman_and_with_eviction() {
    check(
        256,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b \
             ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                RESPONSES[0],
                222,
            ),
            ("4883 640e ffc1 c0bf", RESPONSES[1], 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad \
             94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 \
             65c0 03ed 4ee5 b106 3d50 07",
                RESPONSES[2],
                215,
            ),
        ],
    );
}

/// RFC 7541, appendix A.
const STATIC_TABLE: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[test]
fn rfc7541_2_1_fields_keep_their_order() {
    // Of both tables and of none, and a name more than once.
    let fields = [
        (":status", "200"),
        ("b", "1"),
        ("set-cookie", "x=1"),
        ("a", "2"),
        ("set-cookie", "x=0"),
        ("b", "0"),
        ("vary", "a"),
        ("a", "2"),
    ];
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(4096);
    for _ in 0..3 {
        let decoded = decode(&mut decoder, &encode(&mut encoder, &fields)).unwrap();
        let decoded: Vec<_> =
            decoded.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(decoded, fields);
    }
}

#[test]
fn rfc7541_2_3_1_the_static_table_is_that_of_appendix_a() {
    for (index, entry) in (1_u8..).zip(STATIC_TABLE) {
        let decoded = decode(&mut Decoder::new(0), &[0x80 | index]).unwrap();
        assert_eq!(decoded, [(entry.0.to_owned(), entry.1.to_owned())], "{index}");
    }
}

#[test]
fn rfc7541_2_3_2_the_newest_entry_comes_first_and_may_repeat_another() {
    let mut decoder = Decoder::new(4096);
    // The same field enters three times, another between.
    let block = unhex("40 01 61 01 31 40 01 61 01 31 40 01 62 01 32 40 01 61 01 31");
    decode(&mut decoder, &block).unwrap();
    assert_eq!(decoder.table_bytes(), 4 * 34);
    let decoded = decode(&mut decoder, &[0xbe, 0xbf, 0xc0, 0xc1]).unwrap();
    let expected = [("a", "1"), ("b", "2"), ("a", "1"), ("a", "1")];
    assert_eq!(decoded, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(decode(&mut decoder, &[0xc2]), Err(HpackError::Index));
}

#[test]
fn rfc7541_3_2_an_indexed_field_enters_no_table_and_a_literal_only_when_it_says_so() {
    let mut decoder = Decoder::new(4096);
    for (block, bytes) in [
        ("82", 0),
        // Without indexing, never indexed, with a name from the static table or none.
        ("0f 11 01 31", 0),
        ("00 01 61 01 31", 0),
        ("10 01 61 01 31", 0),
        ("40 01 61 01 31", 34),
        ("be", 34),
        // The name of an entry with another value.
        ("7e 01 32", 68),
    ] {
        decode(&mut decoder, &unhex(block)).unwrap();
        assert_eq!(decoder.table_bytes(), bytes, "{block}");
    }
    let decoded = decode(&mut decoder, &[0xbe]).unwrap();
    assert_eq!(decoded, [("a".to_owned(), "2".to_owned())]);
}

#[test]
fn rfc7541_4_1_an_entry_counts_as_its_octets_and_32_more() {
    let entering = |name: &str, value: &str| {
        let mut block = vec![0x40, u8::try_from(name.len()).unwrap()];
        block.extend_from_slice(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
        block
    };
    for (name, value) in [("a", ""), ("a", "1"), ("x-some-name", "and a value")] {
        let mut decoder = Decoder::new(4096);
        decode(&mut decoder, &entering(name, value)).unwrap();
        assert_eq!(decoder.table_bytes(), name.len() + value.len() + 32);
        // It fits exactly, and with one octet less it does not.
        for (room, kept) in [(decoder.table_bytes(), 1), (decoder.table_bytes() - 1, 0)] {
            let mut narrow = Decoder::new(room);
            decode(&mut narrow, &entering(name, value)).unwrap();
            assert_eq!(narrow.table_bytes(), kept * room, "{name} {value} in {room}");
        }
    }
    // Octets count as they are, not as they were coded: `www.example.com` came in 12.
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &unhex("41 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff")).unwrap();
    assert_eq!(decoder.table_bytes(), ":authority".len() + "www.example.com".len() + 32);
}

#[test]
fn rfc7541_4_2_an_encoder_stays_below_the_size_that_the_decoder_allows() {
    for allowed in [0, 32, 100, 4096, 10_000] {
        let mut encoder = Encoder::new(4096);
        encoder.set_table_bytes_max(allowed);
        let mut decoder = Decoder::new(allowed);
        for turn in 0..50 {
            let name = format!("x-name-{}", turn % 20);
            let block = encode(&mut encoder, &[(&name, "value"), ("content-type", "text/plain")]);
            // The decoder refuses a size above its own.
            decode(&mut decoder, &block).unwrap();
            assert!(encoder.table_bytes() <= allowed, "{allowed}");
        }
    }
}

#[test]
fn rfc7541_5_2_the_end_of_string_is_no_symbol() {
    // Thirty bits that are set, alone and behind an `a` (00011), padded as they have to be.
    for coded in ["84 ffff ffff", "85 1fff ffff ff"] {
        let block = [&[0x04][..], &unhex(coded)].concat();
        assert_eq!(refusal(&block), Some(HpackError::Huffman), "{coded}");
    }
    // Padding of eight bits, and padding that is no beginning of it.
    for coded in ["82 1fff", "81 18"] {
        let block = [&[0x04][..], &unhex(coded)].concat();
        assert_eq!(refusal(&block), Some(HpackError::Huffman), "{coded}");
    }
    assert_eq!(refusal(&unhex("04 81 1f")), None);
}

#[test]
fn rfc7541_2_3_3_index_zero_and_indices_beyond_both_tables_are_refused() {
    assert_eq!(refusal(&[0x80]), Some(HpackError::Index));
    assert_eq!(refusal(&[0xbe]), Some(HpackError::Index));
    assert_eq!(refusal(&unhex("7f 00 01 61")), Some(HpackError::Index));
    assert_eq!(refusal(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(HpackError::Index));
}

#[test]
fn rfc7541_4_2_a_size_update_stands_at_the_beginning_of_a_block_only() {
    let mut decoder = Decoder::new(4096);
    assert!(decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).is_ok());
    assert_eq!(decode(&mut decoder, &[0x82, 0x20]), Err(HpackError::LateSizeUpdate));
}

#[test]
fn rfc7541_4_2_a_smaller_table_that_we_asked_for_must_be_announced() {
    let fill = unhex("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &fill).unwrap();
    decoder.set_table_bytes_max(100);
    assert_eq!(decode(&mut decoder, &[0x82]), Err(HpackError::MissingSizeUpdate));

    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &fill).unwrap();
    // Asked for nothing and then for more: the peer has to pass through nothing.
    decoder.set_table_bytes_max(0);
    decoder.set_table_bytes_max(4096);
    decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).unwrap();
    assert_eq!(decoder.table_bytes(), 0);
    decode(&mut decoder, &[0x82]).unwrap();
}

#[test]
fn rfc7541_4_3_a_smaller_table_evicts_the_oldest() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &unhex("40 01 61 01 31 40 01 62 01 32")).unwrap();
    assert_eq!(decoder.table_bytes(), 68);
    // 40 bytes: room for one.
    let fields = decode(&mut decoder, &[0x3f, 0x09, 0xbe]).unwrap();
    assert_eq!(fields, [("b".to_owned(), "2".to_owned())]);
    assert_eq!(decoder.table_bytes(), 34);
    assert_eq!(decode(&mut decoder, &[0xbf]), Err(HpackError::Index));
}

#[test]
fn rfc7541_4_4_a_field_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new(64);
    decode(&mut decoder, &unhex("40 01 61 01 31")).unwrap();
    let mut large = unhex("40 01 62 40");
    large.extend_from_slice(&[b'x'; 64]);
    let fields = decode(&mut decoder, &large).unwrap();
    assert_eq!(fields, [("b".to_owned(), "x".repeat(64))]);
    assert_eq!(decoder.table_bytes(), 0);
}

#[test]
fn rfc7541_4_4_the_name_of_an_entry_that_its_own_use_evicts_is_kept() {
    let mut decoder = Decoder::new(80);
    decode(&mut decoder, &unhex("40 08 6162 6364 6566 6768 01 31")).unwrap();
    let mut block = unhex("7e 28");
    block.extend_from_slice(&[b'y'; 40]);
    let fields = decode(&mut decoder, &block).unwrap();
    assert_eq!(fields, [("abcdefgh".to_owned(), "y".repeat(40))]);
    assert_eq!(decode(&mut decoder, &[0xbe]).unwrap(), fields);
}

#[test]
fn rfc7541_5_1_integers_are_bounded_in_octets_and_value() {
    // 1337 with a prefix of five bits, as in appendix C.1.2, as a table size.
    let mut decoder = Decoder::new(1337);
    assert!(decode(&mut decoder, &[0x3f, 0x9a, 0x0a]).is_ok());
    assert_eq!(refusal(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Some(HpackError::Integer));
    assert_eq!(refusal(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Some(HpackError::Integer));
    assert_eq!(refusal(&[0xff]), Some(HpackError::Truncated));
    assert_eq!(refusal(&[0xff, 0x80]), Some(HpackError::Truncated));
}

#[test]
fn rfc7541_5_2_strings_end_inside_their_block() {
    assert_eq!(refusal(&[0x00]), Some(HpackError::Truncated));
    assert_eq!(refusal(&[0x00, 0x05, b'a']), Some(HpackError::Truncated));
    assert_eq!(refusal(&[0x00, 0x01, b'a']), Some(HpackError::Truncated));
    assert_eq!(refusal(&[0x04, 0x82, 0xff]), Some(HpackError::Truncated));
    assert_eq!(refusal(&[0x04, 0x81, 0xff]), Some(HpackError::Huffman));
}

#[test]
fn rfc7541_6_3_a_table_above_the_limit_is_refused() {
    assert_eq!(refusal(&[0x3f, 0xe2, 0x1f]), Some(HpackError::SizeUpdate));
    assert_eq!(refusal(&[0x3f, 0xe1, 0x1f]), None);
}

#[test]
fn a_bomb_of_references_unfolds_nothing_that_the_sink_does_not_take() {
    struct Count {
        fields: usize,
        bytes: usize,
    }
    impl FieldSink for Count {
        fn field(&mut self, field: DecodedField<'_>) {
            self.fields += 1;
            self.bytes += field.value.len();
        }
    }
    let mut decoder = Decoder::new(4096);
    let mut block = unhex("40 01 61 7f a1 1e");
    block.extend_from_slice(&[b'x'; 4000]);
    block.resize(block.len() + 16_000, 0xbe);
    let mut count = Count { fields: 0, bytes: 0 };
    decoder.decode(&block, &mut count).unwrap();
    assert_eq!((count.fields, count.bytes), (16_001, 64_004_000));
    assert!(decoder.table_bytes() <= 4096);
}

#[test]
fn a_table_that_is_refilled_for_ever_keeps_its_bounds_and_order() {
    let mut decoder = Decoder::new(300);
    for turn in 0..5000_usize {
        let value = format!("{turn:05}");
        let mut block = vec![0x40, 0x02, b'a', b'b', 0x05];
        block.extend_from_slice(value.as_bytes());
        // The three newest are still there, each where it belongs.
        for age in 0..turn.min(3) {
            block.push(0xbe + u8::try_from(age + 1).unwrap());
        }
        let fields = decode(&mut decoder, &block).unwrap();
        for (age, (_, value)) in fields.iter().enumerate() {
            assert_eq!(*value, format!("{:05}", turn - age));
        }
        assert!(decoder.table_bytes() <= 300);
    }
}

fn encode(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for (name, value) in fields {
        put(encoder, name, value, Sensitivity::Plain, &mut out);
    }
    out.to_vec()
}

fn put(
    encoder: &mut Encoder,
    name: &str,
    value: &str,
    sensitivity: Sensitivity,
    out: &mut BytesMut,
) {
    let pseudo = match name {
        ":method" => Pseudo::Method,
        ":scheme" => Pseudo::Scheme,
        ":authority" => Pseudo::Authority,
        ":path" => Pseudo::Path,
        ":status" => Pseudo::Status,
        ":protocol" => Pseudo::Protocol,
        _ => {
            let known = match FieldName::parse(name.as_bytes()).unwrap() {
                FieldName::Known(known) => Some(known),
                FieldName::Other(_) => None,
            };
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let field = Field { known, name, original_name: name, value, sensitivity };
            return encoder.field(&field, out);
        }
    };
    encoder.pseudo(pseudo, value.as_bytes(), out);
}

#[test]
fn what_repeats_takes_one_octet_from_the_third_time() {
    let request = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "shop.default.svc.cluster.local"),
        (":path", "/helloworld.Greeter/SayHello"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.60"),
        ("x-custom", "always the same"),
        ("te", "trailers"),
    ];
    let mut encoder = Encoder::new(4096);
    let sizes: Vec<usize> = (0..3).map(|_| encode(&mut encoder, &request).len()).collect();
    assert!(sizes[0] > 100, "{sizes:?}");
    assert_eq!(sizes[2], request.len());
}

#[test]
fn values_that_never_repeat_push_nothing_out() {
    let mut encoder = Encoder::new(4096);
    let mut table_bytes = 0;
    for turn in 0..1000 {
        let unique = format!("{turn:032}");
        let request = [
            (":path", unique.as_str()),
            ("x-request-id", &unique),
            ("traceparent", &unique),
            ("x-own-id", &unique),
            ("content-length", &unique),
        ];
        encode(&mut encoder, &request);
        if turn == 1 {
            table_bytes = encoder.table_bytes();
        }
    }
    // Only the names entered, each with its first value.
    assert_eq!(encoder.table_bytes(), table_bytes);
    assert_eq!(encode(&mut encoder, &[("x-request-id", "1")]).len(), 4);
}

#[test]
fn rfc7541_7_1_3_secrets_are_never_indexed_by_anybody() {
    let mut encoder = Encoder::new(4096);
    let mut out = BytesMut::new();
    for _ in 0..3 {
        put(&mut encoder, "authorization", "Bearer abc", Sensitivity::Plain, &mut out);
        put(&mut encoder, "set-cookie", "a=b", Sensitivity::Plain, &mut out);
        put(&mut encoder, "cookie", "short=1", Sensitivity::Plain, &mut out);
        // RFC 7541 §6.2.3: what came as never indexed is forwarded as never indexed.
        put(&mut encoder, "x-secret", "s", Sensitivity::Sensitive, &mut out);
    }
    assert_eq!(encoder.table_bytes(), 0);
    let mut collect = Collect::default();
    Decoder::new(4096).decode(&out, &mut collect).unwrap();
    assert_eq!(collect.0.len(), 12);
    assert!(collect.0.iter().all(|(_, _, sensitivity)| *sensitivity == Sensitivity::Sensitive));
}

#[test]
fn rfc7541_4_2_the_encoder_announces_the_smallest_and_the_last_size() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(4096);
    let block = encode(&mut encoder, &[("x-a", "1"), ("x-b", "2")]);
    decode(&mut decoder, &block).unwrap();
    encoder.set_table_bytes_max(0);
    encoder.set_table_bytes_max(1000);
    assert_eq!(encoder.table_bytes(), 0);
    let block = encode(&mut encoder, &[("x-a", "1")]);
    assert!(block.starts_with(&[0x20, 0x3f, 0xc9, 0x07]), "{block:x?}");
    assert_eq!(decode(&mut decoder, &block).unwrap(), [("x-a".to_owned(), "1".to_owned())]);
    assert_eq!(decoder.table_bytes(), encoder.table_bytes());
    assert!(!encode(&mut encoder, &[("x-a", "1")]).starts_with(&[0x20]));
}

#[test]
fn a_peer_without_a_table_gets_literals_only() {
    let mut encoder = Encoder::new(4096);
    encoder.set_table_bytes_max(0);
    let mut decoder = Decoder::new(0);
    for _ in 0..3 {
        let block = encode(&mut encoder, &[("x-a", "1"), ("content-type", "text/plain")]);
        assert_eq!(decode(&mut decoder, &block).unwrap().len(), 2);
    }
    assert_eq!(encoder.table_bytes(), 0);
}

#[test]
fn an_encoder_is_never_larger_than_it_wants_to_be() {
    let mut encoder = Encoder::new(200);
    encoder.set_table_bytes_max(1 << 20);
    let mut decoder = Decoder::new(4096);
    for turn in 0..100 {
        let name = format!("x-{turn}");
        let block = encode(&mut encoder, &[(&name, "1")]);
        decode(&mut decoder, &block).unwrap();
        assert!(encoder.table_bytes() <= 200);
        assert_eq!(decoder.table_bytes(), encoder.table_bytes());
    }
}

#[test]
fn known_names_keep_their_number_through_both_tables() {
    struct Tokens(Vec<iako_http::hpack::Token>);
    impl FieldSink for Tokens {
        fn field(&mut self, field: DecodedField<'_>) {
            self.0.push(field.token);
        }
    }
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(4096);
    for _ in 0..3 {
        let block = encode(&mut encoder, &[("x-request-id", "1"), ("user-agent", "curl")]);
        let mut tokens = Tokens(Vec::new());
        decoder.decode(&block, &mut tokens).unwrap();
        let expected = [Known::XRequestId, Known::UserAgent].map(iako_http::hpack::Token::Known);
        assert_eq!(tokens.0, expected);
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(":path".to_owned()),
        Just(":authority".to_owned()),
        Just(":status".to_owned()),
        Just("cookie".to_owned()),
        Just("accept-encoding".to_owned()),
        Just("x-request-id".to_owned()),
        Just("if-none-match".to_owned()),
        "[a-z]{1,3}",
        "x-[a-z]{1,40}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("gzip, deflate".to_owned()),
        Just("200".to_owned()),
        "[ab]{1,2}",
        "[ -~]{0,100}",
        Just("long ".repeat(210)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_encoded_is_decoded(
        blocks in prop::collection::vec(
            (prop::collection::vec((name(), value()), 0..12), prop::option::of(0_usize..5000)),
            1..30,
        ),
    ) {
        let mut encoder = Encoder::new(4096);
        let mut decoder = Decoder::new(4096);
        for (fields, resize) in blocks {
            if let Some(size) = resize {
                // In either order: the encoder may hear of a larger table later.
                encoder.set_table_bytes_max(size);
                decoder.set_table_bytes_max(size.min(4096));
            }
            let borrowed: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let block = encode(&mut encoder, &borrowed);
            prop_assert_eq!(decode(&mut decoder, &block).unwrap(), fields);
            if !block.is_empty() {
                prop_assert_eq!(decoder.table_bytes(), encoder.table_bytes());
            }
        }
    }

    #[test]
    fn no_block_makes_the_decoder_fail_otherwise_than_by_an_error(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5),
    ) {
        let mut decoder = Decoder::new(4096);
        for block in blocks {
            if decode(&mut decoder, &block).is_err() {
                break;
            }
            prop_assert!(decoder.table_bytes() <= 4096);
        }
    }
}
