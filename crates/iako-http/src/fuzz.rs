//! Entry points for fuzzers: any bytes in, no panic, and what was accepted means the same when it is
//! cut elsewhere, written again, or carried by the other protocol.
//!
//! The targets in `fuzz/` call these; an ordinary test calls them with every input that is kept there.

mod edits;
mod frames;
mod hpack;
mod http1;
mod section;
mod translation;

pub use edits::fuzz_edits;
pub use frames::fuzz_frames;
pub use hpack::{fuzz_hpack_decode, fuzz_hpack_round_trip};
pub use http1::{fuzz_request, fuzz_response};
pub use section::fuzz_sections;
pub use translation::{Translation, translate};

use bytes::Bytes;

use crate::head::Fields;
use crate::known::Known;

/// What a writer sends of the fields.
fn forwarded(fields: &Fields) -> Vec<(Bytes, Bytes)> {
    fields
        .iter()
        .filter(|field| !field.known.is_some_and(crate::edits::is_written_apart))
        .map(|field| {
            // Written to HTTP/2 it is in lower case.
            let is_te = field.known == Some(Known::Te);
            let value = if is_te { field.value.to_ascii_lowercase() } else { field.value.to_vec() };
            (Bytes::copy_from_slice(field.name), Bytes::from(value))
        })
        .collect()
}
