//! Finding lines and fields in a buffer that may end anywhere, in one pass.

use crate::error::ParseError;
use crate::known::Known;
use crate::limits::{Limits, Underscores};
use crate::spare::{self, Spares};

/// For every byte its lower-case letter when it may stand in a name, else 0 (RFC 9110 `tchar`).
const NAME: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte: usize = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
    #[expect(clippy::cast_possible_truncation, reason = "byte counts to 255")]
    while byte < 256 {
        let value = byte as u8;
        table[byte] = match value {
            b'A'..=b'Z' => value + 32,
            b'a'..=b'z'
            | b'0'..=b'9'
            | b'!'
            | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~' => value,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Lower-case form of a byte of a name; 0 when the byte may not stand in one.
pub(crate) fn name_byte(byte: u8) -> u8 {
    NAME.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Whether the bytes are a non-empty RFC 9110 `token`.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| name_byte(*byte) != 0)
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES * 0x80;

const fn repeat(byte: u8) -> u64 {
    ONES * byte as u64
}

/// High bit set in at least one byte exactly when some byte of `word` is zero.
const fn zero_byte(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// First place of `needle`, eight bytes at a step.
pub(crate) fn find(needle: u8, haystack: &[u8]) -> Option<usize> {
    let (words, rest) = haystack.as_chunks::<8>();
    let pattern = repeat(needle);
    let hit = |word: &[u8; 8]| zero_byte(u64::from_le_bytes(*word) ^ pattern);
    for (place, word) in words.iter().enumerate() {
        let hit = hit(word);
        if hit != 0 {
            return Some(place * 8 + (hit.trailing_zeros() / 8) as usize);
        }
    }
    // The last eight bytes reach back into what was searched, where nothing was found.
    if let (Some(last), [_, ..]) = (haystack.last_chunk::<8>(), rest) {
        let hit = hit(last);
        return (hit != 0).then(|| haystack.len() - 8 + (hit.trailing_zeros() / 8) as usize);
    }
    rest.iter().position(|byte| *byte == needle)
}

/// Whether `word` says yes to all bytes, eight at a step, and `byte` to those of a text too short for
/// that.
fn all(bytes: &[u8], word: impl Fn(&[u8; 8]) -> bool, byte: impl Fn(&u8) -> bool) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    match bytes.last_chunk::<8>() {
        // The last step reaches back into what was looked at.
        Some(last) => words.iter().all(&word) && (rest.is_empty() || word(last)),
        None => rest.iter().all(byte),
    }
}

/// Whether every byte may stand in a field value: visible characters, space, tab, and bytes from 128.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    let allowed = |byte: &u8| (*byte >= 0x20 && *byte != 0x7f) || *byte == b'\t';
    let word = |word: &[u8; 8]| {
        let value = u64::from_le_bytes(*word);
        let control = value.wrapping_sub(repeat(0x20)) & !value & HIGHS;
        (control | zero_byte(value ^ repeat(0x7f))) == 0 || word.iter().all(allowed)
    };
    all(bytes, word, allowed)
}

/// Whether no byte is a blank or a control character.
pub(crate) fn is_visible(bytes: &[u8]) -> bool {
    let word = |word: &[u8; 8]| {
        let value = u64::from_le_bytes(*word);
        let low = value.wrapping_sub(repeat(0x21)) & !value & HIGHS;
        (low | zero_byte(value ^ repeat(0x7f))) == 0
    };
    all(bytes, word, |byte| *byte > 0x20 && *byte != 0x7f)
}

/// Without spaces and tabs at both ends, as places within `bytes`.
pub(crate) fn trim(bytes: &[u8]) -> (usize, usize) {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    (start, end)
}

/// A place in the buffer of a head. Heads are bounded far below 4 GiB, so 32 bits are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) fn new(start: usize, len: usize) -> Self {
        Self { start: narrow(start), len: narrow(len) }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or_default()
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// Places are below [`HEAD_BYTES_CEILING`], so nothing is ever cut off.
pub(crate) fn narrow(place: usize) -> u32 {
    debug_assert!(place <= u32::MAX as usize, "a head is bounded far below 4 GiB");
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// No configuration makes a head longer than this; Envoy's own ceiling is 8 MiB.
pub(crate) const HEAD_BYTES_CEILING: usize = 16 * 1024 * 1024;

/// One field of a head: where its name and value stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: u32,
    pub(crate) value: u32,
    pub(crate) value_len: u32,
    pub(crate) name_len: u16,
    pub(crate) known: Option<Known>,
    pub(crate) travels: Travels,
}

/// How far a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travels {
    /// To the next hop.
    On,
    /// To the next hop, and no compression table may hold it.
    Unindexed,
    /// It belongs to this connection only.
    EndsHere,
}

