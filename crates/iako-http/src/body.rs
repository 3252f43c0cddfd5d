//! Content of a message: pieces as they come, never gathered.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ParseError;
use crate::head::{BodyLength, Fields};
use crate::limits::Limits;
use crate::parse;
use crate::scan::{Block, BlockScanner, find, is_value};

/// What comes after a head.
#[derive(Clone, Debug)]
pub enum BodyEvent {
    /// Content, sharing the read buffer. Never empty.
    Data(Bytes),
    /// Trailers after chunked content; [`BodyEvent::End`] follows.
    Trailers(Box<Fields>),
    /// The message is complete. Asked again, the answer is the same.
    End,
}

/// Takes content out of a buffer, whatever its framing.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Exact(u64),
    ChunkSize { searched: usize },
    ChunkData(u64),
    ChunkEnd,
    LastChunk,
    Trailers(Box<BlockScanner>),
    UntilClose,
    Done,
}

/// What one look at the buffer brought.
enum Step {
    Event(BodyEvent),
    NeedsMore,
    Turn(State),
}

/// Longest chunk-size line without its extension: 16 digits, blanks and the line end.
const CHUNK_LINE_MAX: usize = 32;

impl BodyDecoder {
    /// A decoder for content of that length.
    #[must_use]
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::Empty | BodyLength::Exact(0) => State::Done,
            BodyLength::Exact(left) => State::Exact(left),
            BodyLength::Chunked => State::ChunkSize { searched: 0 },
            BodyLength::UntilClose | BodyLength::Tunnel => State::UntilClose,
        };
        Self { state }
    }

    /// Whether the content is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Exact(0))
    }

    /// Takes the next event out of the buffer; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the chunked framing or the trailers are malformed or exceed a limit.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<BodyEvent>, ParseError> {
        loop {
            match self.step(buffer, limits)? {
                Step::Event(event) => return Ok(Some(event)),
                Step::NeedsMore => return Ok(None),
                Step::Turn(state) => self.state = state,
            }
        }
    }

    fn step(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Step, ParseError> {
        let state = match &mut self.state {
            State::Done => return Ok(Step::Event(BodyEvent::End)),
            State::UntilClose if buffer.is_empty() => return Ok(Step::NeedsMore),
            State::UntilClose => {
                return Ok(Step::Event(BodyEvent::Data(buffer.split().freeze())));
            }
            State::Exact(0) => State::Done,
            State::ChunkData(0) => State::ChunkEnd,
            State::Exact(left) | State::ChunkData(left) => {
                let data = take(buffer, left);
                return Ok(data.map_or(Step::NeedsMore, |data| Step::Event(BodyEvent::Data(data))));
            }
            State::ChunkEnd => match buffer.as_ref() {
                [b'\r', b'\n', ..] => {
                    buffer.advance(2);
                    State::ChunkSize { searched: 0 }
                }
                [] | [b'\r'] => return Ok(Step::NeedsMore),
                _ => return Err(ParseError::ChunkEnd),
            },
            State::ChunkSize { searched } => match chunk_size(buffer, searched, limits)? {
                None => return Ok(Step::NeedsMore),
                Some(0) => State::LastChunk,
                Some(size) => State::ChunkData(size),
            },
            // Nearly always there are no trailers: then nothing is allocated for them.
            State::LastChunk => match buffer.as_ref() {
                [b'\r', b'\n', ..] => {
                    buffer.advance(2);
                    State::Done
                }
                [] | [b'\r'] => return Ok(Step::NeedsMore),
                _ => State::Trailers(Box::new(BlockScanner::new(Block::Trailers))),
            },
            State::Trailers(scanner) => {
                let Some(len) = scanner.scan(buffer, limits)? else { return Ok(Step::NeedsMore) };
                let block = buffer.split_to(len);
                let trailers = parse::trailers(scanner, block, limits);
                self.state = State::Done;
                return Ok(Step::Event(BodyEvent::Trailers(Box::new(trailers))));
            }
        };
        Ok(Step::Turn(state))
    }

    /// Tells that the peer closed and nothing more will come.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when the content was not complete.
    pub fn eof(&mut self) -> Result<(), ParseError> {
        match self.state {
            State::UntilClose | State::Done | State::Exact(0) => {
                self.state = State::Done;
                Ok(())
            }
            State::Exact(_)
            | State::ChunkSize { .. }
            | State::ChunkData(_)
            | State::ChunkEnd
            | State::LastChunk
            | State::Trailers(_) => Err(ParseError::Truncated),
        }
    }

    /// Turns to opaque bytes until the peer closes: after 101, or 2xx to CONNECT.
    pub fn switch_to_tunnel(&mut self) {
        self.state = State::UntilClose;
    }
}

/// Splits off what the buffer holds of the `left` bytes.
fn take(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let len = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= len as u64;
    Some(buffer.split_to(len).freeze())
}

/// Reads `hex-size [;extension] CRLF`. Here a bare LF is refused although heads accept it: readers
/// disagree about where an extension ends, and that has been used to smuggle requests.
fn chunk_size(
    buffer: &mut BytesMut,
    searched: &mut usize,
    limits: &Limits,
) -> Result<Option<u64>, ParseError> {
    let longest = CHUNK_LINE_MAX + limits.chunk_extension_bytes_max;
    let found = find(b'\n', buffer.get(*searched..).unwrap_or_default());
    let Some(found) = found else {
        *searched = buffer.len();
        return if buffer.len() > longest { Err(ParseError::ChunkExtension) } else { Ok(None) };
    };
    let end = *searched + found;
    if end > longest {
        return Err(ParseError::ChunkExtension);
    }
    let size = match buffer.get(..end) {
        Some([line @ .., b'\r']) => chunk_line(line)?,
        _ => return Err(ParseError::ChunkSize),
    };
    buffer.advance(end + 1);
    Ok(Some(size))
}

fn chunk_line(line: &[u8]) -> Result<u64, ParseError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, rest) = line.split_at_checked(digits).ok_or(ParseError::ChunkSize)?;
    let rest = rest.trim_ascii_start();
    if digits == 0 || digits > 16 || !(rest.is_empty() || rest.starts_with(b";")) || !is_value(rest)
    {
        return Err(ParseError::ChunkSize);
    }
    let mut size: u64 = 0;
    for byte in number {
        let digit = char::from(*byte).to_digit(16).ok_or(ParseError::ChunkSize)?;
        size = (size << 4) | u64::from(digit);
    }
    if size > i64::MAX.unsigned_abs() { Err(ParseError::ChunkSize) } else { Ok(size) }
}
