//! What the user does not want to be told.

use std::str::FromStr;

use iako_resources::{Diagnostic, ISTIO_MESSAGES};
use thiserror::Error;

/// A wish not to be told of some findings: `CODE=Kind namespace/name`, with `*` for any characters
/// in each part. The form of `istioctl analyze`, `CODE=Kind name.namespace`, is understood too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    kind: String,
    namespace: String,
    name: String,
}

/// A text is no [`Suppression`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not CODE=Kind namespace/name, such as \"IAKO0100=VirtualService shop/*\"")]
pub struct SuppressionError {
    text: String,
}

impl FromStr for Suppression {
    type Err = SuppressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| SuppressionError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Suppression> {
    let (code, object) = text.split_once('=')?;
    let (kind, name) = object.trim().split_once(' ')?;
    let name = name.trim();
    let (namespace, name) = match (name.split_once('/'), name.rsplit_once('.')) {
        (Some(parts), _) => parts,
        (None, Some((name, namespace))) => (namespace, name),
        (None, None) => ("*", name),
    };
    let parts = [code.trim(), kind, namespace, name];
    if parts.iter().any(|part| part.is_empty() || part.contains(' ')) {
        return None;
    }
    let [code, kind, namespace, name] = parts.map(str::to_owned);
    Some(Suppression { code, kind, namespace, name })
}

impl Suppression {
    /// Whether a finding is one of those.
    #[must_use]
    pub fn covers(&self, found: &Diagnostic) -> bool {
        let (kind, object) = found.subject.split_once(' ').unwrap_or((&found.subject, ""));
        let (namespace, name) = object.split_once('/').unwrap_or(("", object));
        names_code(&self.code, found)
            && matches(&self.kind, kind)
            && (matches(&self.namespace, namespace)
                || (namespace.is_empty() && self.namespace == name))
            && matches(&self.name, name)
    }
}

/// Whether annotations of the file of a finding ask not to tell it.
pub(crate) fn is_suppressed_by(wishes: &[(String, Vec<String>)], found: &Diagnostic) -> bool {
    wishes.iter().any(|(subject, codes)| {
        *subject == found.subject && codes.iter().any(|code| names_code(code, found))
    })
}

/// Whether a code, ours or Istio's, with stars, is that of a finding.
fn names_code(code: &str, found: &Diagnostic) -> bool {
    let ist = || ISTIO_MESSAGES.iter().filter(|message| matches(code, message.code));
    matches(code, &found.code.to_string()) || ist().any(|message| message.is_said_by(found.code))
}

/// Whether a text is what a pattern says; a star stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use iako_resources::{Code, Origin};

    fn covers(wish: &str, subject: &str) -> bool {
        let place = Origin::of_source("a.yaml");
        let found = Diagnostic::new(Code::HostNotFound, subject, place, "x".to_owned());
        wish.parse::<Suppression>().unwrap().covers(&found)
    }

    #[test]
    fn stars_stand_for_any_characters() {
        let cases = [
            ("cart", "cart", true),
            ("cart", "carts", false),
            ("*", "", true),
            ("c*t", "cart", true),
            ("c*t", "carts", false),
            ("*a*", "cart", true),
            ("c**", "c", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn wishes_are_read_in_both_forms() {
        assert!(covers("IAKO0100=VirtualService shop/cart", "VirtualService shop/cart"));
        assert!(covers("IAKO01*=* shop/*", "VirtualService shop/cart"));
        assert!(covers("*=VirtualService cart.shop", "VirtualService shop/cart"));
        assert!(covers("*=Namespace shop", "Namespace shop"));
        assert!(covers("IST0101=VirtualService cart.shop", "VirtualService shop/cart"));
        assert!(!covers("IAKO0101=VirtualService shop/cart", "VirtualService shop/cart"));
        assert!(!covers("*=VirtualService default/cart", "VirtualService shop/cart"));
        for text in ["IAKO0100", "IAKO0100=cart", "=A b/c", "A=B a b"] {
            assert!(text.parse::<Suppression>().is_err(), "{text}");
        }
    }
}
