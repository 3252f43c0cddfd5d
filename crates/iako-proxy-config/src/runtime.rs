//! Numbers, switches and shares that can be changed by name while the proxy runs.

use std::{collections::BTreeMap, path::PathBuf};

use iako_types::Percent;

use crate::SourcedName;

/// A value that counts unless the runtime says otherwise under a key.
/// Source: `envoy.config.core.v3.RuntimeFractionalPercent`, `RuntimeUInt32`, `RuntimeDouble`,
/// `RuntimePercent`, `RuntimeFeatureFlag`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Keyed<T> {
    /// What counts; as it was sent until the runtime has been asked.
    pub value: T,
    /// The key; nothing is asked when absent.
    pub key: Option<Box<str>>,
}

impl<T> Keyed<T> {
    /// A value that nothing can change.
    #[must_use]
    pub const fn fixed(value: T) -> Self {
        Self { value, key: None }
    }

    /// A value that a key can change; no key when it is empty.
    #[must_use]
    pub fn new(value: T, key: &str) -> Self {
        Self { value, key: key_of(key) }
    }

    /// The key; empty when there is none.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }
}

/// A key; none when it is empty.
fn key_of(key: &str) -> Option<Box<str>> {
    (!key.is_empty()).then(|| key.into())
}

/// A value that nothing can change.
impl<T> From<T> for Keyed<T> {
    fn from(value: T) -> Self {
        Self::fixed(value)
    }
}

/// Where the runtime comes from, a later layer over an earlier one.
/// Source: `envoy.config.bootstrap.v3.LayeredRuntime`.
///
/// Without one in the bootstrap there is no layer; an empty one has a single
/// [admin layer](RuntimeSource::Admin) without a name, as Envoy has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayeredRuntime {
    /// The layers; at most one of them is the admin's, and each has a name of its own.
    pub layers: Vec<RuntimeLayer>,
}

/// One layer. Source: `envoy.config.bootstrap.v3.RuntimeLayer`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeLayer {
    /// Its name, for people.
    pub name: String,
    /// Where its values come from.
    pub source: RuntimeSource,
}

/// Where the values of a layer come from. Source: `RuntimeLayer.layer_specifier`.
#[derive(Debug, Clone, PartialEq)]
pub enum RuntimeSource {
    /// From the bootstrap. Source: `static_layer`.
    Static(RuntimeValues),
    /// From files. Source: `disk_layer`.
    Disk(RuntimeDirectory),
    /// From `POST /runtime_modify`. Source: `admin_layer`.
    Admin,
    /// From a discovery service: the resource of this name. Source: `rtds_layer`.
    Discovered(SourcedName),
}

/// A tree of files, each of which holds one value; the path is the key.
/// Source: `envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeDirectory {
    /// A link to the tree. The tree is read again when another link is moved in its place.
    pub root: PathBuf,
    /// The directory in the tree that counts; the tree itself when empty.
    pub subdirectory: PathBuf,
    /// Whether only the directory therein counts that is named after the node's cluster.
    /// Envoy default: false.
    pub append_service_cluster: bool,
}

/// Values by key; a key has a dot where the tree that it was written as has a branch.
pub type RuntimeValues = BTreeMap<String, RuntimeValue>;

/// What a discovery service says of a layer. Source: `envoy.service.runtime.v3.Runtime`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeResource {
    /// The resource's name, which the layer asks for.
    pub name: String,
    /// The layer's values.
    pub values: RuntimeValues,
}

/// One value, and what it means to whoever asks for a number, a switch or a share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeValue {
    /// As it is shown to people, and as it was written where it was a text.
    pub text: String,
    /// What it was written as.
    pub written: RuntimeWritten,
    /// As a number.
    pub number: Option<f64>,
    /// As a switch.
    pub switch: Option<bool>,
    /// As a share that was written as a fraction.
    pub fraction: Option<Percent>,
}

/// What a value was written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RuntimeWritten {
    /// A text.
    #[default]
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Switch,
    /// An object; its text is JSON.
    Object,
}

impl RuntimeValue {
    /// A text that means nothing else.
    #[must_use]
    pub fn of_text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number. Whole numbers are switches too: 0 is off.
    #[must_use]
    pub fn of_number(number: f64) -> Self {
        let whole = number.fract() == 0.0 && number.abs() < f64::from(i32::MAX);
        Self {
            text: shown(number),
            written: RuntimeWritten::Number,
            number: Some(number),
            switch: whole.then_some(number != 0.0),
            fraction: None,
        }
    }

    /// An object, as JSON; the share that it means, where it is a fraction.
    #[must_use]
    pub fn of_object(json: impl Into<String>, fraction: Option<Percent>) -> Self {
        Self { text: json.into(), written: RuntimeWritten::Object, fraction, ..Self::default() }
    }

    /// The same value, shown as it was written.
    #[must_use]
    pub fn shown_as(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// As a whole number, rounded down; none below zero.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is looked at; a fraction is to be cut off"
    )]
    pub fn integer(&self) -> Option<u64> {
        let number = self.number?;
        (0.0..18_446_744_073_709_551_616.0).contains(&number).then_some(number as u64)
    }

    /// As a share: a fraction as it is, a number as whole percent, where all above 100 is all.
    #[must_use]
    pub fn share(&self) -> Option<Percent> {
        let whole = || {
            let percent = u32::try_from(self.integer()?.min(100)).ok()?;
            Percent::from_whole(percent).ok()
        };
        self.fraction.or_else(whole)
    }
}

/// A switch.
impl From<bool> for RuntimeValue {
    fn from(on: bool) -> Self {
        Self {
            text: on.to_string(),
            written: RuntimeWritten::Switch,
            switch: Some(on),
            ..Self::default()
        }
    }
}

/// A number as Envoy shows it: six digits, with an exponent where it is very large or small.
fn shown(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let written = format!("{number:.5e}");
    let Some((digits, exponent)) = written.split_once('e') else { return written };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or(0);
        return trim(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(digits), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_six_digits() {
        let text = |number| RuntimeValue::of_number(number).text;
        assert_eq!(text(0.0), "0");
        assert_eq!(text(100.0), "100");
        assert_eq!(text(-0.5), "-0.5");
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(999_999.0), "999999");
        assert_eq!(text(1_234_567.0), "1.23457e+06");
        assert_eq!(text(1e21), "1e+21");
        assert_eq!(text(1e-7), "1e-07");
    }

    #[test]
    fn numbers_are_switches_and_shares() {
        let value = RuntimeValue::of_number(99.9);
        assert_eq!((value.integer(), value.switch), (Some(99), None));
        assert_eq!(value.share(), Percent::from_whole(99).ok());
        assert_eq!(RuntimeValue::of_number(1.0).switch, Some(true));
        assert_eq!(RuntimeValue::of_number(1e9).share(), Some(Percent::HUNDRED));
        assert_eq!(RuntimeValue::of_number(-1.0).integer(), None);
        assert_eq!(RuntimeValue::of_number(f64::INFINITY).integer(), None);
        assert_eq!(RuntimeValue::from(true).share(), None);
    }
}
