//! What expressions can call.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::evaluate::{Evaluation, Failure};
use crate::library;
use crate::program::{Dialect, Library};
use crate::time::{self, Civil};
use crate::{Value, number, strings};

macro_rules! functions {
    ($($name:literal $variant:ident $form:ident $least:literal..=$most:literal $needs:ident;)*) => {
        /// A function; what stands before its point is its first argument.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function { $($variant,)* }

        /// Name, form, arguments with the target, and what has to be allowed.
        const FUNCTIONS: &[(&str, Function, Form, usize, usize, Needs)] = &[
            $(($name, Function::$variant, Form::$form, $least, $most, Needs::$needs),)*
        ];
    };
}

/// How a function is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `f(x)`.
    Plain,
    /// `x.f()`.
    Member,
    /// Either.
    Both,
}

/// What has to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Conversion,
    Strings,
    /// A rule of Kubernetes'.
    Kubernetes,
}

functions! {
    "_==_" Equal Plain 2..=2 Nothing;
    "_!=_" Unequal Plain 2..=2 Nothing;
    "_<_" Less Plain 2..=2 Nothing;
    "_<=_" LessOrEqual Plain 2..=2 Nothing;
    "_>_" Greater Plain 2..=2 Nothing;
    "_>=_" GreaterOrEqual Plain 2..=2 Nothing;
    "_+_" Add Plain 2..=2 Nothing;
    "_-_" Subtract Plain 2..=2 Nothing;
    "_*_" Multiply Plain 2..=2 Nothing;
    "_/_" Divide Plain 2..=2 Nothing;
    "_%_" Remainder Plain 2..=2 Nothing;
    "-_" Negate Plain 1..=1 Nothing;
    "!_" Not Plain 1..=1 Nothing;
    "size" Size Both 1..=1 Nothing;
    "contains" Contains Both 2..=2 Nothing;
    "startsWith" StartsWith Both 2..=2 Nothing;
    "endsWith" EndsWith Both 2..=2 Nothing;
    "type" TypeOf Plain 1..=1 Nothing;
    "dyn" Dyn Plain 1..=1 Nothing;
    "bool" Bool Plain 1..=1 Nothing;
    "int" Int Plain 1..=1 Nothing;
    "uint" Uint Plain 1..=1 Nothing;
    "double" Double Plain 1..=1 Nothing;
    "bytes" Bytes Plain 1..=1 Nothing;
    "string" Text Plain 1..=1 Conversion;
    "duration" Duration Plain 1..=1 Nothing;
    "timestamp" Timestamp Plain 1..=1 Nothing;
    "getFullYear" FullYear Member 1..=2 Nothing;
    "getMonth" Month Member 1..=2 Nothing;
    "getDate" Date Member 1..=2 Nothing;
    "getDayOfMonth" DayOfMonth Member 1..=2 Nothing;
    "getDayOfWeek" DayOfWeek Member 1..=2 Nothing;
    "getDayOfYear" DayOfYear Member 1..=2 Nothing;
    "getHours" Hours Member 1..=2 Nothing;
    "getMinutes" Minutes Member 1..=2 Nothing;
    "getSeconds" Seconds Member 1..=2 Nothing;
    "getMilliseconds" Milliseconds Member 1..=2 Nothing;
    "lowerAscii" LowerAscii Member 1..=1 Strings;
    "upperAscii" UpperAscii Member 1..=1 Strings;
    "trim" Trim Member 1..=1 Strings;
    "reverse" Reverse Member 1..=1 Strings;
    "charAt" CharAt Member 2..=2 Strings;
    "indexOf" IndexOf Member 2..=3 Strings;
    "lastIndexOf" LastIndexOf Member 2..=2 Strings;
    "substring" Substring Member 2..=3 Strings;
    "replace" Replace Member 3..=4 Strings;
    "split" Split Member 2..=3 Strings;
    "join" Join Member 1..=2 Strings;
    "isURL" IsUrl Plain 1..=1 Kubernetes;
    "url" Url Plain 1..=1 Kubernetes;
    "getScheme" UrlScheme Member 1..=1 Kubernetes;
    "getHost" UrlHost Member 1..=1 Kubernetes;
    "getHostname" UrlHostname Member 1..=1 Kubernetes;
    "getPort" UrlPort Member 1..=1 Kubernetes;
    "getEscapedPath" UrlEscapedPath Member 1..=1 Kubernetes;
    "isIP" IsIp Plain 1..=1 Kubernetes;
    "isCIDR" IsCidr Plain 1..=1 Kubernetes;
    "find" Find Member 2..=2 Kubernetes;
    "findAll" FindAll Member 2..=3 Kubernetes;
}

