//! `x-request-id`: whether to keep or replace it, and what Envoy packs into it.
//!
//! Source: Envoy `HttpConnectionManager` (`generate_request_id`, `preserve_external_request_id`)
//! and its UUID extension, which marks the reason for tracing in one digit of the id.

use crate::trace::TraceReason;

/// What to do with the header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Pass on what came, or nothing.
    Keep,
    /// Set the header to this, in place of what came.
    Set(String),
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From outside, at a proxy that is the edge (`use_remote_address`): its headers are not
    /// trusted.
    Edge,
    /// From inside the mesh, or at a proxy behind the edge.
    Internal,
}

/// The settings of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestIdRule {
    /// Pass on what came, make nothing: `generate_request_id: false`.
    Never,
    /// Make one when there is none, and replace what comes from outside. The default.
    Generate,
    /// Make one only when there is none: `preserve_external_request_id: true`.
    Preserve,
}

/// Decides about the header; `random` makes the new id.
#[must_use]
pub fn decide(
    rule: RequestIdRule,
    origin: Origin,
    present: Option<&[u8]>,
    random: u128,
) -> RequestId {
    let is_absent = present.is_none_or(<[u8]>::is_empty);
    let is_untrusted = rule == RequestIdRule::Generate && origin == Origin::Edge;
    if rule != RequestIdRule::Never && (is_absent || is_untrusted) {
        RequestId::Set(uuid(random))
    } else {
        RequestId::Keep
    }
}

/// A random UUID (version 4, RFC 9562) as text.
#[must_use]
pub fn uuid(random: u128) -> String {
    let number = random & !(0xf_u128 << 76) & !(0x3_u128 << 62) | (0x4 << 76) | (0x2 << 62);
    let octets = number.to_be_bytes();
    let (pairs, _) = octets.as_chunks::<2>();
    let mut text = [b'-'; 36];
    for (pair, place) in pairs.iter().zip([0, 4, 9, 14, 19, 24, 28, 32]) {
        if let Some(digits) = text.get_mut(place..).and_then(<[u8]>::first_chunk_mut) {
            *digits = hexadecimal(u16::from_be_bytes(*pair)).to_be_bytes();
        }
    }
    String::from_utf8(text.to_vec()).unwrap_or_default()
}

/// Four digits at once: each half byte is spread to a byte, and those from 10 on are moved to letters.
const fn hexadecimal(number: u16) -> u32 {
    let number = number as u32;
    let bytes = (number & 0xff00) << 8 | number & 0xff;
    let halves = (bytes & 0x00f0_00f0) << 4 | bytes & 0x000f_000f;
    let letters = (halves + 0x0606_0606) >> 4 & 0x0101_0101;
    halves + 0x3030_3030 + letters * (b'a' as u32 - b'0' as u32 - 10)
}

/// Place of the digit that is 4 in a random UUID, where Envoy notes why a trace is kept.
const REASON_PLACE: usize = 14;

/// The id with the reason packed into it, so that the next proxy decides the same. `None` when the
/// id is no UUID: other ids are passed on as they are.
#[must_use]
pub fn with_trace_reason(id: &str, reason: TraceReason) -> Option<String> {
    let digit = match reason {
        TraceReason::None => "4",
        TraceReason::Sampled => "9",
        TraceReason::Forced => "a",
        TraceReason::Client => "b",
    };
    if id.len() != 36 || !id.is_ascii() {
        return None;
    }
    let (before, after) = (id.get(..REASON_PLACE)?, id.get(REASON_PLACE.saturating_add(1)..)?);
    Some(format!("{before}{digit}{after}"))
}

/// The reason that an earlier proxy packed into the id.
#[must_use]
pub fn trace_reason(id: &str) -> TraceReason {
    match id.as_bytes().get(REASON_PLACE).filter(|_| id.len() == 36) {
        Some(b'9') => TraceReason::Sampled,
        Some(b'a') => TraceReason::Forced,
        Some(b'b') => TraceReason::Client,
        _ => TraceReason::None,
    }
}

/// How many points there are; see [`sampling_point`].
const POINTS: u32 = 10_000;

/// A number below 10,000 out of the id's first eight digits: the same for every proxy on the way,
/// so that all of them sample the same requests. `None` when the id is no UUID.
#[must_use]
pub fn sampling_point(id: &str) -> Option<u16> {
    let digits = id.get(..8).filter(|_| id.len() == 36)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    u16::try_from(number % POINTS).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_outside_is_replaced_at_the_edge_only() {
        let decided = |rule, origin, present: Option<&str>| {
            decide(rule, origin, present.map(str::as_bytes), u128::MAX)
        };
        let fresh = RequestId::Set("ffffffff-ffff-4fff-bfff-ffffffffffff".to_owned());
        let (generate, preserve) = (RequestIdRule::Generate, RequestIdRule::Preserve);
        assert_eq!(decided(generate, Origin::Edge, Some("mine")), fresh);
        assert_eq!(decided(generate, Origin::Internal, Some("mine")), RequestId::Keep);
        assert_eq!(decided(generate, Origin::Internal, None), fresh);
        assert_eq!(decided(preserve, Origin::Edge, Some("mine")), RequestId::Keep);
        assert_eq!(decided(preserve, Origin::Edge, Some("")), fresh);
        assert_eq!(decided(RequestIdRule::Never, Origin::Edge, None), RequestId::Keep);
    }

    #[test]
    fn an_id_is_the_number_in_hexadecimal() {
        assert_eq!(
            uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            "01234567-89ab-4def-8123-456789abcdef"
        );
        for number in 0..=u16::MAX {
            let digits = hexadecimal(number).to_be_bytes();
            assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{number:04x}"));
        }
    }

    #[test]
    fn the_reason_for_a_trace_travels_in_the_id() {
        let id = uuid(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        for reason in [TraceReason::Sampled, TraceReason::Forced, TraceReason::Client] {
            let packed = with_trace_reason(&id, reason).unwrap();
            assert_eq!(trace_reason(&packed), reason);
            assert_eq!(sampling_point(&packed), sampling_point(&id));
        }
        assert_eq!(trace_reason(&id), TraceReason::None);
        assert_eq!(with_trace_reason("not-a-uuid", TraceReason::Sampled), None);
    }
}