impl Entry {
    pub(crate) fn is_forwarded(&self) -> bool {
        self.travels != Travels::EndsHere
    }

    pub(crate) fn name_span(&self) -> Span {
        Span { start: self.name, len: u32::from(self.name_len) }
    }

    pub(crate) fn value_span(&self) -> Span {
        Span { start: self.value, len: self.value_len }
    }
}

/// Fields of one head. One allocation for most heads, and a head stays small to move.
pub(crate) type Entries = Vec<Entry>;

/// Fields that most heads have no more of: room for so many is made at once.
const ENTRIES_USUAL: usize = 16;

/// Adds a field.
pub(crate) fn push_entry(entries: &mut Entries, entry: Entry) {
    if entries.capacity() == 0 {
        *entries = SPARES.with(|spares| spare::take(spares, ENTRIES_USUAL));
    }
    entries.push(entry);
}

/// Keeps the room of fields that are not needed any more.
pub(crate) fn keep_entries(entries: &mut Entries) {
    if entries.capacity() > 0 {
        let entries = std::mem::take(entries);
        // A thread that ends keeps nothing.
        let _ended = SPARES.try_with(|spares| spare::keep(spares, entries, ENTRIES_USUAL));
    }
}

thread_local! {
    static SPARES: Spares<Entry> = const { Spares::new(Vec::new()) };
}

/// Which block is read: it decides whether a start line comes first and what an overflow is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Head,
    Trailers,
}

impl Block {
    fn too_large(self) -> ParseError {
        match self {
            Self::Head => ParseError::HeadTooLarge,
            Self::Trailers => ParseError::TrailersTooLarge,
        }
    }

    fn too_many(self) -> ParseError {
        match self {
            Self::Head => ParseError::TooManyFields,
            Self::Trailers => ParseError::TooManyTrailers,
        }
    }
}

/// Reads a start line and fields up to the empty line, however the bytes are cut.
///
/// Places are relative to the start of the buffer, which must not move between calls.
#[derive(Debug)]
pub(crate) struct BlockScanner {
    block: Block,
    /// Start of the line that is being read.
    line: usize,
    /// Bytes before this place hold no line end of the current line, so they are not searched again.
    searched: usize,
    /// The start line without its line end, once read.
    pub(crate) start_line: Option<Span>,
    pub(crate) entries: Entries,
    /// The field before was dropped, so that its continuation lines are too.
    dropping: bool,
}

impl BlockScanner {
    pub(crate) fn new(block: Block) -> Self {
        Self {
            block,
            line: 0,
            searched: 0,
            start_line: None,
            entries: Entries::new(),
            dropping: false,
        }
    }

