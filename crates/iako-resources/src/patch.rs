//! Changes of text that mend a problem and nothing else: comments and layout stay.
//!
//! A [`Patch`] names fields by their paths, so that whoever finds a problem needs no places in a
//! text. [`text_edits`] looks the fields up in the text as it is now and says which characters to
//! replace; a patch whose fields are gone, or written in a way that no small change can mend, gives
//! none. [`locate`] uses the same look-up to sharpen the place of a finding.

mod apply;
mod layout;
mod path;

pub use apply::{TextEdit, apply_edits, locate, text_edits};

/// A change that mends a problem. It must be safe: what it writes is what the user meant, beyond
/// doubt, and nothing else changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// What it does, as an imperative without a full stop: the title of the action in an editor.
    pub title: String,
    /// The changes, of one object; all of them are made or none.
    pub edits: Vec<Edit>,
}

/// One change of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The field, from the root of the object, such as `spec.http[0].route[1].weight`.
    pub path: String,
    /// What happens to it.
    pub change: Change,
}

/// What happens to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The value becomes this text; it is quoted where YAML would read something else.
    SetText(String),
    /// The value becomes these characters as they are: a number, `true`, `false` or `null`.
    SetPlain(String),
    /// The value, as it is written, gets quotes.
    Quote,
    /// The key gets this name; its value stays.
    Rename(String),
    /// The pair or the element of a list goes.
    Remove,
    /// The mapping at the path gets a pair more, after its last one: key and text.
    Add(String, String),
}

impl Patch {
    /// A patch of one change.
    #[must_use]
    pub fn new(title: impl Into<String>, path: impl Into<String>, change: Change) -> Self {
        Self { title: title.into(), edits: vec![Edit { path: path.into(), change }] }
    }

    /// Writes a text in the place of a value.
    #[must_use]
    pub fn set_text(path: impl Into<String>, text: &str) -> Self {
        Self::new(format!("write {text}"), path, Change::SetText(text.to_owned()))
    }

    /// Gives a key its right name.
    #[must_use]
    pub fn rename(path: impl Into<String>, name: &str) -> Self {
        Self::new(format!("rename to {name}"), path, Change::Rename(name.to_owned()))
    }

    /// Removes a pair or an element.
    #[must_use]
    pub fn remove(path: impl Into<String>) -> Self {
        let path = path.into();
        Self::new(format!("remove {path}"), path, Change::Remove)
    }

    /// The same, with one change more.
    #[must_use]
    pub fn and(mut self, path: impl Into<String>, change: Change) -> Self {
        self.edits.push(Edit { path: path.into(), change });
        self
    }
}

#[cfg(test)]
mod tests;
