//! One schema: what a value may be.

use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::Value as Json;

use crate::catalog;
use crate::raw::{RawRule, RawSchema};

/// What a value may be. Source: "structural schemas" of CustomResourceDefinitions.
#[derive(Debug)]
pub struct Schema {
    /// The type.
    pub kind: Type,
    /// Fields of an object, in the order of the definition.
    pub properties: Vec<Property>,
    /// Elements of a list.
    pub items: Option<Arc<Self>>,
    /// Values under keys that the user chooses.
    pub values: Option<Arc<Self>>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// The values that are allowed; all, when there is none.
    pub words: Vec<Json>,
    /// What a text or number stands for, such as `int32` or `date-time`.
    pub format: String,
    /// What a text matches somewhere.
    pub pattern: Option<Pattern>,
    /// Smallest number, and whether it is itself excluded.
    pub minimum: Option<(f64, bool)>,
    /// Largest number, and whether it is itself excluded.
    pub maximum: Option<(f64, bool)>,
    /// Characters of a text: fewest and most.
    pub length: (Option<usize>, Option<usize>),
    /// Elements of a list: fewest and most.
    pub count: (Option<usize>, Option<usize>),
    /// Fields of an object: fewest and most.
    pub size: (Option<usize>, Option<usize>),
    /// What an absent field means.
    pub default: Option<Json>,
    /// Whether null is a value of its own, rather than an absent field.
    pub nullable: bool,
    /// Whether fields that are not named are kept.
    pub preserves_unknown: bool,
    /// What tells the elements of a list apart.
    pub list_type: ListType,
    /// Rules about the value as a whole.
    pub rules: Vec<Rule>,
    /// Of which exactly one holds.
    pub one_of: Vec<Arc<Self>>,
    /// Of which at least one holds.
    pub any_of: Vec<Arc<Self>>,
    /// Which all hold.
    pub all_of: Vec<Arc<Self>>,
    /// Which does not hold.
    pub not: Option<Arc<Self>>,
    description: Option<usize>,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Nothing is said about it.
    Any,
    /// A mapping with fields, or with keys that the user chooses.
    Object,
    /// A list.
    List,
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A whole number or a text.
    IntegerOrText,
}

impl Type {
    /// In words, for messages.
    #[must_use]
    pub const fn described(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Object => "a mapping",
            Self::List => "a list",
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::IntegerOrText => "a whole number or a text",
        }
    }
}

/// What tells the elements of a list apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// Nothing: the same may stand in it twice.
    Atomic,
    /// Their values.
    Set,
    /// These fields of each.
    Map(Vec<String>),
}

/// A field of an object.
#[derive(Debug)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its name in rules, where some characters and words are written otherwise.
    pub rule_name: String,
    /// What its value may be.
    pub schema: Arc<Schema>,
}

/// An expression that texts match, compiled at its first use.
#[derive(Debug)]
pub struct Pattern {
    /// As it is written.
    pub text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Whether a text matches; every text does when the expression is none.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    /// Whether the expression is one.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).is_some()
    }
}

/// A rule about a value, compiled at its first use. Source: `x-kubernetes-validations`.
#[derive(Debug)]
pub struct Rule {
    /// The expression, which is true for what is allowed.
    pub text: String,
    /// What to say when it is not; may be empty.
    pub message: String,
    /// An expression of that message.
    pub message_expression: Option<String>,
    /// `FieldValueInvalid`, `FieldValueForbidden`, `FieldValueRequired` or `FieldValueDuplicate`.
    pub reason: String,
    /// The field that is at fault, below the value, with a leading point; may be empty.
    pub field_path: String,
    /// Whether it is about changes, and so not about new objects.
    pub is_transition: bool,
    compiled: OnceLock<Result<iako_cel::Rule, String>>,
    compiled_message: OnceLock<Option<iako_cel::Rule>>,
}

/// What rules call the value.
const VARIABLES: [&str; 1] = ["self"];

