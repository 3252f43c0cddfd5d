//! What fuzz targets call; compiled always, so that it cannot rot.

use std::borrow::Cow;

use crate::{Attribute, Expression, Facts, HeadersOf, Options, Rule, Value};

/// Facts that are the same for everybody.
struct Fixed;

impl Facts for Fixed {
    fn attribute(&self, attribute: Attribute) -> Option<Value<'_>> {
        match attribute {
            Attribute::RequestPath => Some(Value::text("/a/b?x=1")),
            Attribute::RequestTime => Some(Value::Timestamp(1_577_934_245_123_456_789)),
            Attribute::RequestDuration => Some(Value::Duration(1_500_000)),
            Attribute::ResponseCode => Some(Value::Int(503)),
            _ => None,
        }
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Cow<'_, str>> {
        (of == HeadersOf::Request && name == "x-a").then_some(Cow::Borrowed("1,2"))
    }

    fn headers(&self, of: HeadersOf) -> Vec<(String, String)> {
        let own = (of == HeadersOf::Request).then(|| ("x-a".to_owned(), "1,2".to_owned()));
        own.into_iter().collect()
    }
}

/// Parses a text and evaluates what it is; the same text has the same value twice.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_cel(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(rule) = Rule::parse(text, &["self"]) {
        let worth = || rule.evaluate(vec![Value::text("https://a.test:80/b")], &mut 20_000);
        // A number that is none is not equal to itself.
        let shown = || worth().map(|value| format!("{value:?}"));
        assert_eq!(shown(), shown(), "a rule depends on nothing but its values");
    }
    let options = Options { string_conversion: true, string_concat: true, string_functions: true };
    let Ok(expression) = Expression::parse(text, options) else { return };
    let shown = || {
        let value = expression.evaluate(&Fixed)?;
        Ok::<_, crate::Failure>((value.shown(&Fixed).into_owned(), value.to_json(&Fixed)))
    };
    assert_eq!(shown(), shown(), "an evaluation depends on nothing but facts");
}
