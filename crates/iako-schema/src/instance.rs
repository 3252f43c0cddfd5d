//! Documents, whoever holds them.

use serde_json::Value as Json;

/// A value of a document.
pub trait Instance: Sized {
    /// What it is.
    fn shape(&self) -> Shape<'_, Self>;
}

/// What a value of a document is.
#[derive(Debug, Clone)]
pub enum Shape<'a, D> {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// A list.
    List(&'a [D]),
    /// Keys and values, in the order of the document.
    Map(Vec<(&'a str, &'a D)>),
}

impl<D> Shape<'_, D> {
    /// In words, for messages.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("the boolean {value}"),
            Self::Int(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) => format!("the text {:?}", shortened(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// A text that fits in a message.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    if text.chars().count() <= CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARACTERS_MAX).chain(std::iter::once('…')).collect()
}

impl Instance for Json {
    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Null => Shape::Null,
            Self::Bool(value) => Shape::Bool(*value),
            Self::Number(number) => match number.as_i64() {
                Some(number) => Shape::Int(number),
                None => Shape::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Self::String(text) => Shape::Text(text),
            Self::Array(items) => Shape::List(items),
            Self::Object(fields) => {
                Shape::Map(fields.iter().map(|(key, value)| (key.as_str(), value)).collect())
            }
        }
    }
}
