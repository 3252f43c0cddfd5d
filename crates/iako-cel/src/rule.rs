//! Rules about documents: expressions over values that are handed in by name.

use std::borrow::Cow;

use crate::attribute::{Attribute, Facts, HeadersOf};
use crate::evaluate::{Evaluation, Failure};
use crate::expression::{ExpressionError, Options};
use crate::parse;
use crate::program::{self, Dialect, Library, Program};
use crate::value::Value;

/// Everything that Kubernetes lets rules do is allowed.
const OPTIONS: Options =
    Options { string_conversion: true, string_concat: true, string_functions: true };

/// A rule of a schema, or the expression of its message: checked once, evaluated over values that
/// are handed in. It knows Kubernetes' functions (`isURL`, `url`, `isIP`, `isCIDR`, `find`,
/// `findAll`) beside those of the language, and no attribute of requests.
/// Source: `x-kubernetes-validations` of a CustomResourceDefinition.
#[derive(Debug)]
pub struct Rule {
    program: Program,
    variables: usize,
}

impl Rule {
    /// Reads a rule over variables of these names.
    ///
    /// # Errors
    /// What is no expression, calls what there is not, or exceeds a limit.
    pub fn parse(text: &str, variables: &[&str]) -> Result<Self, ExpressionError> {
        let tree = parse::parse(text)
            .map_err(|(problem, at)| ExpressionError { problem, at: Some(at) })?;
        let dialect = Dialect { options: OPTIONS, library: Library::Kubernetes };
        let compiled = program::compile(&tree, dialect, variables);
        let program = compiled.map_err(|problem| ExpressionError { problem, at: None })?;
        Ok(Self { program, variables: variables.len() })
    }

    /// What it is worth with these values, one for each variable. The steps that it takes are
    /// taken from `budget`, so that several evaluations can share one bound.
    ///
    /// # Errors
    /// It names what is not there, does with values what cannot be done, or takes too long.
    pub fn evaluate<'a>(
        &'a self,
        values: Vec<Value<'a>>,
        budget: &mut u32,
    ) -> Result<Value<'a>, Failure> {
        debug_assert!(values.len() == self.variables, "a value for each variable");
        let slots = values.into_iter().map(Ok).collect();
        let mut evaluation = Evaluation::with_values(&NoFacts, OPTIONS, *budget, slots);
        let outcome = evaluation.value(&self.program.step);
        *budget = evaluation.steps_left();
        outcome
    }
}

/// Rules know nothing but their values.
struct NoFacts;

