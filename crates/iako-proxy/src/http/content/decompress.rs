//! Decompressing content piece by piece. What comes out is asked for in small pieces, so that a small
//! request that stands for much content never stands in memory.

mod gzip;

use std::collections::VecDeque;
use std::fmt;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use bytes::{Buf as _, Bytes};
use iako_http::BodyEvent;
use iako_proxy_config::Coding;
use iako_telemetry::Counter;
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation as _, OutBuffer};

use super::ContentError;
use gzip::Gunzip;

/// Bytes that come out at once.
const OUT_BYTES: usize = 16 * 1024;

/// Content that stays below this may have any ratio: a few blanks compress to nearly nothing.
const RATIO_COUNTS_FROM: u64 = 4096;

/// Decompresses content.
pub(crate) struct Decompress {
    reader: Reader,
    input: Bytes,
    /// The reader filled all of its last buffer and may have more.
    has_more: bool,
    /// The content may end here.
    is_whole: bool,
    after: VecDeque<BodyEvent>,
    bytes_in: u64,
    bytes_out: u64,
    ratio_max: u64,
    counted: Option<DecompressedBytes>,
}

/// What is counted of content that was decompressed.
#[derive(Clone, Debug)]
pub(crate) struct DecompressedBytes {
    pub(crate) before: Counter,
    pub(crate) after: Counter,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Reader {
    Gzip(Box<Gunzip>),
    Brotli(Box<Brotli>),
    Zstd(ZstdDecoder<'static>),
    /// All of it was read; what follows is passed over, as Envoy does.
    Done,
}

/// How far one look came.
struct Read {
    consumed: usize,
    produced: usize,
    /// Nothing follows.
    ended: bool,
    /// The content may end here.
    is_whole: bool,
}

impl fmt::Debug for Decompress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Decompress");
        shown.field("bytes_in", &self.bytes_in).field("bytes_out", &self.bytes_out);
        shown.finish_non_exhaustive()
    }
}

impl Reader {
    fn new(coding: Coding) -> std::io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::default()),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Self::Brotli(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => Self::Zstd(ZstdDecoder::new()?),
        })
    }

    fn read(&mut self, input: &[u8], out: &mut [u8]) -> Result<Read, ContentError> {
        match self {
            Self::Gzip(reader) => reader.read(input, out),
            Self::Brotli(state) => {
                let (mut left_in, mut consumed) = (input.len(), 0);
                let (mut left_out, mut produced, mut total) = (out.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left_in,
                    &mut consumed,
                    input,
                    &mut left_out,
                    &mut produced,
                    out,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(ContentError::Corrupt),
                    BrotliResult::ResultSuccess => {
                        Ok(Read { consumed, produced, ended: true, is_whole: true })
                    }
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                        Ok(Read { consumed, produced, ended: false, is_whole: false })
                    }
                }
            }
            Self::Zstd(decoder) => {
                let mut from = InBuffer::around(input);
                let mut to = OutBuffer::around(out);
                let wanted = decoder.run(&mut from, &mut to);
                let wanted = wanted.map_err(|_failed| ContentError::Corrupt)?;
                let produced = to.pos();
                // One frame may follow another.
                Ok(Read { consumed: from.pos, produced, ended: false, is_whole: wanted == 0 })
            }
            Self::Done => {
                Ok(Read { consumed: input.len(), produced: 0, ended: true, is_whole: true })
            }
        }
    }
}

impl Decompress {
    /// Reads a coding.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn new(
        coding: Coding,
        ratio_max: u32,
        counted: Option<DecompressedBytes>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            reader: Reader::new(coding)?,
            input: Bytes::new(),
            has_more: false,
            is_whole: true,
            after: VecDeque::new(),
            bytes_in: 0,
            bytes_out: 0,
            ratio_max: u64::from(ratio_max),
            counted,
        })
    }

    pub(super) fn give(&mut self, event: BodyEvent) {
        match event {
            BodyEvent::Data(data) => {
                self.bytes_in += data.len() as u64;
                if let Some(counted) = &self.counted {
                    counted.before.add(data.len() as u64);
                }
                self.input = data;
            }
            BodyEvent::Trailers(_) | BodyEvent::End => self.after.push_back(event),
        }
    }

    pub(super) fn take(&mut self) -> Result<Option<BodyEvent>, ContentError> {
        while self.has_more || !self.input.is_empty() {
            let mut out = vec![0; OUT_BYTES];
            let read = self.reader.read(&self.input, &mut out)?;
            self.input.advance(read.consumed.min(self.input.len()));
            self.has_more = !read.ended && read.produced == OUT_BYTES;
            if read.consumed == 0 && read.produced == 0 && !read.ended {
                // It neither takes nor gives anything: this is no content.
                if !self.input.is_empty() {
                    return Err(ContentError::Corrupt);
                }
                continue;
            }
            self.is_whole = read.is_whole;
            if read.ended {
                self.reader = Reader::Done;
            }
            if read.produced > 0 {
                self.bytes_out += read.produced as u64;
                let allowed = self.bytes_in.saturating_mul(self.ratio_max);
                if self.bytes_out > allowed.max(RATIO_COUNTS_FROM) {
                    return Err(ContentError::Inflates);
                }
                if let Some(counted) = &self.counted {
                    counted.after.add(read.produced as u64);
                }
                out.truncate(read.produced);
                return Ok(Some(BodyEvent::Data(out.into())));
            }
        }
        if !self.is_whole && !self.after.is_empty() {
            return Err(ContentError::Corrupt);
        }
        Ok(self.after.pop_front())
    }
}
