//! The code of RFC 7541, appendix B. It is canonical: the lengths say it all.

/// Bits of the code of every byte; the end mark has 30.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
    6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23,
    23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22,
    22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26,
    27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
    25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The bytes behind a code, or nothing where a code is none.
pub(super) fn decode(input: &[u8]) -> Option<Vec<u8>> {
    let mut order: Vec<u8> = (0..=255).collect();
    order.sort_by_key(|byte| (LENGTHS[usize::from(*byte)], *byte));
    let mut out = Vec::new();
    let (mut code, mut bits) = (0u32, 0u8);
    for bit in input.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        bits += 1;
        if let Some(byte) = byte_of(&order, code, bits) {
            out.push(byte);
            (code, bits) = (0, 0);
        } else if bits >= 30 {
            return None;
        }
    }
    // What is left is the beginning of the end mark: ones, fewer than a byte of them.
    (bits < 8 && code == (1 << bits) - 1).then_some(out)
}

fn byte_of(order: &[u8], code: u32, bits: u8) -> Option<u8> {
    let (mut next, mut length) = (0u32, 0u8);
    for byte in order {
        let own = LENGTHS[usize::from(*byte)];
        next <<= own - length;
        length = own;
        if own > bits {
            return None;
        }
        if own == bits && next == code {
            return Some(*byte);
        }
        next += 1;
    }
    None
}