/// Finds a function that takes so many arguments, or says why there is none.
pub(crate) fn find(
    name: &str,
    written: Form,
    arguments: usize,
    dialect: Dialect,
) -> Result<Function, String> {
    let Dialect { options, library } = dialect;
    let known = |needs: &Needs| *needs != Needs::Kubernetes || library == Library::Kubernetes;
    let mut named = FUNCTIONS.iter().filter(|(own, .., needs)| *own == name && known(needs));
    let Some((_, function, form, least, most, needs)) = named.next() else {
        return Err(format!("there is no function `{name}`"));
    };
    let allowed = match needs {
        Needs::Conversion if !options.string_conversion => Err("enable_string_conversion"),
        Needs::Strings if !options.string_functions => Err("enable_string_functions"),
        Needs::Nothing | Needs::Conversion | Needs::Strings | Needs::Kubernetes => Ok(()),
    };
    if let Err(field) = allowed {
        return Err(format!("the function `{name}` needs `{field}` of `cel_config`"));
    }
    let fits = match form {
        Form::Both => true,
        one => *one == written,
    };
    if !fits || !(*least..=*most).contains(&arguments) {
        return Err(format!("the function `{name}` is not called like this"));
    }
    Ok(*function)
}

type Outcome<'a> = Result<Value<'a>, Failure>;

fn whole<'a>(value: Option<i64>) -> Outcome<'a> {
    value.map(Value::Int).ok_or(Failure::Range)
}

fn made<'a>(text: String) -> Value<'a> {
    Value::Text(Cow::Owned(text))
}

/// Calls a function with values.
pub(crate) fn apply<'a>(
    evaluation: &mut Evaluation<'a>,
    function: Function,
    arguments: &[Value<'a>],
) -> Outcome<'a> {
    use Function as F;
    let outcome = match (function, arguments) {
        (F::Equal, [one, other]) => Value::Bool(one.equals(other)),
        (F::Unequal, [one, other]) => Value::Bool(!one.equals(other)),
        (F::Less | F::LessOrEqual | F::Greater | F::GreaterOrEqual, [one, other]) => {
            ordered(function, one, other)?
        }
        (F::Add | F::Subtract | F::Multiply | F::Divide | F::Remainder, [one, other]) => {
            arithmetic(evaluation, function, one, other)?
        }
        (F::Negate, [Value::Int(value)]) => whole(value.checked_neg())?,
        (F::Negate, [Value::Double(value)]) => Value::Double(-value),
        (F::Not, [Value::Bool(value)]) => Value::Bool(!value),
        (F::Size, [value]) => {
            let size = evaluation.size(value).ok_or(Failure::Kind)?;
            whole(i64::try_from(size).ok())?
        }
        (F::Contains, [Value::Text(text), Value::Text(part)]) => {
            Value::Bool(text.contains(part.as_ref()))
        }
        (F::StartsWith, [Value::Text(text), Value::Text(part)]) => {
            Value::Bool(text.starts_with(part.as_ref()))
        }
        (F::EndsWith, [Value::Text(text), Value::Text(part)]) => {
            Value::Bool(text.ends_with(part.as_ref()))
        }
        (F::TypeOf, [value]) => Value::Type(value.type_name()),
        (F::Dyn, [value]) => value.clone(),
        (F::Bool | F::Int | F::Uint | F::Double | F::Bytes | F::Text, [value]) => {
            converted(function, value)?
        }
        (F::Duration, [value]) => match value {
            Value::Text(text) => Value::Duration(time::duration(text).ok_or(Failure::Argument)?),
            Value::Duration(_) => value.clone(),
            _ => return Err(Failure::Kind),
        },
        (F::Timestamp, [value]) => match value {
            Value::Text(text) => Value::Timestamp(time::timestamp(text).ok_or(Failure::Argument)?),
            Value::Int(seconds) => {
                let moment = time::in_range(i128::from(*seconds) * time::SECOND);
                Value::Timestamp(moment.ok_or(Failure::Range)?)
            }
            Value::Timestamp(_) => value.clone(),
            _ => return Err(Failure::Kind),
        },
        (
            F::IsUrl
            | F::Url
            | F::UrlScheme
            | F::UrlHost
            | F::UrlHostname
            | F::UrlPort
            | F::UrlEscapedPath
            | F::IsIp
            | F::IsCidr
            | F::Find
            | F::FindAll,
            _,
        ) => library::apply(evaluation, function, arguments)?,
        (_, [Value::Timestamp(moment)]) => of_moment(function, *moment, 0)?,
        (_, [Value::Timestamp(moment), Value::Text(zone)]) => {
            let offset = if zone.as_ref() == "UTC" { Some(0) } else { time::zone_offset(zone) };
            of_moment(function, *moment, offset.ok_or(Failure::Argument)?)?
        }
        (_, [Value::Duration(nanos)]) => of_duration(function, *nanos)?,
        _ => of_text(function, arguments)?,
    };
    evaluation.made(&outcome)?;
    Ok(outcome)
}

