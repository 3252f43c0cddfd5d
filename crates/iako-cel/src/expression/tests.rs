use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::{HeadersOf, MetadataOf, StateOf};

const ALL: Options =
    Options { string_conversion: true, string_concat: true, string_functions: true };

/// A request with two headers, and metadata of a route.
struct Asked(Map<String, Json>);

fn asked() -> Asked {
    let Json::Object(route) = json!({"k": "rv", "list": [1, "a"], "deep": {"n": 2}}) else {
        panic!("an object")
    };
    Asked(route)
}

impl Facts for Asked {
    fn attribute(&self, attribute: Attribute) -> Option<Value<'_>> {
        Some(match attribute {
            Attribute::RequestPath => Value::text("/a/b?x=1"),
            Attribute::RequestSize => Value::Int(0),
            Attribute::RequestTime => Value::Timestamp(1_577_934_245_500_000_000),
            Attribute::RouteMetadata => Value::Metadata(MetadataOf::Route),
            Attribute::UpstreamLocality => Value::Record(Arc::new(vec![
                ("region", Value::text("re")),
                ("zone", Value::text("")),
            ])),
            _ => return None,
        })
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Cow<'_, str>> {
        match (of, name) {
            (HeadersOf::Request, "x-a") => Some(Cow::Borrowed("v1,v2")),
            (HeadersOf::Request, ":path") => Some(Cow::Borrowed("/a/b?x=1")),
            _ => None,
        }
    }

    fn headers(&self, of: HeadersOf) -> Vec<(String, String)> {
        let names = [":path", "x-a"].into_iter();
        let found = names.filter_map(|name| Some((name.to_owned(), self.header(of, name)?.into())));
        found.collect()
    }

    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Json>>> {
        (of == MetadataOf::Route && namespace == "rm").then_some(Cow::Borrowed(&self.0))
    }

    fn namespaces(&self, of: MetadataOf) -> Vec<String> {
        (of == MetadataOf::Route).then(|| "rm".to_owned()).into_iter().collect()
    }

    fn state(&self, of: StateOf, key: &str) -> Option<Cow<'_, str>> {
        (of == StateOf::Downstream && key == "obj").then_some(Cow::Borrowed("text"))
    }
}

/// As a log shows it: the text, and JSON; `-` without a value.
fn shown(text: &str, options: Options) -> (String, Json) {
    let facts = asked();
    let expression = Expression::parse(text, options).unwrap_or_else(|e| panic!("{text}: {e}"));
    let value = expression.evaluate(&facts);
    value.map_or(("-".to_owned(), Json::Null), |value| {
        (value.shown(&facts).into_owned(), value.to_json(&facts))
    })
}

fn check(cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(shown(text, ALL).0, *wanted, "{text}");
    }
}

