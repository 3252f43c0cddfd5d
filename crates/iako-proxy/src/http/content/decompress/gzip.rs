//! The frame of gzip around deflated content (RFC 1952).

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{ContentError, Read};

/// Longest head of a frame that is read: it may hold the name of a file and a comment.
const HEAD_BYTES_MAX: usize = 4 * 1024;

const FLAG_CHECKSUM: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

/// Bytes of checksum and length behind the content.
const TRAILER_BYTES: usize = 8;

/// Reads one frame.
#[derive(Debug)]
pub(super) struct Gunzip {
    part: Part,
    checksum: Crc,
}

#[derive(Debug)]
enum Part {
    Head(Vec<u8>),
    Content(Box<Decompress>),
    Trailer(Vec<u8>),
}

impl Default for Gunzip {
    fn default() -> Self {
        Self { part: Part::Head(Vec::new()), checksum: Crc::new() }
    }
}

impl Gunzip {
    pub(super) fn read(&mut self, input: &[u8], out: &mut [u8]) -> Result<Read, ContentError> {
        match &mut self.part {
            Part::Head(head) => {
                let mut consumed = 0;
                for byte in input {
                    if head.len() >= HEAD_BYTES_MAX {
                        return Err(ContentError::Corrupt);
                    }
                    head.push(*byte);
                    consumed += 1;
                    if is_whole_head(head)? {
                        self.part = Part::Content(Box::new(Decompress::new(false)));
                        break;
                    }
                }
                Ok(Read { consumed, produced: 0, ended: false, is_whole: false })
            }
            Part::Content(inflate) => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let status = inflate
                    .decompress(input, out, FlushDecompress::None)
                    .map_err(|_failed| ContentError::Corrupt)?;
                let length = |total: u64, before: u64| {
                    usize::try_from(total.saturating_sub(before)).unwrap_or_default()
                };
                let consumed = length(inflate.total_in(), before_in);
                let produced = length(inflate.total_out(), before_out);
                self.checksum.update(out.get(..produced).unwrap_or_default());
                if status == Status::StreamEnd {
                    self.part = Part::Trailer(Vec::with_capacity(TRAILER_BYTES));
                }
                Ok(Read { consumed, produced, ended: false, is_whole: false })
            }
            Part::Trailer(trailer) => {
                let wanted = TRAILER_BYTES - trailer.len();
                let taken = input.get(..wanted).unwrap_or(input);
                trailer.extend_from_slice(taken);
                let ended = trailer.len() == TRAILER_BYTES;
                let sum = self.checksum.sum().to_le_bytes();
                if ended && trailer.get(..4) != Some(sum.as_slice()) {
                    return Err(ContentError::Corrupt);
                }
                Ok(Read { consumed: taken.len(), produced: 0, ended, is_whole: ended })
            }
        }
    }
}

/// Whether a head is whole.
fn is_whole_head(head: &[u8]) -> Result<bool, ContentError> {
    let starts = [0x1f, 0x8b, 8];
    if head.iter().zip(starts).any(|(byte, wanted)| *byte != wanted) {
        return Err(ContentError::Corrupt);
    }
    let Some((fixed, mut rest)) = head.split_at_checked(10) else { return Ok(false) };
    let flags = fixed.get(3).copied().unwrap_or_default();
    if flags & FLAG_EXTRA != 0 {
        let Some(([low, high], after)) = rest.split_first_chunk::<2>() else { return Ok(false) };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let Some((_, after)) = after.split_at_checked(length) else { return Ok(false) };
        rest = after;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Ok(false) };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    Ok(flags & FLAG_CHECKSUM == 0 || rest.len() >= 2)
}
