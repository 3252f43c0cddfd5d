//! Names and values that we write ourselves, and names that we look up.

use bytes::Bytes;

use crate::known::Known;
use crate::scan;

/// A field name in lower case: a number for the names that the mesh knows, text for the rest.
///
/// Made once when configuration is compiled; cloning allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldName {
    /// A name the mesh knows.
    Known(Known),
    /// Any other name; see [`FieldName::parse`].
    Other(OtherName),
}

/// A valid lower-case field name outside [`Known`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherName(Bytes);

impl FieldName {
    /// Takes a name in any case.
    ///
    /// # Errors
    /// When it is no RFC 9110 `token`.
    pub fn parse(name: &[u8]) -> Result<Self, InvalidName> {
        if !scan::is_token(name) || name.len() > usize::from(u16::MAX) {
            return Err(InvalidName);
        }
        let lower = name.to_ascii_lowercase();
        Ok(Known::lookup(&lower).map_or_else(|| Self::Other(OtherName(lower.into())), Self::Known))
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Known(known) => known.as_str().as_bytes(),
            Self::Other(name) => &name.0,
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl From<Known> for FieldName {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

/// The text is no field name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field name consists of letters, digits and !#$%&'*+-.^_`|~")]
pub struct InvalidName;

/// A field value that cannot break out of its line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldValue(Bytes);

impl FieldValue {
    /// Takes a value that may hold anything.
    ///
    /// # Errors
    /// When it holds a control character other than tab: CR and LF would let whoever chose the value
    /// add fields of their own.
    pub fn parse(value: impl Into<Bytes>) -> Result<Self, InvalidValue> {
        let value = value.into();
        if scan::is_value(&value) { Ok(Self(value)) } else { Err(InvalidValue) }
    }

    /// Takes a value with every forbidden character replaced by a space. For values made from what
    /// strangers said, where refusing would lose the request.
    #[must_use]
    pub fn sanitized(value: impl Into<Bytes>) -> Self {
        let value = value.into();
        if scan::is_value(&value) {
            return Self(value);
        }
        let cleaned: Vec<u8> =
            value.iter().map(|byte| if scan::is_value(&[*byte]) { *byte } else { b' ' }).collect();
        Self(cleaned.into())
    }

    /// Takes a constant of ours.
    #[must_use]
    pub fn from_static(value: &'static str) -> Self {
        debug_assert!(
            scan::is_value(value.as_bytes()),
            "a constant value holds a control character"
        );
        Self(Bytes::from_static(value.as_bytes()))
    }

    /// The bytes of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl From<u64> for FieldValue {
    fn from(number: u64) -> Self {
        // Statuses of gRPC, attempts and milliseconds: nearly always one digit.
        const DIGITS: &[u8] = b"0123456789";
        let digit = usize::try_from(number).ok().and_then(|place| DIGITS.get(place..=place));
        if let Some(digit) = digit {
            return Self(Bytes::from_static(digit));
        }
        let mut digits = [b'0'; 20];
        Self(Bytes::copy_from_slice(crate::encode::decimal(number, &mut digits)))
    }
}

/// The text is no field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field value holds no control characters")]
pub struct InvalidValue;

/// A name to look up: a number, or text in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRef<'a> {
    /// A name the mesh knows.
    Known(Known),
    /// Any other name, in lower case.
    Other(&'a [u8]),
}

impl From<Known> for NameRef<'_> {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

impl<'a> From<&'a FieldName> for NameRef<'a> {
    fn from(name: &'a FieldName) -> Self {
        match name {
            FieldName::Known(known) => Self::Known(*known),
            FieldName::Other(other) => Self::Other(&other.0),
        }
    }
}

impl<'a> From<&'a [u8]> for NameRef<'a> {
    /// Takes a name that is already in lower case.
    fn from(lower: &'a [u8]) -> Self {
        Known::lookup(lower).map_or(Self::Other(lower), Self::Known)
    }
}

impl<'a> From<&'a str> for NameRef<'a> {
    /// Takes a name that is already in lower case.
    fn from(lower: &'a str) -> Self {
        Self::from(lower.as_bytes())
    }
}

/// Whether a field is a secret that no compression table on its way may hold (RFC 7541 §7.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sensitivity {
    /// It may be indexed.
    #[default]
    Plain,
    /// It came over HTTP/2 as a literal that is never indexed, and goes on as one (RFC 7541 §6.2.3).
    Sensitive,
}

/// One field as it is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as a number, when the mesh knows it.
    pub known: Option<Known>,
    /// The name in lower case.
    pub name: &'a [u8],
    /// The name as the peer wrote it, where names keep their case; else the same as `name`.
    pub original_name: &'a [u8],
    /// The value without blanks around it.
    pub value: &'a [u8],
    /// Whether it is a secret.
    pub sensitivity: Sensitivity,
}

impl Field<'_> {
    /// Whether this field has that name.
    #[must_use]
    pub fn is(&self, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => self.known == Some(known),
            NameRef::Other(other) => self.known.is_none() && self.name == other,
        }
    }
}
