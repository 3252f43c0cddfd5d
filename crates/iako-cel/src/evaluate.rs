//! Steps into values, within bounds.

use std::borrow::Cow;
use std::sync::Arc;

use regex::RegexBuilder;

use crate::attribute::{Attribute, Facts, Root};
use crate::expression::Options;
use crate::function;
use crate::limits::{LATE_PATTERN_BYTES_MAX, LATE_PATTERN_STEPS, MADE_BYTES_MAX, STEPS_MAX};
use crate::program::{Folding, Step};
use crate::value::{Value, state};

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An attribute, name or key is not there.
    #[error("something that the expression names is not there")]
    Missing,
    /// A function or operator is not for values of this kind.
    #[error("something is not of the kind that is wanted")]
    Kind,
    /// A number is too large or divided by zero.
    #[error("a number is out of range")]
    Range,
    /// A text does not say what a function wants to read in it.
    #[error("an argument cannot be read")]
    Argument,
    /// It would have taken too long, or made too much.
    #[error("the evaluation takes more than it may")]
    Exhausted,
}

type Outcome<'a> = Result<Value<'a>, Failure>;

/// One evaluation.
pub(crate) struct Evaluation<'a> {
    facts: &'a dyn Facts,
    options: Options,
    /// Steps that are left.
    steps: u32,
    /// Bytes that were made.
    bytes: usize,
    /// What folds keep: elements and what is made of them, which may be an error.
    slots: Vec<Outcome<'a>>,
}

impl<'a> Evaluation<'a> {
    pub(crate) const fn new(facts: &'a dyn Facts, options: Options) -> Self {
        Self { facts, options, steps: STEPS_MAX, bytes: 0, slots: Vec::new() }
    }

    /// One with variables and a bound of its own.
    pub(crate) const fn with_values(
        facts: &'a dyn Facts,
        options: Options,
        steps: u32,
        slots: Vec<Outcome<'a>>,
    ) -> Self {
        Self { facts, options, steps, bytes: 0, slots }
    }

    pub(crate) const fn steps_left(&self) -> u32 {
        self.steps
    }

    pub(crate) fn spend(&mut self, steps: u32) -> Result<(), Failure> {
        self.steps = self.steps.checked_sub(steps).ok_or(Failure::Exhausted)?;
        Ok(())
    }

    /// Whether texts may be joined.
    pub(crate) const fn may_join(&self) -> Result<(), Failure> {
        if self.options.string_concat { Ok(()) } else { Err(Failure::Kind) }
    }

    /// Whether so many bytes more may be made.
    pub(crate) fn fits(&self, bytes: usize) -> Result<(), Failure> {
        let all = self.bytes.saturating_add(bytes);
        if all > MADE_BYTES_MAX { Err(Failure::Exhausted) } else { Ok(()) }
    }

