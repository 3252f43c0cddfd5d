//! RFC 7541, as small as it gets: writes literals, reads everything.

use std::collections::VecDeque;

use super::huffman;
use crate::case;

#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

/// Name and value, each character one byte.
pub(crate) type Field = (String, String);

/// Literals without indexing and without Huffman's code.
pub(crate) fn encode(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            let text = case::bytes(text);
            write_number(text.len(), 7, 0, &mut out);
            out.extend(text);
        }
    }
    out
}

fn write_number(mut number: usize, prefix: u8, first: u8, out: &mut Vec<u8>) {
    let most = (1usize << prefix) - 1;
    if number < most {
        out.push(first | u8::try_from(number).unwrap());
        return;
    }
    out.push(first | u8::try_from(most).unwrap());
    number -= most;
    while number >= 128 {
        out.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    out.push(u8::try_from(number).unwrap());
}

/// The reader of one direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    table: VecDeque<Field>,
}

impl Decoder {
    /// The fields of a block, or nothing when it is broken.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            if first & 0x80 != 0 {
                let index = read_number(&mut block, 7)?;
                fields.push(self.entry(index)?);
            } else if first & 0x40 != 0 {
                let field = self.literal(&mut block, 6)?;
                self.add(field.clone());
                fields.push(field);
            } else if first & 0x20 != 0 {
                let size = read_number(&mut block, 5)?;
                self.shrink(size);
            } else {
                fields.push(self.literal(&mut block, 4)?);
            }
        }
        Some(fields)
    }

    fn literal(&self, block: &mut &[u8], prefix: u8) -> Option<Field> {
        let name = match read_number(block, prefix)? {
            0 => read_text(block)?,
            index => self.entry(index)?.0,
        };
        Some((name, read_text(block)?))
    }

    fn entry(&self, index: usize) -> Option<Field> {
        match STATIC.get(index.checked_sub(1)?) {
            Some((name, value)) => Some(((*name).to_owned(), (*value).to_owned())),
            None => self.table.get(index - 1 - STATIC.len()).cloned(),
        }
    }

    fn add(&mut self, field: Field) {
        self.table.push_front(field);
        self.shrink(4096);
    }

    fn shrink(&mut self, size: usize) {
        let cost = |field: &Field| field.0.chars().count() + field.1.chars().count() + 32;
        while self.table.iter().map(cost).sum::<usize>() > size {
            self.table.pop_back();
        }
    }
}

fn read_number(block: &mut &[u8], prefix: u8) -> Option<usize> {
    let most = (1usize << prefix) - 1;
    let (first, rest) = block.split_first()?;
    *block = rest;
    let mut number = usize::from(*first) & most;
    if number < most {
        return Some(number);
    }
    for shift in (0..28).step_by(7) {
        let (byte, rest) = block.split_first()?;
        *block = rest;
        number += usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(number);
        }
    }
    None
}

fn read_text(block: &mut &[u8]) -> Option<String> {
    let is_coded = block.first()? & 128 != 0;
    let length = read_number(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(if is_coded { case::text(&huffman::decode(text)?) } else { case::text(text) })
}
