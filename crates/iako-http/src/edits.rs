//! Changes to a head, kept as a list and applied while it is written; the head itself never changes.

use smallvec::SmallVec;

use crate::field::{Field, FieldName, FieldValue, NameRef, Sensitivity};
use crate::head::{Fields, RequestHead, ResponseHead, Scheme};
use crate::known::{Known, KnownSet};
use crate::method::Method;
use crate::spare::{self, Spares};

/// Changes to fields, each as if made after the ones before it.
///
/// `host`, `content-length` and fields of the connection are not written from here: the first is
/// [`RequestEdits::authority`], the rest is decided by who writes the message.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    removed: KnownSet,
    removed_others: SmallVec<[FieldName; 2]>,
    added: Vec<Addition>,
    /// Known names among the added ones; most questions end here.
    added_known: KnownSet,
}

#[derive(Clone, Debug)]
struct Addition {
    name: FieldName,
    value: FieldValue,
    /// Whether it counts only when the head has no field of that name.
    if_absent: bool,
}

/// A proxy adds about ten fields; growing to that by doubling would move them thrice.
const ADDED_USUAL: usize = 12;

thread_local! {
    static SPARES: Spares<Addition> = const { Spares::new(Vec::new()) };
}

impl Drop for HeaderEdits {
    fn drop(&mut self) {
        if self.added.capacity() > 0 {
            let added = std::mem::take(&mut self.added);
            // A thread that ends keeps nothing.
            let _ended = SPARES.try_with(|spares| spare::keep(spares, added, ADDED_USUAL));
        }
    }
}

impl HeaderEdits {
    /// Replaces all fields of that name by one.
    pub fn set(&mut self, name: impl Into<FieldName>, value: FieldValue) {
        let name = name.into();
        self.remove(name.clone());
        self.push(Addition { name, value, if_absent: false });
    }

    /// Adds a field beside those of the same name.
    pub fn append(&mut self, name: impl Into<FieldName>, value: FieldValue) {
        self.push(Addition { name: name.into(), value, if_absent: false });
    }

    /// Adds a field to those of the same name; where fields of that name are `joined`, its value goes
    /// behind a comma after what is there.
    pub fn add(
        &mut self,
        fields: &Fields,
        name: impl Into<FieldName>,
        value: FieldValue,
        joined: KnownSet,
    ) {
        let name = name.into();
        let joins = matches!(name, FieldName::Known(known) if joined.contains(known));
        let before: Vec<&[u8]> =
            if joins { self.values(fields, &name).collect() } else { Vec::new() };
        if before.is_empty() {
            return self.append(name, value);
        }
        let mut whole = before.join(b",".as_slice());
        whole.push(b',');
        whole.extend_from_slice(value.as_bytes());
        self.set(name, FieldValue::sanitized(whole));
    }

    /// Adds a field unless one of that name is there.
    pub fn add_if_absent(&mut self, name: impl Into<FieldName>, value: FieldValue) {
        let name = name.into();
        if self.may_add(NameRef::from(&name))
            && self.added.iter().any(|addition| addition.name == name)
        {
            return;
        }
        let if_absent = !self.removes(NameRef::from(&name));
        self.push(Addition { name, value, if_absent });
    }

    /// Removes all fields of that name.
    pub fn remove(&mut self, name: impl Into<FieldName>) {
        let name = name.into();
        if self.may_add(NameRef::from(&name)) {
            self.added.retain(|addition| addition.name != name);
        }
        match name {
            FieldName::Known(known) => self.removed.insert(known),
            FieldName::Other(_) if self.removed_others.contains(&name) => {}
            FieldName::Other(_) => self.removed_others.push(name),
        }
    }

    /// Forgets every change and keeps the allocation.
    pub fn clear(&mut self) {
        self.removed = KnownSet::default();
        self.removed_others.clear();
        self.added.clear();
        self.added_known = KnownSet::default();
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed == KnownSet::default()
            && self.removed_others.is_empty()
    }