// What a real Envoy 1.40 shows for the same expressions.
#[test]
fn values_are_what_envoy_says() {
    check(&[
        ("1 + 2", "3"),
        ("1u + 2u", "3"),
        ("1.5 * 2.0", "3"),
        ("1/0", "-"),
        ("5 % 3", "2"),
        ("-request.size", "0"),
        ("1 == 1.0", "true"),
        ("1u == 1", "true"),
        ("'a' == 1", "false"),
        ("'a' != 1", "true"),
        ("[1,2]", "CelList value"),
        ("{'a': 1}", "CelMap value"),
        ("1 in [1,2]", "true"),
        ("'a' in {'a': 1}", "true"),
        ("'x-a' in request.headers", "true"),
        ("size('\u{e4}b')", "2"),
        ("{'a': 1, 'b': 2}.size()", "2"),
        ("size(1)", "-"),
        ("'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')", "true"),
        ("matches('abc', '^b')", "false"),
        ("'abc'.matches(request.path)", "false"),
        ("type(1) == int", "true"),
        ("type(request) == map", "true"),
        ("null == null", "true"),
        ("null", "NULL"),
        ("1 < 1.5", "true"),
        ("1 < 2 < 3", "-"),
        ("true < false", "false"),
        ("9223372036854775807 + 1", "-"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1 + 1.0", "-"),
        ("1--1", "2"),
        ("--1", "1"),
        ("01", "1"),
        ("0x1F", "31"),
        ("[1,2,3][1u]", "2"),
        ("[1,2,3][1.0]", "2"),
        ("[1,2][5]", "-"),
        ("{1: 'a'}[1u]", "a"),
        ("{'a': 1, 'a': 2}", "-"),
        ("{1.0: 2}", "-"),
        ("{'a':1} == {'a':1.0}", "true"),
        ("[1] == [1u]", "true"),
        ("1 == 2 == false", "true"),
        ("true || false && false", "true"),
        ("[1] + [2]", "-"),
        (".request.path", "/a/b?x=1"),
        ("request[\"path\"]", "/a/b?x=1"),
        ("1 // what follows is not read", "1"),
        ("r'a\\d'", "a\\d"),
        ("'\\101\\u0042\\x43'", "ABC"),
        ("1.0/0.0", "inf"),
    ]);
}

#[test]
fn what_is_missing_is_an_error_unless_the_other_side_decides() {
    check(&[
        ("request.referer", "-"),
        ("request.nonsense", "-"),
        ("nonsense", "-"),
        ("true && nonsense", "-"),
        ("false && nonsense", "false"),
        ("nonsense && false", "false"),
        ("nonsense || true", "true"),
        ("false ? nonsense : 1", "1"),
        ("nonsense ? 1 : 2", "-"),
        ("1 && true", "-"),
        ("!1", "-"),
        ("request.path.foo", "-"),
        ("has(request.path)", "true"),
        ("has(request.referer)", "false"),
        ("has(request.nonsense)", "false"),
        ("has(nonsense.x)", "-"),
        ("has(request.headers.foo)", "false"),
        ("request.headers['X-A']", "v1,v2"),
        ("request.headers['x-none']", "-"),
        ("request.headers[':path']", "/a/b?x=1"),
    ]);
    let facts = asked();
    let met = |text| Expression::parse(text, ALL).unwrap().is_met(&facts);
    assert!(met("request.path.startsWith('/a')"));
    assert!(!met("nonsense") && !met("!nonsense") && !met("1") && !met("'true'"));
}

#[test]
fn metadata_and_objects_are_found() {
    check(&[
        ("xds.route_metadata.filter_metadata.rm.k", "rv"),
        ("xds.route_metadata.filter_metadata['rm'].list[1]", "a"),
        ("xds.route_metadata.filter_metadata.rm.deep.n", "2"),
        ("xds.route_metadata.filter_metadata.rm", "CelMap value"),
        ("has(xds.route_metadata.filter_metadata.rm)", "true"),
        ("has(xds.route_metadata.filter_metadata.zz)", "false"),
        ("xds.route_metadata.filter_metadata.zz", "-"),
        ("xds.route_metadata.nope", "-"),
        ("has(xds.route_metadata.nope)", "-"),
        ("metadata", ""),
        ("filter_state['obj']", "text"),
        ("filter_state.none", "-"),
        ("upstream.locality", "region: \"re\" "),
        ("upstream.locality.region", "re"),
    ]);
    let (text, json) = shown("xds.route_metadata", ALL);
    assert!(text.starts_with("filter_metadata { key: \"rm\" value { fields { key: \"k\" value {"));
    assert_eq!(
        json,
        json!({"filter_metadata": {"rm": {"k": "rv", "list": [1, "a"], "deep": {"n": 2}}}})
    );
    assert_eq!(shown("request.headers", ALL).1, json!({":path": "/a/b?x=1", "x-a": "v1,v2"}));
    assert_eq!(shown("request", ALL), ("CelMap value".to_owned(), Json::Null));
}

#[test]
fn times_are_what_envoy_says() {
    check(&[
        ("request.time", "2020-01-02T03:04:05.5+00:00"),
        ("duration('1h1m1.5s')", "1h1m1.5s"),
        ("duration('x')", "-"),
        ("timestamp('2020-01-02T03:04:05Z') + duration('10s')", "2020-01-02T03:04:15+00:00"),
        ("timestamp('2020-01-02T03:04:05Z') - timestamp('2020-01-02T03:04:00Z')", "5s"),
        ("timestamp('2020-01-02T03:04:05Z').getMonth()", "0"),
        ("timestamp('2020-01-02T03:04:05Z').getDate()", "2"),
        ("timestamp('2020-01-02T03:04:05Z').getDayOfMonth()", "1"),
        ("timestamp('2020-01-02T03:04:05Z').getHours('+02:00')", "5"),
        ("duration('3700.5s').getMinutes()", "61"),
        ("duration('3700.5s').getMilliseconds()", "500"),
        ("int(timestamp('2020-01-02T03:04:05Z'))", "1577934245"),
        ("timestamp(5)", "1970-01-01T00:00:05+00:00"),
        ("string(duration('90s'))", "90s"),
        ("duration('10s') > duration('1s')", "true"),
    ]);
    assert_eq!(shown("duration('1h1m1.5s')", ALL).1, json!("3661.500s"));
    assert_eq!(shown("request.time", ALL).1, json!("2020-01-02T03:04:05.500Z"));
}

#[test]
fn functions_of_texts_are_what_envoy_says() {
    check(&[
        ("'x' + 'y'", "xy"),
        ("string(1.5)", "1.5"),
        ("string(b'abc')", "abc"),
        ("int('5')", "5"),
        ("int(5.7)", "5"),
        ("int('x')", "-"),
        ("uint(-1)", "-"),
        ("double('1.5')", "1.5"),
        ("bytes('a') + b'b'", "ab"),
        ("'aB'.lowerAscii()", "ab"),
        ("'abcb'.replace('b','x',1)", "axcb"),
        ("'abc'.substring(0,2)", "ab"),
        ("'abcabc'.lastIndexOf('c')", "5"),
        ("'abc'.charAt(1)", "b"),
        ("' a '.trim()", "a"),
        ("['a','b'].join('-')", "a-b"),
        ("'abc'.reverse()", "cba"),
    ]);
    assert_eq!(shown("'a,b,c'.split(',',2)", ALL).1, json!(["a", "b,c"]));
    assert_eq!(shown("b'\\xff'", ALL).1, json!("/w=="));
}

#[test]
fn folds_go_through_lists_and_keys() {
    check(&[
        ("[1,2].all(x, x > 0)", "true"),
        ("[1,2].exists(x, x > 1)", "true"),
        ("[1,2,2].exists_one(x, x == 2)", "false"),
        ("['a', 1].exists(x, x == 1 || x.startsWith('b'))", "true"),
        ("[1, 'a'].all(x, x > 1)", "false"),
        ("request.headers.exists(name, name.startsWith('x-'))", "true"),
        ("[[1,2],[3]].map(l, l.map(x, x * 2)) == [[2,4],[6]]", "true"),
        ("[1,2,3].filter(x, x != 2) == [1,3]", "true"),
        ("[1,2,3].map(x, x > 1, x * x) == [4,9]", "true"),
        ("[1].map(x, [2].map(y, x + y))[0][0]", "3"),
    ]);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_asked() {
    let refused =
        |text: &str| Expression::parse(text, Options::default()).expect_err(text).to_string();
    for (text, problem) in [
        ("has(request.headers['x-a'])", "`has` asks for a field"),
        ("'abc'.matches('[')", "the pattern `[`"),
        ("string(1)", "needs `enable_string_conversion` of `cel_config`"),
        ("'a'.trim()", "needs `enable_string_functions` of `cel_config`"),
        ("foo('x')", "there is no function `foo`"),
        ("request.path == '/a' ||", "the expression ends too early at position 23"),
        ("9223372036854775808", "larger than an int"),
        ("'a' 'b'", "something stands behind the expression at position 4"),
        ("'a", "a text has no end"),
        ("'bad \\q'", "`\\q` is no escape"),
        ("@in", "`@` begins nothing"),
        ("in", "`in` is no name"),
        ("google.protobuf.Duration{seconds: 1}", "something stands behind"),
        ("", "the expression ends too early"),
    ] {
        let told = refused(text);
        assert!(told.contains(problem), "{text}: {told}");
    }
    // Texts are joined only where it is allowed, which shows when they are.
    assert_eq!(shown("'x' + 'y'", Options::default()).0, "-");
}

#[test]
fn everything_is_bounded() {
    let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
    assert!(Expression::parse(&deep, ALL).is_err());
    assert!(Expression::parse(&"!".repeat(500), ALL).is_err());
    assert!(Expression::parse(&vec!["1"; 500].join("+"), ALL).is_err());
    assert!(Expression::parse(&vec!["a.b"; 5_000].join(" || "), ALL).is_err());
    let many = vec!["request.path == '/x'"; 500].join(" || ");
    assert_eq!(shown(&many, ALL).0, "false");
    let mut tree = Tree::Name("a".to_owned());
    for _ in 0..200 {
        tree = Tree::Select { operand: Box::new(tree), field: "b".to_owned(), is_test: false };
    }
    assert!(Expression::from_tree(tree, ALL).is_err());
    let numbers = format!("[{}]", vec!["1"; 200].join(","));
    let cube = format!("{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, a + b + c > 0)))");
    let facts = asked();
    let exhausted = |text: &str| Expression::parse(text, ALL).unwrap().evaluate(&facts).map(drop);
    assert_eq!(exhausted(&cube), Err(Failure::Exhausted));
    let long = (0..12).fold("'0123456789abcdef'".to_owned(), |text, _| {
        format!("{text}.replace('0', '0000000000000000')")
    });
    assert_eq!(exhausted(&long), Err(Failure::Exhausted));
}

#[test]
fn a_tree_is_worth_what_its_text_is() {
    let text = "request.headers['x-a'].split(',').exists(v, v == 'v2') && request.size < 5";
    let tree = parse::parse(text).unwrap();
    let expression = Expression::from_tree(tree.clone(), ALL).unwrap();
    assert!(expression.is_met(&asked()));
    assert_eq!(expression.source(), &Source::Tree(tree));
    assert_eq!(expression.attributes(), [Attribute::RequestHeaders, Attribute::RequestSize]);
}
