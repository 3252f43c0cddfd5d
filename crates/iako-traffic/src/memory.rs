//! Which streams are reset when memory is short: those that hold most of it.

use iako_proxy_config::TrackedFrom;

/// Streams that are reset at once, at most; so that one look does not end all that a worker carries.
/// Envoy's number.
pub const RESETS_MAX: usize = 50;

/// Classes of memory, each of twice what the one below it holds. Envoy's number.
const CLASSES: u8 = 8;

/// The class of a stream that holds so many bytes; none where it is too small to be looked at. As with
/// Envoy, the lowest class begins at half of what the configuration says.
fn class(bytes: u64, from: TrackedFrom) -> Option<u8> {
    let shifted = bytes >> from.power().saturating_sub(1);
    let class = shifted.checked_ilog2()?;
    Some(u8::try_from(class).unwrap_or(CLASSES).min(CLASSES.saturating_sub(1)))
}

/// The lowest class that is reset under so much pressure, from 0 to 1: the largest one alone under little,
/// one more with each eighth.
fn lowest_class(pressure: f64) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let eighths = (pressure.clamp(0.0, 1.0) * f64::from(CLASSES)).floor() as u8;
    CLASSES.saturating_sub(eighths.saturating_add(1).min(CLASSES))
}

/// Chooses streams to reset, of those that hold so many bytes each: their places in `held`, those first that
/// hold most, at most [`RESETS_MAX`].
#[must_use]
pub fn largest_streams(held: &[u64], from: TrackedFrom, pressure: f64) -> Vec<usize> {
    let lowest = lowest_class(pressure);
    let mut chosen: Vec<(u64, usize)> = held
        .iter()
        .enumerate()
        .filter(|(_, bytes)| class(**bytes, from).is_some_and(|class| class >= lowest))
        .map(|(place, bytes)| (*bytes, place))
        .collect();
    chosen.sort_unstable_by(|one, other| other.cmp(one));
    chosen.truncate(RESETS_MAX);
    chosen.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(power: u32) -> TrackedFrom {
        TrackedFrom::power_of_two(power).unwrap()
    }

    #[test]
    fn classes_double_from_half_of_what_is_tracked() {
        let of = |bytes| class(bytes, from(20));
        assert_eq!(of(0), None);
        assert_eq!(of((1 << 19) - 1), None);
        assert_eq!(of(1 << 19), Some(0));
        assert_eq!(of(1 << 20), Some(1));
        assert_eq!(of(1 << 26), Some(7));
        assert_eq!(of(u64::MAX), Some(7));
    }

    #[test]
    fn more_pressure_reaches_smaller_streams() {
        assert_eq!(lowest_class(0.0), 7);
        assert_eq!(lowest_class(0.124), 7);
        assert_eq!(lowest_class(0.125), 6);
        assert_eq!(lowest_class(0.5), 3);
        assert_eq!(lowest_class(1.0), 0);
    }

    #[test]
    fn the_largest_go_first_and_not_all_at_once() {
        let held = [1 << 11, 1 << 30, 100, 1 << 29];
        assert_eq!(largest_streams(&held, from(10), 1.0), [1, 3, 0]);
        assert_eq!(largest_streams(&held, from(10), 0.1), [1, 3]);
        let many = vec![1 << 20; RESETS_MAX + 9];
        assert_eq!(largest_streams(&many, from(10), 1.0).len(), RESETS_MAX);
    }
}
