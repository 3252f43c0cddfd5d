//! Content that is compressed, and content that is decompressed.

use crate::{Keyed, StringMatch};

/// Compresses content. Source: `envoy.extensions.filters.http.compressor.v3.Compressor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Compressor {
    /// How.
    pub library: CompressorLibrary,
    /// Content of requests; left as it is when absent, as by Envoy's default.
    pub request: Option<CompressedContent>,
    /// Content of responses.
    pub response: CompressedResponse,
    /// Whether it comes first among compressors that a client likes equally. Envoy default: false.
    pub choose_first: bool,
    /// Whether the direction of responses was written: statistics then name it.
    pub names_direction: bool,
}

/// A way of compressing, with the name that statistics have of it.
/// Source: `Compressor.compressor_library`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressorLibrary {
    /// Name of the extension.
    pub name: String,
    /// How.
    pub coding: Compression,
}

/// How content is compressed. Chunk sizes and memory are those of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Source: `envoy.extensions.compression.gzip.compressor.v3.Gzip`.
    Gzip {
        /// From 1, fast, to 9, small. Envoy default: that of zlib, 6.
        level: u32,
    },
    /// Source: `envoy.extensions.compression.brotli.compressor.v3.Brotli`.
    Brotli {
        /// From 0, fast, to 11, small. Envoy default: 3.
        quality: u32,
        /// The window is two to this power, from 10 to 24. Envoy default: 18.
        window_bits: u32,
        /// A block is two to this power at most, from 16 to 24. Envoy default: 24.
        block_bits: u32,
        /// What the content is.
        mode: BrotliMode,
        /// Whether literals are modelled by what stands before them. Envoy default: true.
        literal_contexts: bool,
    },
    /// Source: `envoy.extensions.compression.zstd.compressor.v3.Zstd`.
    Zstd {
        /// From 1 to 22; 0 is the library's own. Envoy default: 3.
        level: u32,
        /// Whether frames end with a checksum. Envoy default: false.
        checksum: bool,
    },
}

/// What brotli is told of the content. Source: `Brotli.EncoderMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BrotliMode {
    /// Nothing.
    #[default]
    Generic,
    /// UTF-8 text.
    Text,
    /// A font.
    Font,
}

/// A way of writing content. Source: RFC 9110 §8.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`
    Gzip,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// Its token in `content-encoding` and `accept-encoding`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The prefix that Envoy's statistics have for its libraries.
    #[must_use]
    pub const fn stat_prefix(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "brotli",
            Self::Zstd => "zstd",
        }
    }
}

impl Compression {
    /// What comes out.
    #[must_use]
    pub const fn coding(self) -> Coding {
        match self {
            Self::Gzip { .. } => Coding::Gzip,
            Self::Brotli { .. } => Coding::Brotli,
            Self::Zstd { .. } => Coding::Zstd,
        }
    }
}

/// Which content is compressed. Source: `Compressor.CommonDirectionConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressedContent {
    /// Whether any is. Envoy default: yes for responses, no for requests.
    pub enabled: Keyed<bool>,
    /// Announced content below this many bytes stays as it is. Envoy default: 30.
    pub bytes_min: u32,
    /// Media types that are compressed, in lower case, where there are no rules.
    pub types: Vec<String>,
    /// Media types by rules.
    pub type_rules: Vec<StringMatch>,
}

impl CompressedContent {
    /// Envoy's media types where none are written.
    pub const TYPES: &'static [&'static str] = &[
        "text/html",
        "text/plain",
        "text/css",
        "application/javascript",
        "application/x-javascript",
        "text/javascript",
        "text/x-javascript",
        "text/ecmascript",
        "text/js",
        "text/jscript",
        "text/x-js",
        "application/ecmascript",
        "application/x-json",
        "application/xml",
        "application/json",
        "image/svg+xml",
        "text/xml",
        "application/xhtml+xml",
    ];
}

impl Default for CompressedContent {
    fn default() -> Self {
        let types = Self::TYPES.iter().map(|one| (*one).to_owned()).collect();
        Self { enabled: Keyed::fixed(true), bytes_min: 30, types, type_rules: Vec::new() }
    }
}

/// Which responses are compressed, and what is said about it.
/// Source: `Compressor.ResponseDirectionConfig`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompressedResponse {
    /// Which content.
    pub content: CompressedContent,
    /// Whether a response with `etag` stays as it is. Envoy default: false.
    pub skips_etag: bool,
    /// Whether a strong `etag` becomes a weak one; it is left out otherwise. Envoy default: false.
    pub weakens_etag: bool,
    /// Whether the server is not told what the client accepts. Envoy default: false.
    pub hides_accept_encoding: bool,
    /// Statuses whose content stays as it is.
    pub spared_statuses: Vec<u16>,
    /// Whether `x-envoy-compression-status` tells what was done and why. Envoy default: false.
    pub tells_status: bool,
}

/// Settings of a route. Source: `CompressorPerRoute`.
#[derive(Debug, Clone, PartialEq)]
pub struct CompressorOverride {
    /// Whether nothing is compressed.
    pub disabled: bool,
    /// In place of [`CompressedResponse::hides_accept_encoding`]; a response is compressed then even
    /// where the filter's own switch is off.
    pub hides_accept_encoding: Option<bool>,
    /// Whether responses are compressed whatever the filter's switch says.
    pub responses: bool,
    /// In place of the filter's.
    pub library: Option<CompressorLibrary>,
}

/// Decompresses content. Source: `envoy.extensions.filters.http.decompressor.v3.Decompressor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decompressor {
    /// Name of the library's extension, which statistics show.
    pub name: String,
    /// What is read.
    pub coding: Coding,
    /// How much larger than what came the content of gzip may become. Envoy default: 100.
    pub ratio_max: u32,
    /// Requests.
    pub request: DecompressedContent,
    /// Whether the server is told that content of this coding is read here. Envoy default: true.
    pub advertises: bool,
    /// Responses.
    pub response: DecompressedContent,
}

/// Which content is decompressed. Source: `Decompressor.CommonDirectionConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecompressedContent {
    /// Whether it is. Envoy default: true.
    pub enabled: Keyed<bool>,
    /// Whether `cache-control: no-transform` is passed over. Envoy default: false.
    pub ignores_no_transform: bool,
}

impl Default for DecompressedContent {
    fn default() -> Self {
        Self { enabled: Keyed::fixed(true), ignores_no_transform: false }
    }
}
