//! From fields to blocks (RFC 7541 §6).

use bytes::BytesMut;

use super::policy::{Indexing, indexing};
use super::table::{Found, NewEntry, Table, entry_size};
use super::{Pseudo, Token, ValueKind, huffman, integer, static_table};
use crate::field::{Field, Sensitivity};

/// Writes the blocks of one direction of one connection, in the order in which they are sent.
///
/// A name that is in no table enters it with the first value that it comes with; a whole field when it
/// is seen twice, so that values that never repeat push out nothing. Strings that enter the table are
/// Huffman-coded when that is shorter, which is paid once. Others go as they are: the code saves a fifth
/// of the octets and costs both sides about 4 ns for each together, where a plain octet costs 0.2
/// (measured 2026-11-21), which no network within a site gives back.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// What we want at most, whatever the peer offers.
    own_max: usize,
    /// Smallest and last size since the last block, when the peer has changed it.
    resized: Option<(usize, usize)>,
    /// Number of insertions so far: the number of the newest entry.
    inserted: u32,
    index: Option<Box<Index>>,
}

/// Numbers found by hash, in buckets of four with the newest in front. A full bucket forgets its oldest,
/// which costs a literal and nothing else, so nobody gains by provoking it.
#[derive(Debug)]
struct Buckets<const N: usize>([[u32; 4]; N]);

impl<const N: usize> Buckets<N> {
    fn of(&self, hash: u32) -> [u32; 4] {
        self.0.get(hash as usize % N).copied().unwrap_or_default()
    }

    fn put(&mut self, hash: u32, number: u32) {
        if let Some([newest, second, third, oldest]) = self.0.get_mut(hash as usize % N) {
            (*newest, *second, *third, *oldest) = (number, *newest, *second, *third);
        }
    }
}

/// Names with a number: the known ones, and behind them the pseudo-header fields.
const NUMBERED: usize = 128 + 6;

fn number_of(token: Token) -> Option<usize> {
    match token {
        Token::Known(known) => Some(known as usize),
        Token::Pseudo(pseudo) => Some(128 + pseudo as usize),
        Token::Other
        | Token::Underscored
        | Token::UpperCase
        | Token::UnknownPseudo
        | Token::Invalid => None,
    }
}

/// What the encoder remembers of its table and of what it has seen.
#[derive(Debug)]
struct Index {
    /// Numbers of insertions by the hash of name and value.
    fields: Buckets<64>,
    /// For each name with a number, its newest insertion. Most fields are what they were last time, which
    /// one comparison finds without a hash.
    newest: [u32; NUMBERED],
    /// Numbers of insertions of other names by the hash of the name.
    names: Buckets<32>,
    /// Hashes of fields that were seen once.
    seen: Buckets<32>,
}

impl Index {
    fn new() -> Box<Self> {
        Box::new(Self {
            fields: Buckets([[0; 4]; 64]),
            newest: [0; NUMBERED],
            names: Buckets([[0; 4]; 32]),
            seen: Buckets([[0; 4]; 32]),
        })
    }

    /// Whether the field was seen before; it is from now on.
    fn see(&mut self, hash: u32) -> bool {
        let seen = self.seen.of(hash).contains(&hash);
        if !seen {
            self.seen.put(hash, hash);
        }
        seen
    }
}

/// A field to be written.
#[derive(Clone, Copy)]
struct Text<'a> {
    token: Token,
    name: &'a [u8],
    value: &'a [u8],
}

/// How a literal is written (RFC 7541 §6.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Incremental,
    WithoutIndexing,
    NeverIndexed,
}

impl Encoder {
    /// An encoder whose table holds at most so many bytes, and no more than the peer allows. Until its
    /// settings come, that is [`super::TABLE_BYTES_DEFAULT`].
    #[must_use]
    pub fn new(table_bytes_max: usize) -> Self {
        let size = table_bytes_max.min(super::TABLE_BYTES_DEFAULT);
        // A table that starts below the default has to be announced.
        let resized = (size < super::TABLE_BYTES_DEFAULT).then_some((size, size));
        Self {
            table: Table::new(size),
            own_max: table_bytes_max,
            resized,
            inserted: 0,
            index: None,
        }
    }

