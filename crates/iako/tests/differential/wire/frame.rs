//! HTTP/2 frames (RFC 9113, section 4), written without any care and read with little.

use std::io::{self, Read};

use super::hpack;
use crate::case::{self, DataStep, FrameStep, HeadersStep};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITY_FLAG: u8 = 32;

/// One frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The content without padding and priority.
    pub(crate) fn content(&self) -> &[u8] {
        let mut content = self.payload.as_slice();
        if self.has(PADDED) && matches!(self.kind, DATA | HEADERS) {
            let padding = usize::from(content[0]);
            content = &content[1..content.len() - padding];
        }
        if self.kind == HEADERS && self.has(PRIORITY_FLAG) {
            content = &content[5..];
        }
        content
    }

    /// The number at the beginning: an error code, an increment.
    pub(crate) fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).map(|bytes| bytes.try_into().unwrap());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }
}

/// Reads one frame; nothing at the end of the connection.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut head = [0; 9];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    from.read_exact(&mut payload)?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
    Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
}

pub(crate) fn write(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A whole header block, in as many frames as it needs.
pub(crate) fn write_headers(step: &HeadersStep, fields: &[hpack::Field]) -> Vec<u8> {
    let block = hpack::encode(fields);
    let end = if step.end { END_STREAM } else { 0 };
    let pieces: Vec<&[u8]> = block.chunks(16_384).collect();
    let last = pieces.len().saturating_sub(1);
    let mut out = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let done = if at == last && !step.open { END_HEADERS } else { 0 };
        let (kind, flags) = if at == 0 { (HEADERS, end | done) } else { (CONTINUATION, done) };
        out.extend(write(kind, flags, step.stream, piece));
    }
    if pieces.is_empty() {
        out.extend(write(HEADERS, end | END_HEADERS, step.stream, &[]));
    }
    out
}

fn write_data(step: &DataStep) -> Vec<u8> {
    let text = case::bytes(&step.text).repeat(step.times.unwrap_or(1));
    let end = if step.end { END_STREAM } else { 0 };
    match step.padding {
        None => write(DATA, end, step.stream, &text),
        Some(padding) => {
            let mut payload = vec![padding];
            payload.extend(text);
            payload.extend(vec![0; usize::from(padding)]);
            write(DATA, end | PADDED, step.stream, &payload)
        }
    }
}

/// The bytes of a step that is a frame. `default` is the stream where the step names none.
pub(crate) fn bytes_of(step: &FrameStep, default: u32, pseudo: &[hpack::Field]) -> Vec<u8> {
    let stream_of = |stream: u32| if stream == 0 { default } else { stream };
    match step {
        FrameStep::Headers(headers) => {
            let mut headers = headers.clone();
            headers.stream = stream_of(headers.stream);
            let mut fields = headers.pseudo.clone().unwrap_or_else(|| pseudo.to_vec());
            fields.extend(headers.fields.iter().cloned());
            write_headers(&headers, &fields)
        }
        FrameStep::Data(data) => {
            let mut data = data.clone();
            data.stream = stream_of(data.stream);
            write_data(&data)
        }
        FrameStep::Rst { stream, code } => {
            write(RST_STREAM, 0, stream_of(*stream), &code.to_be_bytes())
        }
        FrameStep::Settings(settings) => {
            let entry = |(id, value): &(u16, u32)| {
                id.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<u8>>()
            };
            write(SETTINGS, 0, 0, &settings.iter().flat_map(entry).collect::<Vec<u8>>())
        }
        FrameStep::Ping(text) => {
            let mut payload = case::bytes(text);
            payload.resize(8, 0);
            write(PING, 0, 0, &payload)
        }
        FrameStep::WindowUpdate { stream, increment } => {
            write(WINDOW_UPDATE, 0, *stream, &increment.to_be_bytes())
        }
        FrameStep::Priority { stream, on } => {
            let mut payload = on.to_be_bytes().to_vec();
            payload.push(15);
            write(2, 0, *stream, &payload)
        }
        FrameStep::Goaway { last, code } => {
            write(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
        }
        FrameStep::Raw { kind, flags, stream, payload } => {
            write(*kind, *flags, stream_of(*stream), &unhex(payload))
        }
        FrameStep::Bytes(text) => case::bytes(text),
        FrameStep::Repeat { .. }
        | FrameStep::NoPreface
        | FrameStep::AwaitHead(_)
        | FrameStep::AwaitReset(_)
        | FrameStep::AwaitBytes { .. }
        | FrameStep::AwaitPongs(_)
        | FrameStep::Pause { .. }
        | FrameStep::Change(_)
        | FrameStep::Close => Vec::new(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The name of an error code. Source: RFC 9113, section 7.
pub(crate) fn code_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}
