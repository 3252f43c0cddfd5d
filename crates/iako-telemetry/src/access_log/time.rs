//! `%START_TIME(format)%`: dates in UTC by strftime's letters.

use std::cell::RefCell;
use std::str::Chars;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::zone::{self, Shift};

/// Whose clock a date is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Utc,
    /// This machine's.
    Local,
}

/// A compiled date format.
#[derive(Clone, Debug)]
pub(super) struct TimeFormat {
    /// Tells formats apart.
    number: u64,
    zone: Zone,
    /// What stays the same for a second: all that stands before the first fraction of one.
    whole: Vec<Piece>,
    rest: Vec<Piece>,
}

/// The beginning of a date as a thread wrote it last. Log lines come by the thousand within a second.
struct Written {
    format: u64,
    epoch_seconds: u64,
    text: Vec<u8>,
}

thread_local! {
    static WRITTEN: RefCell<Written> =
        const { RefCell::new(Written { format: 0, epoch_seconds: 0, text: Vec::new() }) };
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    /// A letter of strftime that [`Date::write`] knows.
    Letter(char),
    /// A fraction of a second with so many digits: `%3f`.
    Fraction(u32),
}

const LETTERS: &str = "YmdeHIMSpjyaAbBszZChklguwGVUWP";
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl TimeFormat {
    /// Envoy's default: `2026-11-21T09:30:00.123Z`.
    pub(super) fn iso(zone: Zone) -> Self {
        let mut pieces = Vec::new();
        for (letter, separator) in
            [('Y', "-"), ('m', "-"), ('d', "T"), ('H', ":"), ('M', ":"), ('S', ".")]
        {
            pieces.push(Piece::Letter(letter));
            pieces.push(Piece::Literal(separator.to_owned()));
        }
        pieces.push(Piece::Fraction(3));
        if zone == Zone::Utc {
            pieces.push(Piece::Literal("Z".to_owned()));
        } else {
            pieces.push(Piece::Letter('z'));
        }
        Self::new(pieces, zone)
    }

    fn new(mut pieces: Vec<Piece>, zone: Zone) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let first = pieces.iter().position(|piece| matches!(piece, Piece::Fraction(_)));
        let rest = pieces.split_off(first.unwrap_or(pieces.len()));
        Self { number: NUMBER.fetch_add(1, Relaxed), zone, whole: pieces, rest }
    }

    /// Compiles a format; the error names the conversion that is not known.
    pub(super) fn parse(text: &str, zone: Zone) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => pieces.extend(conversion(&mut characters)?),
                literal => pieces.push(Piece::Literal(literal.to_string())),
            }
        }
        Ok(Self::new(pieces, zone))
    }

    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) {
        // Before 1970 there were no requests.
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (epoch_seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
        let pieces = |pieces: &[Piece], out: &mut Vec<u8>| {
            write_pieces(pieces, self.zone, (epoch_seconds, nanos), out);
        };
        WRITTEN.with_borrow_mut(|written| {
            if written.format != self.number || written.epoch_seconds != epoch_seconds {
                written.text.clear();
                pieces(&self.whole, &mut written.text);
                (written.format, written.epoch_seconds) = (self.number, epoch_seconds);
            }
            out.extend_from_slice(&written.text);
        });
        pieces(&self.rest, out);
    }
}

fn write_pieces(
    pieces: &[Piece],
    zone: Zone,
    (epoch_seconds, nanos): (u64, u32),
    out: &mut Vec<u8>,
) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Letter(letter) => {
                let shift = match zone {
                    Zone::Utc => Shift::utc(),
                    Zone::Local => zone::local(epoch_seconds),
                };
                let local = epoch_seconds.saturating_add_signed(shift.seconds);
                match letter {
                    's' => write_decimal(epoch_seconds, out),
                    'z' => write_shift(shift.seconds, "", out),
                    'E' => write_shift(shift.seconds, ":", out),
                    'Z' => out.extend_from_slice(shift.name.as_bytes()),
                    letter => Date::new(local).write(*letter, out),
                }
            }
            Piece::Fraction(digits) => {
                let value = nanos / 10_u32.pow(9_u32.saturating_sub(*digits));
                padded(u64::from(value), *digits, out);
            }
        }
    }
}

