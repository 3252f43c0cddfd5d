//! HTTP as a stranger reads and writes it: deliberately none of the code under test.

pub(crate) mod base64;
pub(crate) mod frame;
pub(crate) mod hpack;
pub(crate) mod http1;
mod huffman;
pub(crate) mod stream;
