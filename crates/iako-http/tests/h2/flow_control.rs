//! Flow control (RFC 9113 §5.2, §6.9).