/// What follows a percent sign.
fn conversion(characters: &mut Chars<'_>) -> Result<Vec<Piece>, String> {
    let single = |piece| Ok(vec![piece]);
    match characters.next() {
        Some('%') => single(Piece::Literal("%".to_owned())),
        Some('E') => extended(characters),
        // A line has one end.
        Some('n') => Err("%n".to_owned()),
        Some('F') => Ok(joined(['Y', 'm', 'd'], "-")),
        Some('T' | 'X') => Ok(joined(['H', 'M', 'S'], ":")),
        Some('f') => single(Piece::Fraction(9)),
        Some('t') => single(Piece::Literal("\t".to_owned())),
        Some('D' | 'x') => Ok(joined(['m', 'd', 'y'], "/")),
        Some('R') => Ok(spelled("H:M")),
        Some('r') => Ok(spelled("I:M:S p")),
        Some('c') => Ok(spelled("a b e H:M:S Y")),
        Some(letter) if LETTERS.contains(letter) => single(Piece::Letter(letter)),
        Some(digit) => match (digit.to_digit(10), characters.next()) {
            (Some(digits @ 1..=9), Some('f')) => single(Piece::Fraction(digits)),
            // As strftime does, what it does not know stays as it is.
            (_, Some(other))
                if (other == ' ' || other.is_ascii_graphic())
                    && digit.is_ascii_graphic()
                    && other != '%' =>
            {
                single(Piece::Literal(format!("%{digit}{other}")))
            }
            (_, None) if digit.is_ascii_graphic() => single(Piece::Literal(format!("%{digit}"))),
            _ => Err(format!("%{digit}")),
        },
        None => Err("%".to_owned()),
    }
}

/// What follows `%E`. Source: Abseil `FormatTime`.
fn extended(characters: &mut Chars<'_>) -> Result<Vec<Piece>, String> {
    let seconds =
        |digits| vec![Piece::Letter('S'), Piece::Literal(".".to_owned()), Piece::Fraction(digits)];
    let first = characters.next().ok_or("%E")?;
    match first {
        'z' => return Ok(vec![Piece::Letter('E')]),
        'T' => return Ok(vec![Piece::Literal("T".to_owned())]),
        _ => {}
    }
    let second = characters.next().ok_or("%E")?;
    match (first, first.to_digit(10), second) {
        ('4', _, 'Y') => Ok(vec![Piece::Letter('Y')]),
        (_, Some(digits @ 1..=9), 'S') => Ok(seconds(digits)),
        (_, Some(digits @ 1..=9), 'f') => Ok(vec![Piece::Fraction(digits)]),
        _ => Err(format!("%E{first}{second}")),
    }
}

/// Letters with what stands between them.
fn spelled(text: &str) -> Vec<Piece> {
    let piece = |c: char| {
        if c.is_ascii_alphabetic() { Piece::Letter(c) } else { Piece::Literal(c.to_string()) }
    };
    text.chars().map(piece).collect()
}

fn joined([first, second, third]: [char; 3], separator: &str) -> Vec<Piece> {
    let literal = || Piece::Literal(separator.to_owned());
    vec![Piece::Letter(first), literal(), Piece::Letter(second), literal(), Piece::Letter(third)]
}

/// A moment in the proleptic Gregorian calendar, UTC.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    day_of_year: u64,
    weekday: u64,
    second_of_day: u64,
}