    /// Tells the peer's `SETTINGS_HEADER_TABLE_SIZE`. The next block begins with the change.
    pub fn set_table_bytes_max(&mut self, peer_max: usize) {
        let size = peer_max.min(self.own_max);
        if size == self.table.size_max() && self.resized.is_none() {
            return;
        }
        let least = self.resized.map_or(size, |(least, _)| least.min(size));
        self.resized = Some((least, size));
        self.table.set_size_max(size);
    }

    /// Bytes that the table's entries count now (RFC 7541 §4.1).
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table.size()
    }

    /// Appends a pseudo-header field.
    pub fn pseudo(&mut self, pseudo: Pseudo, value: &[u8], out: &mut BytesMut) {
        let text = Text { token: Token::Pseudo(pseudo), name: pseudo.as_str().as_bytes(), value };
        self.put(text, Sensitivity::Plain, out);
    }

    /// Appends a field whose name is in lower case.
    pub fn field(&mut self, field: &Field<'_>, out: &mut BytesMut) {
        let token = field.known.map_or(Token::Other, Token::Known);
        let text = Text { token, name: field.name, value: field.value };
        self.put(text, field.sensitivity, out);
    }

    fn put(&mut self, text: Text<'_>, sensitivity: Sensitivity, out: &mut BytesMut) {
        if let Some(resized) = self.resized.take() {
            put_size_updates(resized, out);
        }
        out.reserve(text.name.len() + text.value.len() + 16);
        let indexing = indexing(text.token, text.value, sensitivity);
        if indexing == Indexing::Never {
            let name_index = static_table::index_of_name(text.token, text.name)
                .or_else(|| self.newest_of_name(&text).map(|(index, _)| index));
            return put_literal(Literal::NeverIndexed, name_index, &text, out);
        }
        // What was last said of a name is what is said again of most; of pseudo-header fields rarely.
        let is_pseudo = matches!(text.token, Token::Pseudo(_));
        if is_pseudo && let Some(index) = static_table::index_of_field(text.token, text.value) {
            return integer::put(index, 7, 0x80, out);
        }
        let newest = self.newest_of_name(&text);
        if let Some((index, found)) = newest
            && indexing == Indexing::Repeated
            && found.value == text.value
        {
            return integer::put(index, 7, 0x80, out);
        }
        if !is_pseudo && let Some(index) = static_table::index_of_field(text.token, text.value) {
            return integer::put(index, 7, 0x80, out);
        }
        let name_index = static_table::index_of_name(text.token, text.name)
            .or_else(|| newest.map(|(index, _)| index));
        let mut hash = 0;
        let mut enters = false;
        // One field must not push out most of the others.
        if entry_size(text.name, text.value) <= self.table.size_max() / 4 {
            if indexing == Indexing::Repeated {
                hash = hash_of(name_hash(text.token, text.name), text.value);
                if let Some(index) = self.dynamic_field(&text, hash) {
                    return integer::put(index, 7, 0x80, out);
                }
                enters = self.index().see(hash);
            }
            enters |= name_index.is_none();
        }
        let literal = if enters { Literal::Incremental } else { Literal::WithoutIndexing };
        put_literal(literal, name_index, &text, out);
        if enters {
            self.insert(&text, hash);
        }
    }

    fn insert(&mut self, text: &Text<'_>, hash: u32) {
        self.table.insert(NewEntry {
            token: text.token,
            name: text.name,
            value: text.value,
            kind: ValueKind::Clean,
            hash,
        });
        self.inserted = self.inserted.wrapping_add(1);
        let inserted = self.inserted;
        let index = self.index();
        index.fields.put(hash, inserted);
        match number_of(text.token).and_then(|number| index.newest.get_mut(number)) {
            Some(newest) => *newest = inserted,
            None => index.names.put(name_hash(text.token, text.name), inserted),
        }
    }

    fn index(&mut self) -> &mut Index {
        self.index.get_or_insert_with(Index::new)
    }

    /// The index of the entry that equals the field.
    fn dynamic_field(&self, text: &Text<'_>, hash: u32) -> Option<usize> {
        let numbers = self.index.as_ref()?.fields.of(hash);
        numbers.into_iter().find_map(|number| {
            let (index, found) = self.entry(number)?;
            let equal = found.entry.hash == hash
                && found.entry.token == text.token
                && found.value == text.value
                && (text.token != Token::Other || found.name == text.name);
            equal.then_some(index)
        })
    }

    /// The newest entry with that name, and its index.
    fn newest_of_name(&self, text: &Text<'_>) -> Option<(usize, Found<'_>)> {
        let remembered = self.index.as_ref()?;
        if let Some(number) = number_of(text.token) {
            return self.entry(*remembered.newest.get(number)?);
        }
        let numbers = remembered.names.of(name_hash(text.token, text.name));
        numbers.into_iter().find_map(|number| {
            let (index, found) = self.entry(number)?;
            let equal = number_of(found.entry.token).is_none() && found.name == text.name;
            equal.then_some((index, found))
        })
    }

    /// The entry of an insertion, unless it has left the table.
    fn entry(&self, number: u32) -> Option<(usize, Found<'_>)> {
        if number == 0 {
            return None;
        }
        let age = self.inserted.wrapping_sub(number) as usize;
        Some((static_table::ROWS + 1 + age, self.table.get(age)?))
    }
}

