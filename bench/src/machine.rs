//! Where and how the run was made: what a reader needs to judge it.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use crate::contender::Contender;
use crate::measure::Pace;
use crate::stand::Ground;
use crate::syscalls::Counter;

/// Facts for the head of the report.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Versions of those that were measured.
    pub(crate) versions: Vec<String>,
    /// Peers that are not on this machine.
    pub(crate) absent: Vec<Contender>,
    pub(crate) has_nginx_stream: bool,
    pub(crate) pace: Pace,
    pub(crate) counter: Option<Counter>,
}

impl Machine {
    pub(crate) fn look(ground: &Ground, pace: &Pace, counter: Option<Counter>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let contenders = [Contender::Iako, Contender::Envoy, Contender::Haproxy, Contender::Nginx];
        let (present, absent): (Vec<_>, Vec<_>) =
            contenders.into_iter().partition(|it| ground.programs.has(*it));
        let version = |contender: Contender| {
            Some(format!("{contender} {}", ground.programs.version(contender)?))
        };
        Self {
            date: today(),
            processor: model.unwrap_or(": unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: kernel.trim().to_owned(),
            versions: present.into_iter().filter_map(version).collect(),
            absent,
            has_nginx_stream: ground.programs.nginx_stream.is_some(),
            pace: pace.clone(),
            counter,
        }
    }
}

/// The day in UTC.
fn today() -> String {
    let days = clock_gettime(ClockId::Realtime).tv_sec.div_euclid(86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a day since 1970 in the Gregorian calendar: years that begin in March,
/// so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_778), (2026, 11, 21));
    }
}
