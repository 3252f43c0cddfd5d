//! Rules about a value as a whole.

use iako_cel::{Failure, Value};

use super::{Checker, Finding, Place, Problem};
use crate::instance::{Instance, Shape};
use crate::schema::{Rule, Schema};

impl<'a, D: Instance> Checker<'a, D> {
    pub(super) fn rules(
        &mut self,
        schema: &'a Schema,
        node: &'a D,
        place: &Place<'_>,
        value: &Value<'a>,
    ) {
        for rule in schema.rules.iter().filter(|rule| !rule.is_transition) {
            let compiled = rule.compiled();
            debug_assert!(compiled.is_ok(), "{}: {compiled:?}", rule.text);
            let Ok(compiled) = compiled else { continue };
            let message = match compiled.evaluate(vec![value.clone()], &mut self.budget) {
                Ok(Value::Bool(true)) => continue,
                Ok(_) => self.message(rule, value),
                Err(Failure::Exhausted) => {
                    "the rules about it take more steps than a document may have".to_owned()
                }
                Err(failure) => {
                    let message = self.message(rule, value);
                    format!("{message} (the rule cannot be answered: {failure})")
                }
            };
            self.broken(rule, node, place, message);
        }
    }

    fn message(&mut self, rule: &'a Rule, value: &Value<'a>) -> String {
        let expression = rule.compiled_message();
        let made = expression.map(|made| made.evaluate(vec![value.clone()], &mut self.budget));
        if let Some(Ok(Value::Text(text))) = made
            && !text.trim().is_empty()
        {
            return text.into_owned();
        }
        // A message is a line; the rule itself is the message of those that have none.
        let message = if rule.message.is_empty() { &rule.text } else { &rule.message };
        let message = message.trim().trim_end_matches('.').replace('\n', " ");
        if rule.message.is_empty() {
            format!("the rule `{message}` does not hold")
        } else {
            message
        }
    }

    fn broken(&mut self, rule: &'a Rule, node: &'a D, place: &Place<'_>, message: String) {
        let mut path = place.to_string();
        path.push_str(&rule.field_path);
        let node = descended(node, &rule.field_path);
        let candidates = Vec::new();
        let (problem, rule) = (Problem::Rule, Some(rule.text.as_str()));
        self.push(Finding { problem, path, node, key: None, message, rule, candidates });
    }
}

/// The value at a path of plain fields, as far as it is there.
fn descended<'a, D: Instance>(node: &'a D, path: &str) -> &'a D {
    let mut node = node;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let Shape::Map(entries) = node.shape() else { return node };
        let Some((_, inner)) = entries.into_iter().find(|(key, _)| *key == name) else {
            return node;
        };
        node = inner;
    }
    node
}