    /// Every value of a name after the changes.
    pub fn values<'a>(
        &'a self,
        fields: &'a Fields,
        name: impl Into<NameRef<'a>>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let name = name.into();
        let kept = (!self.removes(name)).then(|| fields.values(name));
        let absent = kept.is_none() || fields.get(name).is_none();
        let added = self
            .added
            .iter()
            .filter(move |addition| {
                NameRef::from(&addition.name) == name && (absent || !addition.if_absent)
            })
            .map(|addition| addition.value.as_bytes().as_ref());
        kept.into_iter().flatten().chain(added)
    }

    /// The first value of a name after the changes.
    #[must_use]
    pub fn get<'a, 'n>(
        &'a self,
        fields: &'a Fields,
        name: impl Into<NameRef<'n>>,
    ) -> Option<&'a [u8]> {
        self.nth(fields, name.into(), 0)
    }

    /// The `nth` value of a name, from 0, after the changes. Fields that `Connection` nominates are not
    /// among them.
    #[must_use]
    pub fn nth<'a>(
        &'a self,
        fields: &'a Fields,
        name: NameRef<'_>,
        nth: usize,
    ) -> Option<&'a [u8]> {
        let removed = self.removes(name);
        let mut left = nth;
        let mut found_any = false;
        if !removed {
            for value in fields.lasting_values(name) {
                found_any = true;
                match left.checked_sub(1) {
                    Some(rest) => left = rest,
                    None => return Some(value),
                }
            }
        }
        if !self.may_add(name) {
            return None;
        }
        let mut added = self.added.iter().filter(|addition| {
            NameRef::from(&addition.name) == name && !(found_any && addition.if_absent)
        });
        added.nth(left).map(|addition| addition.value.as_bytes().as_ref())
    }

    /// Bytes that the added fields take as lines.
    pub(crate) fn added_bytes(&self) -> usize {
        let line = |one: &Addition| one.name.as_bytes().len() + one.value.as_bytes().len() + 4;
        self.added.iter().map(line).sum()
    }

    /// Whether a field of that name may be among the added ones.
    fn may_add(&self, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => self.added_known.contains(known),
            NameRef::Other(_) => !self.added.is_empty(),
        }
    }

    fn push(&mut self, addition: Addition) {
        if let FieldName::Known(known) = addition.name {
            self.added_known.insert(known);
        }
        if self.added.capacity() == 0 {
            self.added = SPARES.with(|spares| spare::take(spares, ADDED_USUAL));
        }
        self.added.push(addition);
    }

    fn removes(&self, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => self.removed.contains(known),
            NameRef::Other(other) => {
                self.removed_others.iter().any(|removed| removed.as_bytes() == other)
            }
        }
    }
}

/// The fields that travel on, after the changes: what an HTTP/2 writer sends, and an HTTP/1.1 writer
/// apart from framing.
pub fn edited_fields<'a>(
    fields: &'a Fields,
    edits: &'a HeaderEdits,
) -> impl Iterator<Item = Field<'a>> {
    let kept = fields.iter().filter(move |field| match field.known {
        Some(known) => !edits.removed.contains(known),
        None => edits.removed_others.is_empty() || !edits.removes(NameRef::Other(field.name)),
    });
    let added = edits.added.iter().filter_map(move |addition| {
        let name = NameRef::from(&addition.name);
        if addition.if_absent && fields.contains(name) {
            return None;
        }
        let known = match name {
            NameRef::Known(known) if known.is_hop_by_hop() => return None,
            NameRef::Known(known) => Some(known),
            NameRef::Other(_) => None,
        };
        let text = addition.name.as_bytes();
        Some(Field {
            known,
            name: text,
            original_name: text,
            value: addition.value.as_bytes(),
            sensitivity: Sensitivity::Plain,
        })
    });
    kept.chain(added)
}

/// Changes to a request.
#[derive(Clone, Debug, Default)]
pub struct RequestEdits {
    /// Another method.
    pub method: Option<Method>,
    /// Another scheme.
    pub scheme: Option<Scheme>,
    /// Another authority; must be made of characters of an authority.
    pub authority: Option<Box<str>>,
    /// Another path and query; must be free of blanks and control characters.
    pub path: Option<Box<str>>,
    /// Changes to the fields.
    pub fields: HeaderEdits,
}

impl RequestEdits {
    /// Forgets every change and keeps the allocations.
    pub fn clear(&mut self) {
        self.method = None;
        self.scheme = None;
        self.authority = None;
        self.path = None;
        self.fields.clear();
    }

    /// The method after the changes.
    #[must_use]
    pub fn method<'a>(&'a self, head: &'a RequestHead) -> &'a Method {
        self.method.as_ref().unwrap_or(&head.method)
    }

    /// The authority after the changes.
    #[must_use]
    pub fn authority<'a>(&'a self, head: &'a RequestHead) -> &'a str {
        self.authority.as_deref().unwrap_or_else(|| head.authority())
    }

    /// Path and query after the changes.
    #[must_use]
    pub fn path<'a>(&'a self, head: &'a RequestHead) -> &'a str {
        self.path.as_deref().unwrap_or_else(|| head.path())
    }

    /// The scheme after the changes.
    #[must_use]
    pub fn scheme(&self, head: &RequestHead) -> Option<Scheme> {
        self.scheme.or(head.scheme)
    }

    /// Every value of a name after the changes.
    pub fn values<'a>(
        &'a self,
        head: &'a RequestHead,
        name: impl Into<NameRef<'a>>,
    ) -> impl Iterator<Item = &'a [u8]> {
        self.fields.values(&head.fields, name)
    }
}

/// Changes to a response.
#[derive(Clone, Debug, Default)]
pub struct ResponseEdits {
    /// Another status.
    pub status: Option<u16>,
    /// Changes to the fields.
    pub fields: HeaderEdits,
}

impl ResponseEdits {
    /// Forgets every change and keeps the allocations.
    pub fn clear(&mut self) {
        self.status = None;
        self.fields.clear();
    }

    /// The status after the changes.
    #[must_use]
    pub fn status(&self, head: &ResponseHead) -> u16 {
        self.status.unwrap_or(head.status)
    }
}

/// Fields that a writer of HTTP/1.1 decides itself.
pub(crate) fn is_written_apart(known: Known) -> bool {
    matches!(known, Known::Host | Known::ContentLength) || known.is_hop_by_hop()
}