/// RFC 7541 §4.2: the smallest size in between, then the last.
fn put_size_updates((least, last): (usize, usize), out: &mut BytesMut) {
    if least < last {
        integer::put(least, 5, 0x20, out);
    }
    integer::put(last, 5, 0x20, out);
}

fn put_literal(literal: Literal, name_index: Option<usize>, text: &Text<'_>, out: &mut BytesMut) {
    let (flags, prefix_bits) = match literal {
        Literal::Incremental => (0x40, 6),
        Literal::WithoutIndexing => (0x00, 4),
        Literal::NeverIndexed => (0x10, 4),
    };
    integer::put(name_index.unwrap_or_default(), prefix_bits, flags, out);
    if name_index.is_none() {
        put_string(literal, text.name, out);
    }
    put_string(literal, text.value, out);
}

fn put_string(literal: Literal, text: &[u8], out: &mut BytesMut) {
    if literal == Literal::Incremental {
        let len = huffman::encoded_len(text);
        if len < text.len() {
            integer::put(len, 7, 0x80, out);
            return huffman::encode(text, out);
        }
    }
    integer::put(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn name_hash(token: Token, name: &[u8]) -> u32 {
    match token {
        Token::Known(known) => mix(known as u64 + 1),
        Token::Pseudo(pseudo) => mix(pseudo as u64 + 1000),
        Token::Other
        | Token::Underscored
        | Token::UpperCase
        | Token::UnknownPseudo
        | Token::Invalid => hash_of(0, name),
    }
}

/// A hash of a text; never 0, which stands for an empty slot.
fn hash_of(seed: u32, text: &[u8]) -> u32 {
    let mut state = u64::from(seed) ^ (text.len() as u64) << 32;
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word));
    }
    let mut last = 0;
    for byte in rest {
        last = last << 8 | u64::from(*byte);
    }
    mix(fold(state ^ last))
}

fn fold(state: u64) -> u64 {
    let product = u128::from(state ^ MIX) * u128::from(MIX);
    let low = u64::try_from(product & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(product >> 64).unwrap_or_default();
    low ^ high
}

fn mix(state: u64) -> u32 {
    u32::try_from(fold(state) >> 32).unwrap_or_default() | 1 << 31
}
