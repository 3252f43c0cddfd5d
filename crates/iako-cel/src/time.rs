//! Durations and moments: reading, showing, and their parts.

/// Nanoseconds of a second.
pub(crate) const SECOND: i128 = 1_000_000_000;
/// The earliest moment, the beginning of year 1.
const MOMENT_MIN: i128 = -62_135_596_800 * SECOND;
/// The first moment that is too late, the beginning of year 10000.
const MOMENT_END: i128 = 253_402_300_800 * SECOND;
/// No duration is longer: ten thousand years.
const DURATION_MAX: i128 = 315_576_000_000 * SECOND;

/// A moment, where it is one that can be told.
pub(crate) fn in_range(moment: i128) -> Option<i128> {
    (MOMENT_MIN..MOMENT_END).contains(&moment).then_some(moment)
}

/// A duration, where it is one that can be told.
pub(crate) fn duration_in_range(nanos: i128) -> Option<i128> {
    (-DURATION_MAX..=DURATION_MAX).contains(&nanos).then_some(nanos)
}

/// Reads `1h2m3.5s`, `-5ms`, `0`.
pub(crate) fn duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum: i128 = 0;
    let mut any = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(end);
        let units = [
            ("ns", 1),
            ("us", 1_000),
            ("\u{b5}s", 1_000),
            ("ms", 1_000_000),
            ("s", SECOND),
            ("m", 60 * SECOND),
            ("h", 3_600 * SECOND),
        ];
        let (name, unit) = units.into_iter().find(|(name, _)| after.starts_with(name))?;
        sum = sum.checked_add(parts(number, unit)?)?;
        rest = after.strip_prefix(name)?;
        any = true;
    }
    if !any {
        return None;
    }
    duration_in_range(sum.checked_mul(sign)?)
}

/// `1.5` of a unit.
fn parts(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.chars().take(18) {
        scale = scale.checked_div(10)?;
        let digit = i128::from(digit.to_digit(10)?);
        sum = sum.checked_add(digit.checked_mul(scale)?)?;
    }
    fraction.bytes().all(|byte| byte.is_ascii_digit()).then_some(sum)
}

/// Reads RFC 3339.
pub(crate) fn timestamp(text: &str) -> Option<i128> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let numbers = |text: &str, sign: char| -> Option<[i64; 3]> {
        let mut parts = text.split(sign).map(|part| {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
        });
        let found = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(found)
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let is_valid = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_valid {
        return None;
    }
    let (nanos, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, zone) = rest.split_at(end);
            if digits.is_empty() {
                return None;
            }
            (parts(&format!("0.{digits}"), SECOND)?, zone)
        }
        None => (0, rest),
    };
    let offset = match zone {
        "Z" | "z" => 0,
        zone => zone_offset(zone)?,
    };
    let days = i128::from(days_from_civil(year, month, day));
    let seconds = days * 86_400 + i128::from(hour * 3_600 + minute * 60 + second) - offset;
    in_range(seconds * SECOND + nanos)
}

/// The seconds of `+01:30` or `-05:00`; of `01:30` as well.
pub(crate) fn zone_offset(zone: &str) -> Option<i128> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| -> Option<i128> {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, of a date of the Gregorian calendar.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A moment as the calendar has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    /// From 0, Sunday.
    pub(crate) weekday: i64,
    /// From 0.
    pub(crate) day_of_year: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) nanos: i64,
}

/// A moment in a zone so many seconds from Greenwich.
pub(crate) fn civil(moment: i128, offset: i128) -> Civil {
    let local = moment + offset * SECOND;
    let seconds = i64::try_from(local.div_euclid(SECOND)).unwrap_or(0);
    let nanos = i64::try_from(local.rem_euclid(SECOND)).unwrap_or(0);
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let march_day = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let march_month = (5 * march_day + 2) / 153;
    let day = march_day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = of_era + era * 400 + i64::from(month <= 2);
    Civil {
        year,
        month,
        day,
        weekday: (days + 4).rem_euclid(7),
        day_of_year: days - days_from_civil(year, 1, 1),
        hour: clock / 3_600,
        minute: clock / 60 % 60,
        second: clock % 60,
        nanos,
    }
}