impl Rule {
    /// The expression, ready to be evaluated.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn compiled(&self) -> Result<&iako_cel::Rule, &str> {
        let compile =
            || iako_cel::Rule::parse(&self.text, &VARIABLES).map_err(|error| error.to_string());
        self.compiled.get_or_init(compile).as_ref().map_err(String::as_str)
    }

    /// The expression of its message.
    pub(crate) fn compiled_message(&self) -> Option<&iako_cel::Rule> {
        let text = self.message_expression.as_deref()?;
        let compile = || iako_cel::Rule::parse(text, &VARIABLES).ok();
        self.compiled_message.get_or_init(compile).as_ref()
    }
}

impl From<RawRule> for Rule {
    fn from(raw: RawRule) -> Self {
        // With `optionalOldSelf` a rule would be asked with an old value that may be absent. Our
        // expressions know no such values; no published definition here uses it, which a test holds.
        let is_transition = raw.optional_old_self || names_old(&raw.rule);
        Self {
            text: raw.rule,
            message: raw.message,
            message_expression: raw.message_expression,
            reason: raw.reason,
            field_path: raw.field_path,
            is_transition,
            compiled: OnceLock::new(),
            compiled_message: OnceLock::new(),
        }
    }
}

fn names_old(rule: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    rule.split(|c| !is_name(c)).any(|word| word == "oldSelf")
}

impl Schema {
    /// Builds one whose inner schemas are there already.
    pub(crate) fn new(raw: RawSchema, known: &[Arc<Self>]) -> Option<Self> {
        let inner = |place: &usize| known.get(*place).cloned();
        let all = |places: &[usize]| places.iter().map(inner).collect::<Option<Vec<_>>>();
        let kind = match raw.r#type.as_str() {
            _ if raw.int_or_string => Type::IntegerOrText,
            "object" => Type::Object,
            "array" => Type::List,
            "string" => Type::Text,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => Type::Any,
        };
        let property = |(name, place): &(String, usize)| {
            Some(Property {
                rule_name: rule_name(name),
                name: name.clone(),
                schema: known.get(*place).cloned()?,
            })
        };
        let list_type = match raw.list_type.as_str() {
            "set" => ListType::Set,
            "map" => ListType::Map(raw.list_keys),
            _ => ListType::Atomic,
        };
        let pattern = |text| Pattern { text, compiled: OnceLock::new() };
        Some(Self {
            kind,
            properties: raw.properties.iter().map(property).collect::<Option<_>>()?,
            items: raw.items.as_ref().and_then(inner),
            values: raw.additional_properties.as_ref().and_then(inner),
            required: raw.required,
            words: raw.r#enum,
            format: raw.format,
            pattern: raw.pattern.map(pattern),
            minimum: raw.minimum.map(|bound| (bound, raw.exclusive_minimum)),
            maximum: raw.maximum.map(|bound| (bound, raw.exclusive_maximum)),
            length: (raw.min_length, raw.max_length),
            count: (raw.min_items, raw.max_items),
            size: (raw.min_properties, raw.max_properties),
            default: raw.default,
            nullable: raw.nullable,
            preserves_unknown: raw.preserve_unknown,
            list_type,
            rules: raw.rules.into_iter().map(Rule::from).collect(),
            one_of: all(&raw.one_of)?,
            any_of: all(&raw.any_of)?,
            all_of: all(&raw.all_of)?,
            not: raw.not.as_ref().and_then(inner),
            description: raw.description,
        })
    }

    /// A field of an object.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// What the definition says about the value, in English. Empty when it says nothing.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.description.map_or("", catalog::description)
    }
}

/// How rules write the name of a field. Source: Kubernetes "Validation rules", "escaping".
fn rule_name(name: &str) -> String {
    const WORDS: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if WORDS.contains(&name) {
        return format!("__{name}__");
    }
    let escaped = name.replace("__", "__underscores__");
    escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rules_cannot_write_are_escaped() {
        for (name, wanted) in [
            ("namespace", "__namespace__"),
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("a__b", "a__underscores__b"),
            ("plain_name", "plain_name"),
        ] {
            assert_eq!(rule_name(name), wanted);
        }
    }

    #[test]
    fn a_rule_about_changes_is_told_by_its_words() {
        assert!(names_old("self == oldSelf"));
        assert!(!names_old("self.myoldSelf == 'x'"));
    }
}
