//! Dates of HTTP as seconds.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of a date in any of the three forms that a recipient has to read
/// (RFC 9110 §5.6.7); none for what is no date, or before 1970.
#[must_use]
pub fn seconds_of_date(text: &str) -> Option<u64> {
    let text = text.trim().replace([',', '-'], " ");
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let ([_, day, month, year, time, "GMT"] | [_, month, day, time, year]) = parts.as_slice()
    else {
        return None;
    };
    let month = MONTHS.iter().position(|name| name == month)?;
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let mut full: u64 = year.parse().ok()?;
    if year.len() == 2 {
        full = full.checked_add(if full < 70 { 2000 } else { 1900 })?;
    }
    let mut clock = time.split(':').map(str::parse::<u64>);
    let (Some(Ok(hour)), Some(Ok(minute)), Some(Ok(second)), None) =
        (clock.next(), clock.next(), clock.next(), clock.next())
    else {
        return None;
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(full, u64::try_from(month).ok()?)?.checked_add(day)?.checked_sub(1)?;
    let minutes = days.checked_mul(24)?.checked_add(hour)?.checked_mul(60)?.checked_add(minute)?;
    minutes.checked_mul(60)?.checked_add(second)
}

/// Days from 1970 to the first of a month, counted from 0. Years are counted from March.
fn days_before(year: u64, month: u64) -> Option<u64> {
    let (year, from_march) = if month < 2 {
        (year.checked_sub(1)?, month.checked_add(10)?)
    } else {
        (year, month.checked_sub(2)?)
    };
    let leaps = (year / 4).checked_sub(year / 100)?.checked_add(year / 400)?;
    let of_years = year.checked_mul(365)?.checked_add(leaps)?;
    let of_months = from_march.checked_mul(153)?.checked_add(2)? / 5;
    of_years.checked_add(of_months)?.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(seconds_of_date(text), Some(784_111_777), "{text}");
        }
        assert_eq!(seconds_of_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of_date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        for text in ["", "0", "-1", "Sun, 06 Nov 1994", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(seconds_of_date(text), None, "{text}");
        }
    }
}