impl Date {
    fn new(epoch_seconds: u64) -> Self {
        let days = epoch_seconds / 86_400;
        // Days counted from 1 March of year 0, so that a leap day is the last day of a year.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year =
            if month > 2 { day_from_march + 59 + u64::from(leap) } else { day_from_march - 306 };
        Self {
            year,
            month,
            day: day_from_march - (153 * month_from_march + 2) / 5 + 1,
            day_of_year: day_of_year + 1,
            weekday: (days + 4) % 7,
            second_of_day: epoch_seconds % 86_400,
        }
    }

    fn write(&self, letter: char, out: &mut Vec<u8>) {
        let (hour, minute) = (self.second_of_day / 3_600, self.second_of_day / 60 % 60);
        let hour_of_half_day = if hour % 12 == 0 { 12 } else { hour % 12 };
        match letter {
            'Y' => padded(self.year, 4, out),
            'y' => padded(self.year % 100, 2, out),
            'm' => padded(self.month, 2, out),
            'd' => padded(self.day, 2, out),
            'e' => spaced(self.day, out),
            'j' => padded(self.day_of_year, 3, out),
            'H' => padded(hour, 2, out),
            'I' => padded(hour_of_half_day, 2, out),
            'M' => padded(minute, 2, out),
            'S' => padded(self.second_of_day % 60, 2, out),
            'p' => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
            'a' => out.extend_from_slice(short(name(&DAYS, self.weekday)).as_bytes()),
            'A' => out.extend_from_slice(name(&DAYS, self.weekday).as_bytes()),
            'b' => out.extend_from_slice(short(name(&MONTHS, self.month - 1)).as_bytes()),
            'B' => out.extend_from_slice(name(&MONTHS, self.month - 1).as_bytes()),
            'C' => padded(self.year / 100, 2, out),
            'h' => self.write('b', out),
            'k' => spaced(hour, out),
            'l' => spaced(hour_of_half_day, out),
            'P' => out.extend_from_slice(if hour < 12 { b"am" } else { b"pm" }),
            'u' => write_decimal(if self.weekday == 0 { 7 } else { self.weekday }, out),
            'w' => write_decimal(self.weekday, out),
            'U' => padded((self.day_of_year + 6 - self.weekday) / 7, 2, out),
            'W' => padded((self.day_of_year + 6 - (self.weekday + 6) % 7) / 7, 2, out),
            'V' => padded(self.week().1, 2, out),
            'G' => padded(self.week().0, 4, out),
            _ => padded(self.week().0 % 100, 2, out),
        }
    }

    /// The year and week of ISO 8601: a week belongs to the year of its Thursday.
    fn week(&self) -> (u64, u64) {
        let days = |year: u64| {
            let leap =
                year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
            365 + u64::from(leap)
        };
        let thursday = self.day_of_year + 3;
        let from_monday = (self.weekday + 6) % 7;
        match thursday.checked_sub(from_monday).filter(|day| *day > 0) {
            None => {
                let before = self.year - 1;
                (before, (days(before) + thursday - from_monday - 1) / 7 + 1)
            }
            Some(day) if day > days(self.year) => (self.year + 1, 1),
            Some(day) => (self.year, (day - 1) / 7 + 1),
        }
    }
}

/// A number of two digits, the first one a space where it is 0.
fn spaced(number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        out.extend_from_slice(&[b' ', digit(number)]);
    } else {
        write_decimal(number, out);
    }
}

/// Hours and minutes ahead of UTC.
fn write_shift(seconds: i64, separator: &str, out: &mut Vec<u8>) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let minutes = seconds.unsigned_abs() / 60;
    padded(minutes / 60, 2, out);
    out.extend_from_slice(separator.as_bytes());
    padded(minutes % 60, 2, out);
}

fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

/// Appends a number. Log lines are full of them, and `fmt` costs ten times as much.
pub(super) fn write_decimal(number: u64, out: &mut Vec<u8>) {
    let digits = number.checked_ilog10().unwrap_or(0) + 1;
    padded(number, digits, out);
}

