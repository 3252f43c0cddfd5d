//! Content that was compressed, by what it stands for.

use std::io::Read as _;

/// The coding of content and what it stands for, when it says of itself that it is coded.
pub(crate) fn decoded(bytes: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let mut plain = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b, 8]) {
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).ok()?;
        return Some(("gzip", plain));
    }
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::stream::read::Decoder::new(bytes).ok()?.read_to_end(&mut plain).ok()?;
        return Some(("zstd", plain));
    }
    None
}

/// What brotli stands for; it does not say of itself what it is.
pub(crate) fn brotli(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).ok()?;
    Some(plain)
}
