//! The dynamic table (RFC 7541 §2.3.2, §4): a queue of fields in one byte buffer.

use std::collections::VecDeque;

use super::{Token, ValueKind};

/// What each entry counts beside its octets (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// One field of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Place among all octets that ever were in the table.
    start: u64,
    name_len: u32,
    value_len: u32,
    pub(super) token: Token,
    pub(super) kind: ValueKind,
    /// For the encoder: how its index finds the entry.
    pub(super) hash: u32,
}

/// A field to be put into the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry<'a> {
    pub(super) token: Token,
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) kind: ValueKind,
    pub(super) hash: u32,
}

/// What an entry counts (RFC 7541 §4.1).
pub(super) fn entry_size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + ENTRY_OVERHEAD
}

/// A field in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) entry: &'a Entry,
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Fields, the newest last, with their names and values one behind the other in one buffer.
///
/// Eviction moves a mark; what lies before the mark is given up when the buffer is full, at the latest
/// when half of it is dead, so that an insertion costs a constant on average.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// Octets that have left the front of `bytes`.
    dropped: u64,
    entries: VecDeque<Entry>,
    size: usize,
    size_max: usize,
}

impl Table {
    pub(super) fn new(size_max: usize) -> Self {
        Self { bytes: Vec::new(), dropped: 0, entries: VecDeque::new(), size: 0, size_max }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    /// Changes the bound and evicts what no longer fits (RFC 7541 §4.3).
    pub(super) fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict_to(size_max);
    }

    /// The field that came so many insertions before the newest.
    pub(super) fn get(&self, age: usize) -> Option<Found<'_>> {
        let place = self.entries.len().checked_sub(age + 1)?;
        let entry = self.entries.get(place)?;
        let start = usize::try_from(entry.start - self.dropped).ok()?;
        let (name_len, value_len) = (entry.name_len as usize, entry.value_len as usize);
        let text = self.bytes.get(start..start + name_len + value_len)?;
        let (name, value) = text.split_at_checked(name_len)?;
        Some(Found { entry, name, value })
    }

    /// Adds a field in front of all others. One that is larger than the whole table empties it, which
    /// is no error (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, new: NewEntry<'_>) {
        let size = entry_size(new.name, new.value);
        self.evict_to(self.size_max.saturating_sub(size));
        let lengths = (u32::try_from(new.name.len()), u32::try_from(new.value.len()));
        let (true, (Ok(name_len), Ok(value_len))) = (size <= self.size_max, lengths) else {
            return;
        };
        self.make_room(new.name.len() + new.value.len());
        self.entries.push_back(Entry {
            start: self.dropped + self.bytes.len() as u64,
            name_len,
            value_len,
            token: new.token,
            kind: new.kind,
            hash: new.hash,
        });
        self.bytes.extend_from_slice(new.name);
        self.bytes.extend_from_slice(new.value);
        self.size += size;
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.name_len as usize + entry.value_len as usize + ENTRY_OVERHEAD;
        }
        if self.entries.is_empty() {
            self.dropped += self.bytes.len() as u64;
            self.bytes.clear();
        }
    }

    /// Makes the buffer hold so many octets more.
    fn make_room(&mut self, more: usize) {
        if self.bytes.len() + more <= self.bytes.capacity() {
            return;
        }
        let first = self.entries.front().map_or(0, |entry| entry.start - self.dropped);
        let dead = usize::try_from(first).unwrap_or_default().min(self.bytes.len());
        self.bytes.drain(..dead);
        self.dropped += dead as u64;
        let needed = self.bytes.len() + more;
        // Room for as much again, so that the next move is far away.
        if needed * 2 > self.bytes.capacity() {
            self.bytes.reserve_exact(needed * 2 - self.bytes.len());
        }
    }
}