fn ordered<'a>(function: Function, one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    use Function as F;
    let is_number =
        |value: &Value<'_>| matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    let Some(order) = one.compare(other) else {
        // What is no number is neither less nor more than one.
        let both = is_number(one) && is_number(other);
        return if both { Ok(Value::Bool(false)) } else { Err(Failure::Kind) };
    };
    Ok(Value::Bool(match function {
        F::Less => order == Ordering::Less,
        F::LessOrEqual => order != Ordering::Greater,
        F::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }))
}

fn arithmetic<'a>(
    evaluation: &Evaluation<'a>,
    function: Function,
    one: &Value<'a>,
    other: &Value<'a>,
) -> Outcome<'a> {
    use Function as F;
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => whole(match function {
            F::Add => one.checked_add(*other),
            F::Subtract => one.checked_sub(*other),
            F::Multiply => one.checked_mul(*other),
            F::Divide => one.checked_div(*other),
            _ => one.checked_rem(*other),
        }),
        (Value::Uint(one), Value::Uint(other)) => {
            let value = match function {
                F::Add => one.checked_add(*other),
                F::Subtract => one.checked_sub(*other),
                F::Multiply => one.checked_mul(*other),
                F::Divide => one.checked_div(*other),
                _ => one.checked_rem(*other),
            };
            value.map(Value::Uint).ok_or(Failure::Range)
        }
        (Value::Double(one), Value::Double(other)) => match function {
            F::Add => Ok(Value::Double(one + other)),
            F::Subtract => Ok(Value::Double(one - other)),
            F::Multiply => Ok(Value::Double(one * other)),
            F::Divide => Ok(Value::Double(one / other)),
            _ => Err(Failure::Kind),
        },
        (Value::Text(one), Value::Text(other)) if function == F::Add => {
            evaluation.may_join()?;
            evaluation.fits(one.len().saturating_add(other.len()))?;
            Ok(made(format!("{one}{other}")))
        }
        (Value::Bytes(one), Value::Bytes(other)) if function == F::Add => {
            evaluation.may_join()?;
            evaluation.fits(one.len().saturating_add(other.len()))?;
            Ok(Value::Bytes(Cow::Owned([one.as_ref(), other.as_ref()].concat())))
        }
        _ => in_time(function, one, other),
    }
}