/// RFC 3339, with the name of the zone that is Greenwich's: `Z` or `+00:00`.
pub(crate) fn moment(moment: i128, zone: &str) -> String {
    let Civil { year, month, day, hour, minute, second, nanos, .. } = civil(moment, 0);
    let fraction = match nanos {
        0 => String::new(),
        // What protocol buffers write has three, six or nine digits; other texts have as many as needed.
        nanos if zone == "Z" => grouped(nanos),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
}

fn grouped(nanos: i64) -> String {
    if nanos % 1_000_000 == 0 {
        format!(".{:03}", nanos / 1_000_000)
    } else if nanos % 1_000 == 0 {
        format!(".{:06}", nanos / 1_000)
    } else {
        format!(".{nanos:09}")
    }
}

/// `1h1m1.5s`, `2.387299ms`.
pub(crate) fn duration_units(nanos: i128) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let second = SECOND.unsigned_abs();
    let part = |unit: u128, name: &str| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let digits = unit.ilog10() as usize;
        let fraction = if rest == 0 { String::new() } else { format!(".{rest:0digits$}") };
        format!("{sign}{whole}{}{name}", fraction.trim_end_matches('0'))
    };
    if nanos < 1_000 {
        return part(1, "ns");
    }
    if nanos < 1_000_000 {
        return part(1_000, "us");
    }
    if nanos < second {
        return part(1_000_000, "ms");
    }
    let (hours, minutes) = (nanos / (3_600 * second), nanos / (60 * second) % 60);
    let rest = nanos % (60 * second);
    let mut shown = sign.to_owned();
    if hours > 0 {
        shown.push_str(&format!("{hours}h"));
    }
    if minutes > 0 {
        shown.push_str(&format!("{minutes}m"));
    }
    if rest > 0 {
        shown.push_str(&seconds(rest));
    }
    shown
}

/// `5s`, `0.5s`, with as many digits as needed.
pub(crate) fn seconds(nanos: u128) -> String {
    let second = SECOND.unsigned_abs();
    let fraction = format!(".{:09}", nanos % second);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{}{fraction}s", nanos / second)
}

/// As protocol buffers write it: seconds with no, three, six or nine digits.
pub(crate) fn duration_seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, rest) = (nanos.unsigned_abs() / SECOND.unsigned_abs(), nanos % SECOND);
    let rest = i64::try_from(rest.abs()).unwrap_or(0);
    let fraction = if rest == 0 { String::new() } else { grouped(rest) };
    format!("{sign}{whole}{fraction}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        let cases = ["2020-01-02T03:04:05Z", "1969-12-31T23:59:59.500Z", "2000-02-29T00:00:00Z"];
        for text in cases {
            assert_eq!(moment(timestamp(text).unwrap(), "Z"), text);
        }
        assert_eq!(timestamp("2020-01-02T03:04:05+01:00"), timestamp("2020-01-02T02:04:05Z"));
        for text in ["2021-02-29T00:00:00Z", "2020-01-02", "2020-13-01T00:00:00Z", "x"] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn durations_show_as_envoy_shows_them() {
        let cases = [
            ("1h1m1.5s", "1h1m1.5s", "3661.500s"),
            ("90s", "1m30s", "90s"),
            ("2.387299ms", "2.387299ms", "0.002387299s"),
            ("430.542us", "430.542us", "0.000430542s"),
            ("10s", "10s", "10s"),
            ("-5ms", "-5ms", "-0.005s"),
        ];
        for (text, units, plain) in cases {
            let nanos = duration(text).unwrap();
            assert_eq!(
                (duration_units(nanos).as_str(), duration_seconds(nanos).as_str()),
                (units, plain)
            );
        }
        for text in ["", "x", "5", "s", "1s2", "-"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_knows_its_days() {
        let Civil { weekday, day_of_year, month, .. } =
            civil(timestamp("2020-01-02T03:04:05Z").unwrap(), 0);
        assert_eq!((weekday, day_of_year, month), (4, 1, 1));
        assert_eq!(civil(timestamp("2020-01-02T03:04:05Z").unwrap(), 7_200).hour, 5);
    }
}
