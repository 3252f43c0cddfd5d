//! Integers with a prefix (RFC 7541 §5.1).

use bytes::BytesMut;

use super::HpackError;

/// Most octets behind the prefix. Five carry 35 bits; nothing that HPACK counts needs more than 32.
const OCTETS_MAX: u32 = 5;

/// Takes an integer off the input; the bits of the first octet above the prefix are ignored.
pub(super) fn take(input: &mut &[u8], prefix_bits: u32) -> Result<usize, HpackError> {
    let Some((first, mut rest)) = input.split_first() else { return Err(HpackError::Truncated) };
    let mask = (1_u64 << prefix_bits) - 1;
    let mut value = u64::from(*first) & mask;
    if value == mask {
        let mut octets = 0;
        loop {
            if octets == OCTETS_MAX {
                return Err(HpackError::Integer);
            }
            let Some((octet, behind)) = rest.split_first() else {
                return Err(HpackError::Truncated);
            };
            value += u64::from(octet & 0x7f) << (octets * 7);
            octets += 1;
            rest = behind;
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    u32::try_from(value).map(|value| value as usize).or(Err(HpackError::Integer))
}

/// Appends an integer; `flags` are the bits above the prefix.
pub(super) fn put(value: usize, prefix_bits: u32, flags: u8, out: &mut BytesMut) {
    let mask = (1_usize << prefix_bits) - 1;
    if value < mask {
        out.extend_from_slice(&[flags | low_octet(value)]);
        return;
    }
    out.extend_from_slice(&[flags | low_octet(mask)]);
    let mut left = value - mask;
    while left >= 0x80 {
        out.extend_from_slice(&[low_octet(left & 0x7f) | 0x80]);
        left >>= 7;
    }
    out.extend_from_slice(&[low_octet(left)]);
}

fn low_octet(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or_default()
}
