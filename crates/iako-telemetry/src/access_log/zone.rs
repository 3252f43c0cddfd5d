//! The time zone of this machine, for the operators that show local time.
//!
//! Source: RFC 9636 (TZif), `/etc/localtime`, and the variable `TZ` where it names a zone.

use std::fs;
use std::sync::LazyLock;

use super::environment;

/// How far a zone is ahead of UTC, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) seconds: i64,
    pub(super) name: String,
}

impl Shift {
    pub(super) fn utc() -> Self {
        Self { seconds: 0, name: "UTC".to_owned() }
    }
}

/// What is known of a zone: when its shift changed.
#[derive(Clone, Debug)]
struct Zone {
    first: Shift,
    changes: Vec<(i64, Shift)>,
}

static LOCAL: LazyLock<Option<Zone>> = LazyLock::new(|| {
    let named = environment::variable("TZ").filter(|name| !name.is_empty());
    let path = match &named {
        Some(name) if name.starts_with(':') || name.contains("..") => return None,
        Some(name) => format!("/usr/share/zoneinfo/{name}"),
        None => "/etc/localtime".to_owned(),
    };
    Zone::read(&fs::read(path).ok()?)
});

/// The shift of this machine at a moment.
pub(super) fn local(epoch_seconds: u64) -> Shift {
    LOCAL.as_ref().map_or_else(Shift::utc, |zone| zone.at(epoch_seconds))
}

/// A header of TZif, its counts: of times, of types and of bytes of names.
struct Head {
    version: u8,
    utc_or_wall: usize,
    standard_or_wall: usize,
    leaps: usize,
    times: usize,
    types: usize,
    names: usize,
}

const HEAD_BYTES: usize = 44;

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let magic = bytes.strip_prefix(b"TZif")?;
        let count = |at: usize| -> Option<usize> {
            let bytes = bytes.get(at..)?.first_chunk::<4>()?;
            usize::try_from(u32::from_be_bytes(*bytes)).ok()
        };
        Some(Self {
            version: *magic.first()?,
            utc_or_wall: count(20)?,
            standard_or_wall: count(24)?,
            leaps: count(28)?,
            times: count(32)?,
            types: count(36)?,
            names: count(40)?,
        })
    }

    /// Bytes of what follows, with times of so many bytes.
    const fn body(&self, time_bytes: usize) -> usize {
        self.times * (time_bytes + 1)
            + self.types * 6
            + self.names
            + self.leaps * (time_bytes + 4)
            + self.standard_or_wall
            + self.utc_or_wall
    }
}

impl Zone {
    fn read(bytes: &[u8]) -> Option<Self> {
        let head = Head::read(bytes)?;
        // The second part has times of eight bytes, and repeats everything.
        if head.version < b'2' {
            return None;
        }
        let bytes = bytes.get(HEAD_BYTES.checked_add(head.body(4))?..)?;
        let head = Head::read(bytes)?;
        let body = bytes.get(HEAD_BYTES..)?;
        let (times, rest) = body.split_at_checked(head.times.checked_mul(8)?)?;
        let (kinds, rest) = rest.split_at_checked(head.times)?;
        let (types, rest) = rest.split_at_checked(head.types.checked_mul(6)?)?;
        let names = rest.get(..head.names)?;
        let shift = |kind: usize| -> Option<Shift> {
            let (seconds, rest) = types.get(kind.checked_mul(6)?..)?.split_first_chunk::<4>()?;
            let [_is_summer, name, ..] = *rest else { return None };
            let name = names.get(usize::from(name)..)?.split(|byte| *byte == 0).next()?;
            let name = String::from_utf8_lossy(name).into_owned();
            Some(Shift { seconds: i64::from(i32::from_be_bytes(*seconds)), name })
        };
        let (times, _) = times.as_chunks::<8>();
        let changes = times
            .iter()
            .zip(kinds)
            .map(|(time, kind)| Some((i64::from_be_bytes(*time), shift(usize::from(*kind))?)));
        let mut zone = Self { first: shift(0)?, changes: changes.collect::<Option<_>>()? };
        let footer = bytes.get(HEAD_BYTES.checked_add(head.body(8))?..).unwrap_or_default();
        zone.follow(std::str::from_utf8(footer).unwrap_or_default().trim());
        Some(zone)
    }

    /// Takes a shift without summer time out of the rule for what comes after the last change, such
    /// as `CET-1`. Rules with summer time begin where the table ends, which is decades ahead in the
    /// files of most systems.
    fn follow(&mut self, rule: &str) {
        let (name, shift) = match rule.strip_prefix('<') {
            Some(rest) => rest.split_once('>').unwrap_or_default(),
            None => {
                let end = rule.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rule.len());
                rule.split_at_checked(end).unwrap_or_default()
            }
        };
        if self.changes.is_empty()
            && !name.is_empty()
            && let Ok(hours) = shift.parse::<i64>()
        {
            self.first = Shift { seconds: -hours * 3_600, name: name.to_owned() };
        }
    }

    fn at(&self, epoch_seconds: u64) -> Shift {
        let moment = i64::try_from(epoch_seconds).unwrap_or(i64::MAX);
        let known = self.changes.partition_point(|(time, _)| *time <= moment);
        let change = known.checked_sub(1).and_then(|last| self.changes.get(last));
        change.map_or_else(|| self.first.clone(), |(_, shift)| shift.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the changes of a zone, as RFC 9636 wants it.
    fn file(changes: &[(i64, u8)], types: &[(i32, &str)]) -> Vec<u8> {
        let mut names = Vec::new();
        let mut kinds = Vec::new();
        for (seconds, name) in types {
            kinds.extend_from_slice(&seconds.to_be_bytes());
            kinds.extend_from_slice(&[0, u8::try_from(names.len()).unwrap()]);
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        let counts = [0, 0, 0, changes.len(), types.len(), names.len()];
        let head = |counts: [usize; 6]| {
            let mut head = b"TZif2".to_vec();
            head.extend_from_slice(&[0; 15]);
            for count in counts {
                head.extend_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
            }
            head
        };
        let mut file = head([0; 6]);
        file.extend(head(counts));
        changes.iter().for_each(|(time, _)| file.extend_from_slice(&time.to_be_bytes()));
        changes.iter().for_each(|(_, kind)| file.push(*kind));
        file.extend(kinds);
        file.extend(names);
        file.extend_from_slice(b"\nCET-1\n");
        file
    }

    #[test]
    fn the_last_change_before_a_moment_says_the_shift() {
        let bytes = file(&[(100, 1), (200, 0)], &[(3_600, "CET"), (7_200, "CEST")]);
        let zone = Zone::read(&bytes).unwrap();
        let at = |seconds| {
            let shift = zone.at(seconds);
            (shift.seconds, shift.name)
        };
        assert_eq!(at(99), (3_600, "CET".to_owned()));
        assert_eq!(at(100), (7_200, "CEST".to_owned()));
        assert_eq!(at(5_000), (3_600, "CET".to_owned()));
    }

    #[test]
    fn a_file_that_is_cut_off_is_no_zone() {
        let bytes = file(&[(100, 1), (200, 0)], &[(3_600, "CET"), (7_200, "CEST")]);
        for length in 0..bytes.len() - 7 {
            assert!(Zone::read(&bytes[..length]).is_none(), "{length}");
        }
    }
}