fn in_time<'a>(function: Function, one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    use Function as F;
    let moment = |value: Option<i128>| {
        value.and_then(time::in_range).map(Value::Timestamp).ok_or(Failure::Range)
    };
    let duration = |value: Option<i128>| {
        value.and_then(time::duration_in_range).map(Value::Duration).ok_or(Failure::Range)
    };
    match (function, one, other) {
        (F::Add, Value::Timestamp(at), Value::Duration(by))
        | (F::Add, Value::Duration(by), Value::Timestamp(at)) => moment(at.checked_add(*by)),
        (F::Subtract, Value::Timestamp(at), Value::Duration(by)) => moment(at.checked_sub(*by)),
        (F::Subtract, Value::Timestamp(to), Value::Timestamp(from)) => {
            duration(to.checked_sub(*from))
        }
        (F::Add, Value::Duration(one), Value::Duration(other)) => duration(one.checked_add(*other)),
        (F::Subtract, Value::Duration(one), Value::Duration(other)) => {
            duration(one.checked_sub(*other))
        }
        _ => Err(Failure::Kind),
    }
}

fn converted<'a>(function: Function, value: &Value<'a>) -> Outcome<'a> {
    use Function as F;
    let argument = Failure::Argument;
    match (function, value) {
        (F::Bool, Value::Bool(_))
        | (F::Int, Value::Int(_))
        | (F::Uint, Value::Uint(_))
        | (F::Double, Value::Double(_))
        | (F::Bytes, Value::Bytes(_))
        | (F::Text, Value::Text(_)) => Ok(value.clone()),
        (F::Bool, Value::Text(text)) => match text.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(argument),
        },
        (F::Int, Value::Uint(value)) => whole(i64::try_from(*value).ok()),
        (F::Int, Value::Double(value)) => whole(truncated(*value).and_then(|v| v.try_into().ok())),
        (F::Int, Value::Text(text)) => text.parse().map(Value::Int).map_err(|_no_number| argument),
        (F::Int, Value::Timestamp(at)) => whole(at.div_euclid(time::SECOND).try_into().ok()),
        (F::Uint, Value::Int(value)) => {
            u64::try_from(*value).map(Value::Uint).map_err(|_negative| Failure::Range)
        }
        (F::Uint, Value::Double(value)) => {
            let value = truncated(*value).and_then(|value| u64::try_from(value).ok());
            value.map(Value::Uint).ok_or(Failure::Range)
        }
        (F::Uint, Value::Text(text)) => {
            text.parse().map(Value::Uint).map_err(|_no_number| argument)
        }
        #[expect(clippy::cast_precision_loss, reason = "what a double cannot hold is rounded")]
        (F::Double, Value::Int(value)) => Ok(Value::Double(*value as f64)),
        #[expect(clippy::cast_precision_loss, reason = "what a double cannot hold is rounded")]
        (F::Double, Value::Uint(value)) => Ok(Value::Double(*value as f64)),
        (F::Double, Value::Text(text)) => {
            text.parse().map(Value::Double).map_err(|_no_number| argument)
        }
        (F::Bytes, Value::Text(text)) => Ok(Value::Bytes(Cow::Owned(text.as_bytes().to_vec()))),
        (F::Text, Value::Bool(value)) => Ok(made(value.to_string())),
        (F::Text, Value::Int(value)) => Ok(made(value.to_string())),
        (F::Text, Value::Uint(value)) => Ok(made(value.to_string())),
        (F::Text, Value::Double(value)) => Ok(made(number::shortest(*value))),
        (F::Text, Value::Bytes(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_no_text| argument)?;
            Ok(made(text.to_owned()))
        }
        (F::Text, Value::Duration(nanos)) => {
            let sign = if *nanos < 0 { "-" } else { "" };
            Ok(made(format!("{sign}{}", time::seconds(nanos.unsigned_abs()))))
        }
        (F::Text, Value::Timestamp(at)) => Ok(made(time::moment(*at, "Z"))),
        _ => Err(Failure::Kind),
    }
}

/// The whole part of a number, where it is one that an `int` or `uint` may hold.
fn truncated(value: f64) -> Option<i128> {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^64 every whole number fits")]
    (value.abs() < 18_446_744_073_709_551_616.0).then_some(value as i128)
}