    /// Whether nothing of the block has been read yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.searched == 0
    }

    /// Reads as far as the bytes go; the length of the whole block once its empty line is there.
    pub(crate) fn scan(
        &mut self,
        bytes: &mut [u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ParseError> {
        let ceiling = limits.head_bytes_max.min(HEAD_BYTES_CEILING);
        loop {
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            let Some(found) = find(b'\n', unsearched) else {
                self.searched = bytes.len();
                return self.within(bytes.len(), ceiling).map(|()| None);
            };
            let end = self.searched + found;
            self.within(end + 1, ceiling)?;
            // A line may end in a bare LF, as with Envoy and RFC 9112 §2.2. A CR anywhere else is
            // refused where the line's content is checked.
            let content = match bytes.get(self.line..end) {
                Some([.., b'\r']) => end - 1,
                // Not where chunks are framed: whoever reads on there sees other messages than we do.
                _ if self.block == Block::Trailers => return Err(ParseError::ChunkEnd),
                _ => end,
            };
            let (start, next) = (self.line, end + 1);
            self.line = next;
            self.searched = next;
            if self.block == Block::Head && self.start_line.is_none() {
                self.start_line = Some(Span::new(start, content - start));
            } else if content == start {
                return Ok(Some(next));
            } else {
                self.field(bytes, start, content, limits)?;
            }
        }
    }

    fn within(&self, len: usize, ceiling: usize) -> Result<(), ParseError> {
        if len > ceiling { Err(self.block.too_large()) } else { Ok(()) }
    }

    fn field(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        end: usize,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        let line = bytes.get_mut(start..end).unwrap_or_default();
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return self.folded(bytes, start, end);
        }
        self.dropping = false;
        // Lower-casing happens in place unless the original letters are kept, see `Fields`.
        let lowers = limits.name_case == crate::NameCase::Lower;
        let mut underscore = false;
        let mut found = None;
        for (place, byte) in line.iter_mut().enumerate() {
            let lower = name_byte(*byte);
            if lower == 0 {
                found = (*byte == b':').then_some(place);
                break;
            }
            underscore |= lower == b'_';
            if lowers {
                *byte = lower;
            }
        }
        let Some(name_len) = found.filter(|len| *len > 0) else {
            let is_cut_by_nul = line.contains(&0);
            return Err(if is_cut_by_nul { ParseError::FieldValue } else { ParseError::FieldName });
        };
        let rest = line.get(name_len + 1..).unwrap_or_default();
        if !is_value(rest) {
            return Err(ParseError::FieldValue);
        }
        if self.entries.len() >= limits.fields_max {
            return Err(self.block.too_many());
        }
        match limits.underscores {
            Underscores::Reject if underscore => return Err(ParseError::Underscore),
            Underscores::Drop if underscore => {
                self.dropping = true;
                return Ok(());
            }
            Underscores::Allow | Underscores::Reject | Underscores::Drop => {}
        }
        let (from, to) = trim(rest);
        let entry = Entry {
            name: narrow(start),
            value: narrow(start + name_len + 1 + from),
            value_len: narrow(to - from),
            name_len: u16::try_from(name_len).or(Err(ParseError::FieldName))?,
            known: None,
            travels: Travels::On,
        };
        push_entry(&mut self.entries, entry);
        Ok(())
    }

    /// Joins a continuation line to the value before it with one space, as Envoy does.
    fn folded(&mut self, bytes: &mut [u8], start: usize, end: usize) -> Result<(), ParseError> {
        if self.dropping {
            return Ok(());
        }
        let Some(entry) = self.entries.last_mut() else { return Err(ParseError::Fold) };
        let line = bytes.get(start..end).unwrap_or_default();
        if !is_value(line) {
            return Err(ParseError::FieldValue);
        }
        let name = entry.name_span().of(bytes).to_ascii_lowercase();
        if matches!(Known::lookup(&name), Some(Known::ContentLength | Known::TransferEncoding)) {
            return Err(ParseError::Fold);
        }
        let (from, to) = trim(line);
        let value_end = entry.value_span().range().end;
        if from == to {
            return Ok(());
        }
        // What follows the value is a line end and blanks, at least two bytes, so that one space and
        // the moved text always fit.
        let gap = usize::from(entry.value_len > 0);
        if let Some(space) = bytes.get_mut(value_end) {
            *space = b' ';
        }
        bytes.copy_within(start + from..start + to, value_end + gap);
        entry.value_len = narrow(entry.value_len as usize + gap + (to - from));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_bytes_at_every_place() {
        for len in 0..40 {
            for place in 0..len {
                let mut text = vec![b'a'; len];
                text[place] = b'\n';
                assert_eq!(find(b'\n', &text), Some(place));
            }
            assert_eq!(find(b'\n', &vec![0x8a; len]), None);
        }
    }

    #[test]
    fn value_check_agrees_with_the_definition_for_every_byte() {
        for byte in 0..=255_u8 {
            let allowed = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            for place in 0..12 {
                let mut text = [b'x'; 12];
                text[place] = byte;
                assert_eq!(is_value(&text), allowed, "byte {byte} at {place}");
                let visible = byte > 0x20 && byte != 0x7f;
                assert_eq!(is_visible(&text), visible, "byte {byte} at {place}");
            }
        }
    }
}
