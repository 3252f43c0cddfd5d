//! Types that describe themselves: what they are in a document, and how they are read of one.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::{
    Code, Labels, Pattern,
    istio::REGEX_CHARACTERS_MAX,
    reader::{Cursor, Fields},
};

/// A type that says what it is in a document.
pub(crate) trait Described: Sized {
    /// Its structural schema, without a description.
    fn schema() -> Json;

    /// Reads it; what cannot be read is reported.
    fn read(cursor: &Cursor<'_>) -> Option<Self>;

    /// What it is when nothing was written; `None` when something must be.
    fn absent() -> Option<Self> {
        None
    }

    /// As a document writes it. Only types that have defaults need one.
    fn written(&self) -> Json {
        json!({})
    }
}

/// Reads a field of a type.
pub(crate) fn field<T: Described>(
    fields: &Fields<'_>,
    name: &'static str,
    default: Option<T>,
) -> Option<T> {
    match fields.get(name) {
        Some(cursor) => T::read(&cursor),
        None => match default.or_else(T::absent) {
            Some(absent) => Some(absent),
            None => fields.required(name).and_then(|cursor| T::read(&cursor)),
        },
    }
}

/// The schema of a field: that of its type, with what else is said of it.
pub(crate) fn property<T: Described>(
    docs: &[&str],
    limits: &Json,
    default: Option<&T>,
) -> (Json, bool) {
    let mut schema = T::schema();
    if let (Json::Object(schema), Json::Object(limits)) = (&mut schema, limits) {
        for (key, value) in limits {
            schema.insert(key.clone(), value.clone());
        }
        schema.insert("description".to_owned(), json!(sentence(docs)));
        if let Some(default) = default {
            schema.insert("default".to_owned(), default.written());
        }
    }
    (schema, default.is_none() && T::absent().is_none())
}

/// Lines of a documentation comment as one text.
fn sentence(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('`', "")
}

/// The schema of an object.
pub(crate) fn object(properties: Vec<(&str, (Json, bool))>, rules: &[(&str, &str)]) -> Json {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    let needed = properties.iter().filter(|(_, (_, is_needed))| *is_needed);
    let required: Vec<&str> = needed.map(|(name, _)| *name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    let properties = properties.into_iter().map(|(name, (schema, _))| (name.to_owned(), schema));
    schema.insert("properties".to_owned(), Json::Object(properties.collect()));
    if !rules.is_empty() {
        let rules = rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message}));
        schema.insert("x-kubernetes-validations".to_owned(), rules.collect());
    }
    Json::Object(schema)
}

/// Exactly one of several fields.
pub(crate) fn one_of(names: &[&str]) -> (String, String) {
    let counted: Vec<String> =
        names.iter().map(|name| format!("(has(self.{name}) ? 1 : 0)")).collect();
    let message = format!("exactly one of {} has to be given", names.join(", "));
    (format!("{} == 1", counted.join(" + ")), message)
}

/// Reads a mapping of which one field is given. More, and other faults, the schema finds.
pub(crate) fn the_one<'a>(
    cursor: &Cursor<'a>,
    names: &[&'static str],
) -> Option<(&'static str, Cursor<'a>)> {
    let fields = cursor.fields();
    let mut given: Vec<_> =
        names.iter().filter_map(|name| Some((*name, fields.get(name)?))).collect();
    if given.len() != 1 {
        cursor.report(Code::Conflict, one_of(names).1);
        return None;
    }
    given.pop()
}

