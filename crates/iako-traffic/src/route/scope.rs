//! Which of several route tables a request is matched against.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use iako_proxy_config::{Scope, ScopeElement, ScopeFragment};

use crate::{RequestHead, matching::header_texts};

/// Scopes by their keys.
#[derive(Debug, Default)]
pub struct ScopeIndex {
    fragments: Vec<ScopeFragment>,
    scopes: HashMap<String, Arc<Scope>, foldhash::fast::RandomState>,
}

impl ScopeIndex {
    /// Compiles scopes; of two with one key the first counts.
    pub fn compile(
        fragments: &[ScopeFragment],
        scopes: impl IntoIterator<Item = Arc<Scope>>,
    ) -> Self {
        let mut index = Self { fragments: fragments.to_vec(), ..Self::default() };
        for scope in scopes {
            let mut key = String::new();
            scope.key.iter().for_each(|part| push(&mut key, part));
            index.scopes.entry(key).or_insert(scope);
        }
        index
    }

    /// The scope that takes a request; none when a part of the key cannot be made of it, or no scope
    /// has the key.
    #[must_use]
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Arc<Scope>> {
        let mut key = String::new();
        for fragment in &self.fragments {
            push(&mut key, &part(fragment, head)?);
        }
        self.scopes.get(&key)
    }

    /// All scopes, in no order.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.scopes.values()
    }
}

/// Adds a part with its length, so that two keys are the same only when their parts are.
fn push(key: &mut String, part: &str) {
    key.push_str(&part.len().to_string());
    key.push(':');
    key.push_str(part);
}

/// The part of a request's key that a fragment asks for, of the header's first value.
fn part<'h>(fragment: &ScopeFragment, head: &RequestHead<'h>) -> Option<Cow<'h, str>> {
    let value = header_texts(head, fragment.header.as_str()).next()?;
    let element = |text: &str| {
        let whole = [text];
        let mut elements: Box<dyn Iterator<Item = &str>> = if fragment.separator.is_empty() {
            Box::new(whole.into_iter())
        } else {
            Box::new(text.split(fragment.separator.as_str()))
        };
        match &fragment.element {
            ScopeElement::Index(index) => {
                elements.nth(usize::try_from(*index).ok()?).map(str::to_owned)
            }
            ScopeElement::Value { separator, key } => elements.find_map(|element| {
                let (own, value) = element.split_once(separator.as_str()).unwrap_or((element, ""));
                (own == key).then(|| value.to_owned())
            }),
        }
    };
    element(&value).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::ScopeTable;

    use super::*;
    use crate::HeaderList;

    fn fragment(header: &str, separator: &str, element: ScopeElement) -> ScopeFragment {
        ScopeFragment { header: header.parse().unwrap(), separator: separator.to_owned(), element }
    }

    #[test]
    fn a_key_is_made_of_parts_of_headers() {
        let value = ScopeElement::Value { separator: "=".to_owned(), key: "v".to_owned() };
        let fragments = [fragment("x-a", ",", ScopeElement::Index(1)), fragment("x-b", ";", value)];
        let scope = |name: &str, key: [&str; 2]| {
            Arc::new(Scope {
                name: name.to_owned(),
                key: key.map(str::to_owned).into(),
                routes: ScopeTable::Rds(name.to_owned()),
                on_demand: false,
            })
        };
        let scopes = [scope("one", ["b", "2"]), scope("two", ["b2", ""])];
        let index = ScopeIndex::compile(&fragments, scopes);
        let found = |headers: &[(&str, &str)]| {
            let headers: HeaderList = headers.iter().copied().collect();
            let head = RequestHead {
                method: "GET",
                scheme: "http",
                authority: "a",
                path_and_query: "/",
                headers: &headers,
            };
            index.find(&head).map(|scope| scope.name.clone())
        };
        assert_eq!(found(&[("x-a", "a,b"), ("x-b", "u=1;v=2")]).as_deref(), Some("one"));
        assert_eq!(found(&[("x-a", "a,b2"), ("x-b", "v")]).as_deref(), Some("two"));
        assert_eq!(found(&[("x-a", "a"), ("x-b", "v=2")]), None);
        assert_eq!(found(&[("x-a", "a,b")]), None);
        assert_eq!(found(&[("x-a", "a,b"), ("x-b", "v=3")]), None);
    }
}
