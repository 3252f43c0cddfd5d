//! From blocks to fields (RFC 7541 §3, §6).

use super::table::{NewEntry, Table};
use super::{
    DecodedField, FieldSink, HpackError, Token, ValueKind, huffman, integer, static_table,
};
use crate::field::Sensitivity;

/// Room for decoded strings that is kept between blocks.
const SCRATCH_BYTES_KEPT: usize = 4096;

/// Reads the blocks of one direction of one connection, in the order in which they came.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What we offered: `SETTINGS_HEADER_TABLE_SIZE`, once the peer has acknowledged it.
    size_limit: usize,
    /// The smallest offer since the last block, when it was below the table's size at that time.
    must_shrink_to: Option<usize>,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// A decoder whose table holds at most so many bytes.
    #[must_use]
    pub fn new(table_bytes_max: usize) -> Self {
        Self {
            table: Table::new(table_bytes_max),
            size_limit: table_bytes_max,
            must_shrink_to: None,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Tells that the peer has acknowledged another `SETTINGS_HEADER_TABLE_SIZE`. When it is smaller than
    /// the table, the next block must begin by making the table smaller.
    pub fn set_table_bytes_max(&mut self, table_bytes_max: usize) {
        self.size_limit = table_bytes_max;
        if table_bytes_max < self.table.size_max() {
            let least = self.must_shrink_to.unwrap_or(table_bytes_max).min(table_bytes_max);
            self.must_shrink_to = Some(least);
        }
    }

    /// Bytes that the table's entries count now (RFC 7541 §4.1).
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table.size()
    }

    /// Reads a whole block: HEADERS and its CONTINUATIONs put together.
    ///
    /// # Errors
    /// When the block is malformed; the connection is then lost.
    pub fn decode(&mut self, block: &[u8], sink: &mut impl FieldSink) -> Result<(), HpackError> {
        let mut input = block;
        self.size_updates(&mut input)?;
        while let Some(first) = input.first() {
            match *first {
                0x80.. => self.indexed(&mut input, sink)?,
                0x40.. => self.literal(&mut input, 6, sink)?,
                0x20.. => return Err(HpackError::LateSizeUpdate),
                _ => self.literal(&mut input, 4, sink)?,
            }
        }
        self.name.shrink_to(SCRATCH_BYTES_KEPT);
        self.value.shrink_to(SCRATCH_BYTES_KEPT);
        Ok(())
    }

    fn size_updates(&mut self, input: &mut &[u8]) -> Result<(), HpackError> {
        while let Some(0x20..=0x3f) = input.first() {
            let size = integer::take(input, 5)?;
            if size > self.size_limit {
                return Err(HpackError::SizeUpdate);
            }
            if self.must_shrink_to.is_some_and(|least| size <= least) {
                self.must_shrink_to = None;
            }
            self.table.set_size_max(size);
        }
        if self.must_shrink_to.is_some() && !input.is_empty() {
            return Err(HpackError::MissingSizeUpdate);
        }
        Ok(())
    }

    /// A field that is in a table (RFC 7541 §6.1).
    fn indexed(&self, input: &mut &[u8], sink: &mut impl FieldSink) -> Result<(), HpackError> {
        let index = integer::take(input, 7)?;
        if let Some(row) = static_table::row(index) {
            sink.field(DecodedField {
                token: row.token,
                name: row.name.as_bytes(),
                value: row.value.as_bytes(),
                kind: ValueKind::Clean,
                sensitivity: Sensitivity::Plain,
            });
            return Ok(());
        }
        let age = static_table::dynamic_age(index).ok_or(HpackError::Index)?;
        let found = self.table.get(age).ok_or(HpackError::Index)?;
        sink.field(DecodedField {
            token: found.entry.token,
            name: found.name,
            value: found.value,
            kind: found.entry.kind,
            sensitivity: Sensitivity::Plain,
        });
        Ok(())
    }

    /// A field that is spelled out, its name perhaps by index (RFC 7541 §6.2).
    fn literal(
        &mut self,
        input: &mut &[u8],
        prefix_bits: u32,
        sink: &mut impl FieldSink,
    ) -> Result<(), HpackError> {
        let flags = input.first().copied().unwrap_or_default();
        let index = integer::take(input, prefix_bits)?;
        let (token, name) = if index == 0 {
            let name = string(input, &mut self.name)?;
            (Token::of(name), name)
        } else if let Some(row) = static_table::row(index) {
            (row.token, row.name.as_bytes())
        } else {
            let age = static_table::dynamic_age(index).ok_or(HpackError::Index)?;
            let found = self.table.get(age).ok_or(HpackError::Index)?;
            // The entry may be evicted by the field that uses its name (RFC 7541 §4.4).
            self.name.clear();
            self.name.extend_from_slice(found.name);
            (found.entry.token, self.name.as_slice())
        };
        let value = string(input, &mut self.value)?;
        let kind = ValueKind::of(value);
        let sensitivity =
            if flags & 0xf0 == 0x10 { Sensitivity::Sensitive } else { Sensitivity::Plain };
        sink.field(DecodedField { token, name, value, kind, sensitivity });
        if flags & 0x40 != 0 {
            self.table.insert(NewEntry { token, name, value, kind, hash: 0 });
        }
        Ok(())
    }
}

/// Takes a string, decoded when it is a Huffman code (RFC 7541 §5.2).
fn string<'i: 'o, 'o>(
    input: &mut &'i [u8],
    scratch: &'o mut Vec<u8>,
) -> Result<&'o [u8], HpackError> {
    let flags = input.first().copied().unwrap_or_default();
    let len = integer::take(input, 7)?;
    let (text, rest) = input.split_at_checked(len).ok_or(HpackError::Truncated)?;
    *input = rest;
    if flags & 0x80 == 0 {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch)?;
    Ok(scratch)
}
