//! The fields of a head: one shared buffer and an index of names and values.

use bytes::{BufMut, Bytes, BytesMut};

use crate::field::{Field, NameRef, Sensitivity};
use crate::known::{Known, KnownSet};
use crate::scan::{Entries, Entry, Span, Travels, keep_entries, narrow, push_entry};

/// The fields of a head or of trailers, in the order in which they came.
///
/// All names and values are places in one shared buffer; nothing is copied out of it.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(crate) bytes: Bytes,
    /// The same bytes before names were lower-cased, where names keep their case.
    pub(crate) original: Option<Bytes>,
    pub(crate) present: KnownSet,
    pub(crate) entries: Entries,
}

impl Drop for Fields {
    fn drop(&mut self) {
        keep_entries(&mut self.entries);
    }
}

impl Fields {
    /// The fields that travel on: hop-by-hop fields, those that `Connection` nominates and `te` other
    /// than `trailers` are left out (RFC 9110 §7.6.1).
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.entries.iter().filter(|entry| entry.is_forwarded()).map(|entry| self.field(entry))
    }

    /// Every field of the message, those of the connection too.
    pub fn iter_all(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.entries.iter().map(|entry| self.field(entry))
    }

    /// Every value of a name, in order.
    pub fn values<'a>(
        &'a self,
        name: impl Into<NameRef<'a>>,
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        let name = name.into();
        let entries: &[Entry] = if self.may_contain(name) { &self.entries } else { &[] };
        entries
            .iter()
            .filter(move |entry| self.has_name(entry, name))
            .map(|entry| entry.value_span().of(&self.bytes))
    }

    /// Like [`values`](Self::values), without fields that `Connection` nominates: they end here, so
    /// nobody may decide by them what the next hop will not see.
    pub(crate) fn lasting_values<'a, 'n>(
        &'a self,
        name: NameRef<'n>,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.entries_of(name)
            .iter()
            .filter(|entry| entry.is_forwarded() || entry.known.is_some_and(Known::is_hop_by_hop))
            .filter(move |entry| self.has_name(entry, name))
            .map(|entry| entry.value_span().of(&self.bytes))
    }

    fn entries_of(&self, name: NameRef<'_>) -> &[Entry] {
        if self.may_contain(name) { &self.entries } else { &[] }
    }

    /// Like [`values`](Self::values), for a name that lives shorter than the fields.
    fn values_of<'a, 'n>(
        &'a self,
        name: NameRef<'n>,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.entries_of(name)
            .iter()
            .filter(move |entry| self.has_name(entry, name))
            .map(|entry| entry.value_span().of(&self.bytes))
    }

    /// The first value of a name.
    #[must_use]
    pub fn get<'n>(&self, name: impl Into<NameRef<'n>>) -> Option<&[u8]> {
        self.values_of(name.into()).next()
    }

    /// The first value of a name as text; `None` also when it is not UTF-8.
    #[must_use]
    pub fn text<'n>(&self, name: impl Into<NameRef<'n>>) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The first value of a name, sharing the head's buffer.
    #[must_use]
    pub fn shared<'n>(&self, name: impl Into<NameRef<'n>>) -> Option<Bytes> {
        let name = name.into();
        let entry = self.entries.iter().find(|entry| self.has_name(entry, name))?;
        Some(self.bytes.slice(entry.value_span().range()))
    }

    /// A value that was read from these fields, sharing their buffer; `None` for any other bytes.
    #[must_use]
    pub fn share(&self, value: &[u8]) -> Option<Bytes> {
        let start = (value.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let end = start.checked_add(value.len())?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }

    /// Whether a field of that name is there.
    #[must_use]
    pub fn contains<'n>(&self, name: impl Into<NameRef<'n>>) -> bool {
        self.get(name).is_some()
    }

    /// Whether one of the comma-separated members of a field's values is `token`, in any case.
    #[must_use]
    pub fn has_token(&self, name: Known, token: &str) -> bool {
        self.values(name)
            .flat_map(list_members)
            .any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether a field of any of these names is there.
    #[must_use]
    pub fn contains_any(&self, names: KnownSet) -> bool {
        self.present.intersects(names)
    }

    /// A name in the letters in which it came, where those are kept; else in lower case.
    pub(crate) fn letters_of(&self, known: Known) -> &[u8] {
        let original = self.original.as_deref();
        original
            .and_then(|bytes| {
                let entry = self.entries.iter().find(|entry| entry.known == Some(known))?;
                Some(entry.name_span().of(bytes))
            })
            .unwrap_or(known.as_str().as_bytes())
    }

    /// About how many bytes these fields take as lines: names of HTTP/2 may be numbers here.
    pub(crate) fn written_bytes(&self) -> usize {
        self.bytes.len() + 24 * self.entries.len()
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn may_contain(&self, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => self.present.contains(known),
            NameRef::Other(_) => true,
        }
    }

    fn has_name(&self, entry: &Entry, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => entry.known == Some(known),
            NameRef::Other(other) => {
                entry.known.is_none() && entry.name_span().of(&self.bytes) == other
            }
        }
    }

    fn field(&self, entry: &Entry) -> Field<'_> {
        // A name that the mesh knows is not in the buffer when it came over HTTP/2.
        let name = match entry.known {
            Some(known) => known.as_str().as_bytes(),
            None => entry.name_span().of(&self.bytes),
        };
        Field {
            known: entry.known,
            name,
            original_name: self
                .original
                .as_deref()
                .map_or(name, |bytes| entry.name_span().of(bytes)),
            value: entry.value_span().of(&self.bytes),
            sensitivity: match entry.travels {
                Travels::Unindexed => Sensitivity::Sensitive,
                Travels::On | Travels::EndsHere => Sensitivity::Plain,
            },
        }
    }
}

/// Members of a comma-separated list, without blanks and without empty ones.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Collects fields that did not come as HTTP/1.1 text: an HTTP/2 stream, a response of our own.
#[derive(Debug, Default)]
pub struct FieldsBuilder {
    buffer: BytesMut,
    present: KnownSet,
    entries: Entries,
}

impl FieldsBuilder {
    /// An empty collection with room for `bytes` bytes of names and values.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// Adds a field. The name must be a lower-case token and the value without control characters,
    /// which an HTTP/2 decoder has already checked; fields of the connection are left out.
    pub fn push<'a>(&mut self, name: impl Into<NameRef<'a>>, value: &[u8]) {
        let (known, text) = match name.into() {
            NameRef::Known(known) => (Some(known), known.as_str().as_bytes()),
            NameRef::Other(text) => (None, text),
        };
        if text.len() > usize::from(u16::MAX) {
            return;
        }
        if known.is_some_and(Known::is_hop_by_hop) {
            return;
        }
        if let Some(known) = known {
            self.present.insert(known);
        }
        // A known name is a number; only others are copied.
        let name = if known.is_some() { Span::default() } else { self.append(text) };
        let value = self.append(value);
        let entry = Entry {
            name: name.start,
            value: value.start,
            value_len: value.len,
            name_len: u16::try_from(name.len).unwrap_or_default(),
            known,
            travels: Travels::On,
        };
        push_entry(&mut self.entries, entry);
    }

    /// Ends the collection.
    #[must_use]
    pub fn build(self) -> Fields {
        Fields {
            bytes: self.buffer.freeze(),
            original: None,
            present: self.present,
            entries: self.entries,
        }
    }

    pub(super) fn append(&mut self, text: &[u8]) -> Span {
        let start = self.buffer.len();
        self.buffer.put_slice(text);
        Span { start: narrow(start), len: narrow(text.len()) }
    }
}
