//! From an object of the user's to the mark that rules carry.

use iako_proxy_config::RuleOrigin;
use iako_resources::{Kind, Object};

/// The mark of a rule that was made from `line` of an object.
pub(crate) fn rule_origin<T>(kind: Kind, object: &Object<T>, line: u32) -> RuleOrigin {
    RuleOrigin {
        kind: kind.name().to_owned(),
        namespace: object.meta.namespace.to_string(),
        name: object.meta.name.clone(),
        file: object.origin.file.to_string(),
        line: if line == 0 { object.origin.line } else { line },
    }
}

/// The mark of a rule that was made from an object as a whole.
pub(crate) fn object_origin<T>(kind: Kind, object: &Object<T>) -> RuleOrigin {
    rule_origin(kind, object, object.origin.line)
}