/// Appends the last `width` digits of a number.
fn padded(number: u64, width: u32, out: &mut Vec<u8>) {
    let begin = out.len();
    out.resize(begin + width as usize, b'0');
    let mut left = number;
    for place in out.iter_mut().skip(begin).rev() {
        *place = digit(left);
        left /= 10;
    }
}

/// Appends a part of an address.
pub(super) fn write_octet(octet: u8, out: &mut Vec<u8>) {
    static TEXTS: [([u8; 3], u8); 256] = {
        let mut texts = [([0; 3], 0); 256];
        let mut number: u8 = 0;
        loop {
            let digits = [b'0' + number / 100, b'0' + number / 10 % 10, b'0' + number % 10];
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                texts[number as usize] = match number {
                    0..=9 => ([digits[2], 0, 0], 1),
                    10..=99 => ([digits[1], digits[2], 0], 2),
                    100.. => (digits, 3),
                };
            }
            if number == u8::MAX {
                break;
            }
            number += 1;
        }
        texts
    };
    if let Some((text, len)) = TEXTS.get(usize::from(octet)) {
        let begin = out.len();
        out.extend_from_slice(text);
        out.truncate(begin + usize::from(*len));
    }
}

fn name(names: &'static [&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn show(format: &str, seconds: u64) -> String {
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::new(seconds, 7_654_321);
        TimeFormat::parse(format, Zone::Utc).unwrap().write(time, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_right_around_leap_days_and_year_ends() {
        assert_eq!(show("%Y-%m-%d %j %a", 951_782_399), "2000-02-28 059 Mon");
        assert_eq!(show("%F %j", 951_782_400), "2000-02-29 060");
        assert_eq!(show("%F %j", 978_220_800), "2000-12-31 366");
        assert_eq!(show("%d/%b/%Y:%T %z", 1_795_253_400), "21/Nov/2026:09:30:00 +0000");
        assert_eq!(show("%s.%3f|%6f|%f", 5), "5.007|007654|007654321");
        assert_eq!(show("%I %p %% %B", 46_800), "01 PM % January");
        assert_eq!(
            show("%D %R|%r|%c|%u %w %U %W %V %G %g %k %l %C", 951_782_399),
            "02/28/00 23:59|11:59:59 PM|Mon Feb 28 23:59:59 2000|1 1 09 09 09 2000 00 23 11 20"
        );
        // 1 January 2005 is of the last week of 2004; 30 December 2024 of the first of 2025.
        assert_eq!(show("%G-%V", 1_104_537_600), "2004-53");
        assert_eq!(show("%G-%V", 1_735_516_800), "2025-01");
    }

    #[test]
    fn what_was_written_last_is_used_for_the_same_format_and_second_only() {
        let (minutes, seconds) = (
            TimeFormat::parse("%M %3f", Zone::Utc).unwrap(),
            TimeFormat::parse("%S %3f", Zone::Utc).unwrap(),
        );
        let show = |format: &TimeFormat, seconds: u64, millis: u32| {
            let mut out = Vec::new();
            format.write(UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(&minutes, 61, 1), "01 001");
        assert_eq!(show(&minutes, 61, 2), "01 002");
        assert_eq!(show(&seconds, 61, 3), "01 003");
        assert_eq!(show(&seconds, 62, 4), "02 004");
        assert_eq!(show(&minutes, 62, 5), "01 005");
        assert_eq!(show(&minutes, 120, 6), "02 006");
    }

    #[test]
    fn parts_of_addresses_are_written_as_numbers() {
        for octet in 0..=u8::MAX {
            let mut out = Vec::new();
            write_octet(octet, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), octet.to_string());
        }
    }

    #[test]
    fn an_unknown_conversion_is_named() {
        assert_eq!(TimeFormat::parse("%Y %n", Zone::Utc).unwrap_err(), "%n");
        assert_eq!(show("%Q a%L %E4Y %E3S %Ez", 0), "%Q a%L 1970 00.007 +00:00");
        assert_eq!(TimeFormat::parse("%", Zone::Utc).unwrap_err(), "%");
    }
}