    /// Counts what was made.
    pub(crate) fn made(&mut self, value: &Value<'_>) -> Result<(), Failure> {
        let bytes = match value {
            Value::Text(Cow::Owned(text)) => text.len(),
            Value::Bytes(Cow::Owned(bytes)) => bytes.len(),
            Value::List(items) => items.len().saturating_mul(size_of::<Value<'_>>()),
            _ => return Ok(()),
        };
        self.fits(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    pub(crate) fn value(&mut self, step: &'a Step) -> Outcome<'a> {
        self.spend(1)?;
        match step {
            Step::Constant(value) => Ok(borrowed(value)),
            Step::Attribute(attribute) => self.attribute(*attribute),
            Step::Missing => Err(Failure::Missing),
            Step::Slot(slot) => self.slots.get(*slot).cloned().unwrap_or(Err(Failure::Missing)),
            Step::Select(operand, field) => {
                let operand = self.value(operand)?;
                self.field(operand, field)
            }
            Step::Has(operand, field) => {
                let operand = self.value(operand)?;
                self.has(&operand, field).map(Value::Bool)
            }
            Step::HasAttribute(attribute) => {
                Ok(Value::Bool(self.facts.attribute(*attribute).is_some()))
            }
            Step::Index(both) => {
                let [operand, index] = &**both;
                let operand = self.value(operand)?;
                let index = self.value(index)?;
                self.index(operand, &index)
            }
            Step::In(both) => self.is_in(both),
            Step::And(both) => self.joined::<false>(both),
            Step::Or(both) => self.joined::<true>(both),
            Step::If(parts) => {
                let [condition, yes, no] = &**parts;
                match self.value(condition)? {
                    Value::Bool(true) => self.value(yes),
                    Value::Bool(false) => self.value(no),
                    _ => Err(Failure::Kind),
                }
            }
            Step::NotFalse(step) => match self.value(step) {
                Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                Err(Failure::Exhausted) => Err(Failure::Exhausted),
                Ok(_) | Err(_) => Ok(Value::Bool(true)),
            },
            Step::Call(function, steps) => match steps.as_slice() {
                [one] => {
                    let arguments = [self.value(one)?];
                    function::apply(self, *function, &arguments)
                }
                [one, other] => {
                    let arguments = [self.value(one)?, self.value(other)?];
                    function::apply(self, *function, &arguments)
                }
                steps => {
                    let arguments = self.values(steps)?;
                    function::apply(self, *function, &arguments)
                }
            },
            Step::Matches(text, regex) => match self.value(text)? {
                Value::Text(text) => Ok(Value::Bool(regex.is_match(&text))),
                _ => Err(Failure::Kind),
            },
            Step::MatchesLate(both) => self.matches_late(both),
            Step::List(steps) => {
                let list = Value::List(Arc::new(self.values(steps)?));
                self.made(&list)?;
                Ok(list)
            }
            Step::Map(entries) => self.map(entries),
            Step::Fold(folding) => self.fold(folding),
            Step::Append(slot, steps) => self.append(*slot, steps),
        }
    }

    fn values(&mut self, steps: &'a [Step]) -> Result<Vec<Value<'a>>, Failure> {
        steps.iter().map(|step| self.value(step)).collect()
    }

    fn attribute(&self, attribute: Attribute) -> Outcome<'a> {
        self.facts.attribute(attribute).ok_or(Failure::Missing)
    }

    /// `&&` and `||`: what decides alone does so, an error of the other side or not.
    fn joined<const DECIDES: bool>(&mut self, both: &'a [Step; 2]) -> Outcome<'a> {
        let [one, other] = both;
        let one = self.value(one);
        if one == Ok(Value::Bool(DECIDES)) || one == Err(Failure::Exhausted) {
            return one;
        }
        let other = self.value(other);
        if other == Ok(Value::Bool(DECIDES)) {
            return other;
        }
        match (one?, other?) {
            (Value::Bool(_), Value::Bool(_)) => Ok(Value::Bool(!DECIDES)),
            _ => Err(Failure::Kind),
        }
    }

    fn field(&self, operand: Value<'a>, field: &'a str) -> Outcome<'a> {
        match &operand {
            Value::Record(fields) => {
                let found = fields.iter().find(|(name, _)| *name == field);
                found.map(|(_, value)| value.clone()).ok_or(Failure::Missing)
            }
            Value::Metadata(of) => match field {
                "filter_metadata" => Ok(Value::Namespaces(*of)),
                "typed_filter_metadata" => Ok(Value::NoNamespaces),
                _ => Err(Failure::Missing),
            },
            _ => self.index(operand, &Value::text(field)),
        }
    }

    /// Whether there is a field; an error where there cannot be one.
    fn has(&self, operand: &Value<'a>, field: &str) -> Result<bool, Failure> {
        match operand {
            Value::Record(fields) => {
                let found = fields.iter().find(|(name, _)| *name == field);
                let (_, value) = found.ok_or(Failure::Missing)?;
                Ok(*value != Value::text(""))
            }
            Value::Metadata(of) => match field {
                "filter_metadata" => Ok(!self.facts.namespaces(*of).is_empty()),
                "typed_filter_metadata" => Ok(false),
                _ => Err(Failure::Missing),
            },
            _ => self.contains(operand, &Value::text(field)).ok_or(Failure::Kind),
        }
    }

    fn is_in(&mut self, both: &'a [Step; 2]) -> Outcome<'a> {
        let [one, other] = both;
        let one = self.value(one)?;
        // A list of constants is looked at where it is.
        let found = if let Step::Constant(list @ Value::List(_)) = other {
            self.contains(list, &one)
        } else {
            let other = self.value(other)?;
            self.contains(&other, &one)
        };
        found.map(Value::Bool).ok_or(Failure::Kind)
    }

    /// Whether a list or a map has an element or key; none where it is neither.
    fn contains(&self, whole: &Value<'_>, wanted: &Value<'_>) -> Option<bool> {
        let key = match wanted {
            Value::Text(text) => Some(text.as_ref()),
            _ => None,
        };
        Some(match whole {
            Value::List(items) => items.iter().any(|item| item.equals(wanted)),
            Value::Items(items) => items.iter().any(|item| Value::json(item).equals(wanted)),
            Value::Map(entries) => entries.iter().any(|(key, _)| key.equals(wanted)),
            Value::Struct(fields) => key.is_some_and(|key| fields.contains_key(key)),
            Value::Headers(of) => {
                key.is_some_and(|key| self.facts.header(*of, &lower(key)).is_some())
            }
            Value::Namespaces(of) => key.is_some_and(|key| self.facts.metadata(*of, key).is_some()),
            Value::NoNamespaces => false,
            Value::Root(root) => key.is_some_and(|key| self.below(*root, key).is_some()),
            _ => return None,
        })
    }

    fn below(&self, root: Root, name: &str) -> Option<Value<'a>> {
        if matches!(root, Root::FilterState | Root::UpstreamFilterState) {
            return state(self.facts, root, name);
        }
        let attribute = Attribute::find(root, name)?;
        match attribute {
            Attribute::RequestHeaders => Some(Value::Headers(crate::HeadersOf::Request)),
            Attribute::ResponseHeaders => Some(Value::Headers(crate::HeadersOf::Response)),
            Attribute::ResponseTrailers => Some(Value::Headers(crate::HeadersOf::Trailers)),
            _ => self.facts.attribute(attribute),
        }
    }

    fn index(&self, whole: Value<'a>, index: &Value<'_>) -> Outcome<'a> {
        if matches!(whole, Value::List(_) | Value::Items(_)) {
            return at(&whole, place(index).ok_or(Failure::Kind)?).ok_or(Failure::Missing);
        }
        if let Value::Map(entries) = &whole {
            let found = entries.iter().find(|(key, _)| key.equals(index));
            return found.map(|(_, value)| value.clone()).ok_or(Failure::Missing);
        }
        let Value::Text(key) = index else { return Err(Failure::Kind) };
        let found = match whole {
            Value::Struct(Cow::Borrowed(fields)) => fields.get(key.as_ref()).map(Value::json),
            Value::Struct(Cow::Owned(mut fields)) => {
                fields.remove(key.as_ref()).map(Value::owned_json)
            }
            Value::Headers(of) => self.facts.header(of, &lower(key)).map(Value::Text),
            Value::Namespaces(of) => self.facts.metadata(of, key).map(Value::Struct),
            Value::NoNamespaces => None,
            Value::Root(root) => self.below(root, key),
            _ => return Err(Failure::Kind),
        };
        found.ok_or(Failure::Missing)
    }

    /// How many elements, entries or characters; none where that has no meaning.
    pub(crate) fn size(&self, value: &Value<'_>) -> Option<usize> {
        Some(match value {
            Value::Text(text) => text.chars().count(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.len(),
            Value::Items(items) => items.len(),
            Value::Map(entries) => entries.len(),
            Value::Struct(fields) => fields.len(),
            Value::Headers(of) => self.facts.headers(*of).len(),
            Value::Namespaces(of) => self.facts.namespaces(*of).len(),
            Value::NoNamespaces | Value::Root(_) => 0,
            _ => return None,
        })
    }

    fn matches_late(&mut self, both: &'a [Step; 2]) -> Outcome<'a> {
        let [text, pattern] = both;
        let (text, pattern) = (self.value(text)?, self.value(pattern)?);
        let (Value::Text(text), Value::Text(pattern)) = (text, pattern) else {
            return Err(Failure::Kind);
        };
        self.spend(LATE_PATTERN_STEPS)?;
        let regex = RegexBuilder::new(&pattern).size_limit(LATE_PATTERN_BYTES_MAX).build();
        let regex = regex.map_err(|_no_pattern| Failure::Argument)?;
        Ok(Value::Bool(regex.is_match(&text)))
    }

    fn map(&mut self, steps: &'a [(Step, Step)]) -> Outcome<'a> {
        let mut entries: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(steps.len());
        for (key, value) in steps {
            let key = self.value(key)?;
            if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Text(_)) {
                return Err(Failure::Kind);
            }
            if entries.iter().any(|(own, _)| own.equals(&key)) {
                return Err(Failure::Argument);
            }
            let value = self.value(value)?;
            entries.push((key, value));
        }
        let bytes = entries.len().saturating_mul(2 * size_of::<Value<'_>>());
        self.fits(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(Value::Map(Arc::new(entries)))
    }

    fn elements(&self, range: &Value<'a>) -> Result<Vec<Value<'a>>, Failure> {
        let text = |name: String| Value::Text(Cow::Owned(name));
        if let Some(items) = range.items() {
            return Ok(items);
        }
        Ok(match range {
            Value::Map(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            Value::Struct(fields) => fields.keys().cloned().map(text).collect(),
            Value::Headers(of) => {
                self.facts.headers(*of).into_iter().map(|(name, _)| text(name)).collect()
            }
            Value::Namespaces(of) => self.facts.namespaces(*of).into_iter().map(text).collect(),
            Value::NoNamespaces => Vec::new(),
            _ => return Err(Failure::Kind),
        })
    }

    fn fold(&mut self, folding: &'a Folding) -> Outcome<'a> {
        let range = self.value(&folding.range)?;
        let elements = self.elements(&range)?;
        let initial = self.value(&folding.initial);
        self.slots.truncate(folding.slot);
        self.slots.push(Err(Failure::Missing));
        self.slots.push(initial);
        let made = folding.slot.saturating_add(1);
        for element in elements {
            self.set(folding.slot, Ok(element));
            if self.value(&folding.condition)? != Value::Bool(true) {
                break;
            }
            let next = self.value(&folding.step);
            if next == Err(Failure::Exhausted) {
                return next;
            }
            self.set(made, next);
        }
        let result = self.value(&folding.result);
        self.slots.truncate(folding.slot);
        result
    }

    fn set(&mut self, slot: usize, value: Outcome<'a>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = value;
        }
    }

    fn append(&mut self, slot: usize, steps: &'a [Step]) -> Outcome<'a> {
        let more = self.values(steps)?;
        let bytes = more.len().saturating_mul(size_of::<Value<'_>>());
        self.fits(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        let place = self.slots.get_mut(slot).ok_or(Failure::Missing)?;
        match std::mem::replace(place, Err(Failure::Missing))? {
            Value::List(mut list) => {
                Arc::make_mut(&mut list).extend(more);
                Ok(Value::List(list))
            }
            _ => Err(Failure::Kind),
        }
    }
}

/// What a constant is worth without copying it.
fn borrowed<'a>(value: &'a Value<'static>) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text(Cow::Borrowed(text)),
        Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        other => other.clone(),
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A place in a list: a number of any kind that is whole.
fn place(index: &Value<'_>) -> Option<usize> {
    match index {
        Value::Int(value) => usize::try_from(*value).ok().or(Some(usize::MAX)),
        Value::Uint(value) => usize::try_from(*value).ok(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below 2^53 and not negative, it is a whole number"
        )]
        Value::Double(value)
            if value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(value) =>
        {
            Some(*value as usize)
        }
        _ => None,
    }
}

fn at<'a>(list: &Value<'a>, place: usize) -> Option<Value<'a>> {
    match list {
        Value::List(items) => items.get(place).cloned(),
        Value::Items(Cow::Borrowed(items)) => items.get(place).map(Value::json),
        Value::Items(Cow::Owned(items)) => items.get(place).cloned().map(Value::owned_json),
        _ => None,
    }
}