/// A structure whose documentation, schema and reader are one text.
macro_rules! described {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident: $type:ty = $json:literal
                $(or [$default:expr])?
                $({ $($limits:tt)+ })?;
            )+
        }
        $(rules { $($rule:literal => $message:literal;)+ })?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $crate::own::Described for $name {
            fn schema() -> serde_json::Value {
                use $crate::own::described::{object, property};
                let properties = vec![$((
                    $json,
                    property::<$type>(
                        &[$($field_doc),+],
                        &serde_json::json!({ $($($limits)+)? }),
                        described!(@default $($default)?).as_ref(),
                    ),
                )),+];
                object(properties, &[$($(($rule, $message)),+)?])
            }

            fn read(cursor: &$crate::reader::Cursor<'_>) -> Option<Self> {
                use $crate::own::described::field;
                let fields = cursor.fields();
                $(let $field = field::<$type>(
                    &fields,
                    $json,
                    described!(@default $($default)?),
                );)+
                Some(Self { $($field: $field?),+ })
            }
        }
    };
    (
        $(#[doc = $doc:literal])+
        pub words $name:ident {
            $($(#[doc = $word_doc:literal])+ $word:ident,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $word_doc])+ $word,)+ }

        impl $crate::own::Described for $name {
            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "string", "enum": [$(stringify!($word)),+] })
            }

            fn read(cursor: &$crate::reader::Cursor<'_>) -> Option<Self> {
                cursor.word(&[$((stringify!($word), Self::$word)),+])
            }

            fn written(&self) -> serde_json::Value {
                match self { $(Self::$word => stringify!($word).into(),)+ }
            }
        }
    };
    (
        $(#[doc = $doc:literal])+
        pub choice $name:ident {
            $(
                $(#[doc = $choice_doc:literal])+
                $choice:ident($type:ty) = $json:literal
                $({ $($limits:tt)+ })?;
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name { $($(#[doc = $choice_doc])+ $choice($type),)+ }

        impl $crate::own::Described for $name {
            fn schema() -> serde_json::Value {
                use $crate::own::described::{object, one_of, property};
                let properties = vec![$((
                    $json,
                    (
                        property::<$type>(
                            &[$($choice_doc),+],
                            &serde_json::json!({ $($($limits)+)? }),
                            None,
                        ).0,
                        false,
                    ),
                )),+];
                let (rule, message) = one_of(&[$($json),+]);
                object(properties, &[(&rule, &message)])
            }

            fn read(cursor: &$crate::reader::Cursor<'_>) -> Option<Self> {
                use $crate::own::described::the_one;
                let (name, inner) = the_one(cursor, &[$($json),+])?;
                $(if name == $json {
                    return <$type as $crate::own::Described>::read(&inner).map(Self::$choice);
                })+
                None
            }
        }
    };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
}

pub(crate) use described;

impl Described for String {
    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": 253 })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.text()
    }
}

impl Described for u32 {
    fn schema() -> Json {
        json!({ "type": "integer", "format": "int32", "minimum": 0 })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.count()
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

impl Described for u16 {
    fn schema() -> Json {
        json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.port()
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

impl Described for NonZeroU32 {
    fn schema() -> Json {
        json!({ "type": "integer", "format": "int32", "minimum": 1 })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        let number = cursor.integer(1, i64::from(i32::MAX))?;
        u32::try_from(number).ok().and_then(Self::new)
    }
}

impl Described for Duration {
    fn schema() -> Json {
        json!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "duration(self) >= duration('1ms')",
                "message": "a duration is at least 1ms",
            }],
        })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.duration()
    }

    fn written(&self) -> Json {
        json!(format!("{}ms", self.as_millis()))
    }
}

impl Described for Pattern {
    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": REGEX_CHARACTERS_MAX })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let pattern = Self::new(&text);
        pattern.map_err(|problem| cursor.report(Code::BadRegex, problem)).ok()
    }
}

impl Described for Labels {
    fn schema() -> Json {
        json!({
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": { "type": "string", "maxLength": 63 },
        })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        let pairs = cursor.entries().into_iter();
        Some(pairs.filter_map(|(key, value)| Some((key.to_owned(), value.text()?))).collect())
    }
}

impl<T: Described> Described for Option<T> {
    fn schema() -> Json {
        T::schema()
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        T::read(cursor).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Described> Described for Vec<T> {
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn read(cursor: &Cursor<'_>) -> Option<Self> {
        // Every element is read, so that every problem is told.
        let read: Vec<Option<T>> = cursor.list().iter().map(T::read).collect();
        read.into_iter().collect()
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}