fn of_moment<'a>(function: Function, moment: i128, offset: i128) -> Outcome<'a> {
    use Function as F;
    let Civil { year, month, day, weekday, day_of_year, hour, minute, second, nanos } =
        time::civil(moment, offset);
    Ok(Value::Int(match function {
        F::FullYear => year,
        F::Month => month - 1,
        F::Date => day,
        F::DayOfMonth => day - 1,
        F::DayOfWeek => weekday,
        F::DayOfYear => day_of_year,
        F::Hours => hour,
        F::Minutes => minute,
        F::Seconds => second,
        F::Milliseconds => nanos / 1_000_000,
        _ => return Err(Failure::Kind),
    }))
}

fn of_duration<'a>(function: Function, nanos: i128) -> Outcome<'a> {
    use Function as F;
    let value = match function {
        F::Hours => nanos / (3_600 * time::SECOND),
        F::Minutes => nanos / (60 * time::SECOND),
        F::Seconds => nanos / time::SECOND,
        F::Milliseconds => nanos % time::SECOND / 1_000_000,
        _ => return Err(Failure::Kind),
    };
    whole(i64::try_from(value).ok())
}

fn of_text<'a>(function: Function, arguments: &[Value<'a>]) -> Outcome<'a> {
    use Function as F;
    let list = |values: Vec<Value<'a>>| Value::List(Arc::new(values));
    Ok(match (function, arguments) {
        (F::LowerAscii, [Value::Text(text)]) => made(text.to_ascii_lowercase()),
        (F::UpperAscii, [Value::Text(text)]) => made(text.to_ascii_uppercase()),
        (F::Trim, [Value::Text(text)]) => made(text.trim().to_owned()),
        (F::Reverse, [Value::Text(text)]) => made(text.chars().rev().collect()),
        (F::CharAt, [Value::Text(text), Value::Int(at)]) => {
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            strings::substring(text, *at, Some(at.saturating_add(1).min(length)))?
        }
        (F::IndexOf, [Value::Text(text), Value::Text(part)]) => {
            Value::Int(strings::index_of(text, part, 0)?)
        }
        (F::IndexOf, [Value::Text(text), Value::Text(part), Value::Int(from)]) => {
            Value::Int(strings::index_of(text, part, *from)?)
        }
        (F::LastIndexOf, [Value::Text(text), Value::Text(part)]) => {
            Value::Int(strings::last_index_of(text, part))
        }
        (F::Substring, [Value::Text(text), Value::Int(from)]) => {
            strings::substring(text, *from, None)?
        }
        (F::Substring, [Value::Text(text), Value::Int(from), Value::Int(to)]) => {
            strings::substring(text, *from, Some(*to))?
        }
        (F::Replace, [Value::Text(text), Value::Text(from), Value::Text(to)]) => {
            made(replaced(text, from, to, -1)?)
        }
        (F::Replace, [Value::Text(text), Value::Text(from), Value::Text(to), Value::Int(most)]) => {
            made(replaced(text, from, to, *most)?)
        }
        (F::Split, [Value::Text(text), Value::Text(separator)]) => {
            list(strings::split(text, separator, -1))
        }
        (F::Split, [Value::Text(text), Value::Text(separator), Value::Int(most)]) => {
            list(strings::split(text, separator, *most))
        }
        (F::Join, [items]) => joined(items, "")?,
        (F::Join, [items, Value::Text(separator)]) => joined(items, separator)?,
        _ => return Err(Failure::Kind),
    })
}

/// What would grow beyond what an evaluation may make is not made at all.
fn replaced(text: &str, from: &str, to: &str, most: i64) -> Result<String, Failure> {
    let times = text.matches(from).count();
    let length = text.len().saturating_add(times.saturating_mul(to.len()));
    if length > crate::limits::MADE_BYTES_MAX {
        return Err(Failure::Exhausted);
    }
    Ok(strings::replace(text, from, to, most))
}

fn joined<'a>(items: &Value<'a>, separator: &str) -> Outcome<'a> {
    let items = items.items().ok_or(Failure::Kind)?;
    let mut text = String::new();
    for (place, item) in items.iter().enumerate() {
        let Value::Text(part) = item else { return Err(Failure::Kind) };
        if place > 0 {
            text.push_str(separator);
        }
        text.push_str(part);
        if text.len() > crate::limits::MADE_BYTES_MAX {
            return Err(Failure::Exhausted);
        }
    }
    Ok(made(text))
}