impl Facts for NoFacts {
    fn attribute(&self, _: Attribute) -> Option<Value<'_>> {
        None
    }

    fn header(&self, _: HeadersOf, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn worth(text: &str) -> Result<Value<'static>, Failure> {
        let rule: &'static Rule = Box::leak(Box::new(Rule::parse(text, &["self"]).unwrap()));
        let own = vec![
            (Value::text("name"), Value::text("web")),
            (Value::text("__namespace__"), Value::text("default")),
            (Value::text("port"), Value::Int(80)),
            (Value::text("list"), Value::List(Arc::new(vec![Value::text("a"), Value::text("b")]))),
        ];
        rule.evaluate(vec![Value::Map(Arc::new(own))], &mut 10_000)
    }

    #[test]
    fn fields_are_looked_up_in_what_is_handed_in() {
        for text in [
            "self.name == 'web' && self.port > 79 && self.port <= 80.0",
            "has(self.port) && !has(self.path)",
            "self.__namespace__ != ''",
            "self.list.all(a, self.list.exists_one(b, a == b))",
            "self.list.filter(x, x == 'a').size() + 1 == 2",
            "'a' in self.list && self.list.map(x, x + x) == ['aa', 'bb']",
            "has(self.path) ? false : true",
            "'k' in {'k': self.port}",
        ] {
            assert_eq!(worth(text), Ok(Value::Bool(true)), "{text}");
        }
        assert_eq!(worth("self.path == ''"), Err(Failure::Missing));
    }

    #[test]
    fn attributes_of_requests_are_no_names_of_rules() {
        assert_eq!(worth("request.path == ''"), Err(Failure::Missing));
        assert_eq!(worth("has(request.path)"), Err(Failure::Missing));
    }

    #[test]
    fn urls_and_addresses_are_read_as_kubernetes_reads_them() {
        for (text, wanted) in [
            ("isURL('https://a.test:80/x?y=z')", true),
            ("isURL('/only/a/path')", true),
            ("isURL('a.test/x')", false),
            ("isURL('http://a b/')", false),
            ("isURL('http://a:b/')", false),
            ("isURL('http://[::1]:8080/')", true),
            ("isURL('')", false),
            ("url('https://user:pw@a.test:80/x%20y?q').getScheme() == 'https'", true),
            ("url('https://user:pw@a.test:80/x').getHost() == 'a.test:80'", true),
            ("url('https://a.test:80/x').getHostname() == 'a.test'", true),
            ("url('https://[::1]:81/x').getHostname() == '::1'", true),
            ("url('https://a.test:80/x').getPort() == '80'", true),
            ("url('/x%20y').getEscapedPath() == '/x%20y'", true),
            ("url('oci:thing').getScheme() == 'oci'", true),
            ("isIP('10.0.0.1') && isIP('::1')", true),
            ("isIP('10.0.0.01') || isIP('a.test') || isIP('::ffff:1.2.3.4')", false),
            ("isCIDR('10.0.0.0/8') && isCIDR('fd00::/8')", true),
            ("isCIDR('10.0.0.0') || isCIDR('10.0.0.0/33')", false),
        ] {
            assert_eq!(worth(text), Ok(Value::Bool(wanted)), "{text}");
        }
        assert_eq!(worth("url('a.test').getScheme() == ''"), Err(Failure::Argument));
    }

    #[test]
    fn patterns_find_what_they_match() {
        assert_eq!(worth("'a1b22'.find('[0-9]+') == '1'"), Ok(Value::Bool(true)));
        assert_eq!(worth("'a1b22'.findAll('[0-9]+') == ['1', '22']"), Ok(Value::Bool(true)));
        assert_eq!(worth("'a1b22'.findAll('[0-9]+', 1) == ['1']"), Ok(Value::Bool(true)));
        assert_eq!(worth("'abc'.find('[0-9]') == ''"), Ok(Value::Bool(true)));
    }

    #[test]
    fn several_evaluations_share_one_bound() {
        let rule = Rule::parse("self.all(a, self.all(b, a == b))", &["self"]).unwrap();
        let list = Value::List(Arc::new(vec![Value::Int(1); 64]));
        let mut budget = 40_000;
        assert_eq!(rule.evaluate(vec![list.clone()], &mut budget), Ok(Value::Bool(true)));
        assert!(budget < 20_000, "{budget}");
        assert_eq!(rule.evaluate(vec![list], &mut budget), Err(Failure::Exhausted));
    }

    proptest::proptest! {
        #[test]
        fn what_is_a_url_has_its_parts_and_what_is_none_has_none(text in "[a-z:/@%\\[\\].?#0-9 ]{0,40}") {
            let rule = Rule::parse("isURL(self) == (url(self).getHost() != '\u{1}')", &["self"]).unwrap();
            let is_url = Rule::parse("isURL(self)", &["self"]).unwrap();
            let found = is_url.evaluate(vec![Value::text(&text)], &mut 100);
            match rule.evaluate(vec![Value::text(&text)], &mut 100) {
                Ok(value) => {
                    proptest::prop_assert_eq!(value, Value::Bool(true));
                    proptest::prop_assert_eq!(found, Ok(Value::Bool(true)));
                }
                Err(failure) => {
                    proptest::prop_assert_eq!(failure, Failure::Argument);
                    proptest::prop_assert_eq!(found, Ok(Value::Bool(false)));
                }
            }
        }
    }

    #[test]
    fn functions_of_rules_are_not_for_requests() {
        assert!(crate::Expression::parse("isURL('/')", OPTIONS).is_err());
    }
}
