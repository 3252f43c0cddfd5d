//! Compressing content piece by piece.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};

use brotli::enc::BrotliEncoderParams;
use brotli::enc::backward_references::BrotliEncoderMode;
use bytes::Bytes;
use flate2::write::GzEncoder;
use iako_http::BodyEvent;
use iako_proxy_config::{BrotliMode, Compression};
use iako_telemetry::Counter;

use super::ContentError;

/// What brotli gathers before it writes.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Compresses content. Every piece goes out when it has come: a client of a stream that pauses has
/// all that there is.
pub(crate) struct Compress {
    writer: Option<Writer>,
    next: VecDeque<BodyEvent>,
    counted: Option<CompressedBytes>,
}

/// What is counted of content that was compressed.
#[derive(Clone, Debug)]
pub(crate) struct CompressedBytes {
    pub(crate) before: Counter,
    pub(crate) after: Counter,
}

enum Writer {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl fmt::Debug for Compress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compress").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Writer {
    fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip { level } => {
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level)))
            }
            Compression::Brotli { quality, window_bits, block_bits, mode, literal_contexts } => {
                let number = |value: u32| i32::try_from(value).unwrap_or_default();
                let params = BrotliEncoderParams {
                    quality: number(quality),
                    lgwin: number(window_bits),
                    lgblock: number(block_bits),
                    mode: match mode {
                        BrotliMode::Generic => BrotliEncoderMode::BROTLI_MODE_GENERIC,
                        BrotliMode::Text => BrotliEncoderMode::BROTLI_MODE_TEXT,
                        BrotliMode::Font => BrotliEncoderMode::BROTLI_MODE_FONT,
                    },
                    disable_literal_context_modeling: i32::from(!literal_contexts),
                    ..BrotliEncoderParams::default()
                };
                let writer =
                    brotli::CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER_BYTES, &params);
                Self::Brotli(Box::new(writer))
            }
            Compression::Zstd { level, checksum } => {
                let level = i32::try_from(level).unwrap_or_default();
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.include_checksum(checksum)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        Ok(match self {
            Self::Gzip(writer) => {
                writer.write_all(data)?;
                writer.flush()?;
                std::mem::take(writer.get_mut())
            }
            Self::Brotli(writer) => {
                writer.write_all(data)?;
                writer.flush()?;
                std::mem::take(writer.get_mut())
            }
            Self::Zstd(writer) => {
                writer.write_all(data)?;
                writer.flush()?;
                std::mem::take(writer.get_mut())
            }
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(writer) => writer.finish(),
            Self::Brotli(writer) => Ok(writer.into_inner()),
            Self::Zstd(writer) => writer.finish(),
        }
    }
}

impl Compress {
    /// Compresses in a way.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn new(
        compression: Compression,
        counted: Option<CompressedBytes>,
    ) -> io::Result<Self> {
        let writer = Some(Writer::new(compression)?);
        Ok(Self { writer, next: VecDeque::new(), counted })
    }

    pub(super) fn give(&mut self, event: BodyEvent) -> Result<(), ContentError> {
        match &event {
            BodyEvent::Data(data) => {
                let Some(writer) = &mut self.writer else { return Ok(()) };
                let written = writer.write(data).map_err(|_failed| ContentError::Corrupt)?;
                if let Some(counted) = &self.counted {
                    counted.before.add(data.len() as u64);
                }
                self.push(written);
            }
            BodyEvent::Trailers(_) | BodyEvent::End => {
                if let Some(writer) = self.writer.take() {
                    let rest = writer.finish().map_err(|_failed| ContentError::Corrupt)?;
                    self.push(rest);
                }
                self.next.push_back(event);
            }
        }
        Ok(())
    }

    fn push(&mut self, written: Vec<u8>) {
        if !written.is_empty() {
            if let Some(counted) = &self.counted {
                counted.after.add(written.len() as u64);
            }
            self.next.push_back(BodyEvent::Data(Bytes::from(written)));
        }
    }

    pub(super) fn take(&mut self) -> Option<BodyEvent> {
        self.next.pop_front()
    }
}
