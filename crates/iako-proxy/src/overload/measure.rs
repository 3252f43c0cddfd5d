//! How much of a resource is used.

use std::{fs, io, path::Path};

use iako_proxy_config::Measure;

use crate::shared::bytes_of;

/// Most bytes of a file that holds one number.
const NUMBER_BYTES_MAX: usize = 64;
/// Where a container finds its own limits (cgroup v2).
const CONTAINER: &str = "/sys/fs/cgroup";

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Times of the processors at the last look: busy, and all.
    cpu: Option<(f64, f64)>,
}

/// The share of the resource that is used.
///
/// # Errors
/// When the system does not tell.
pub(super) fn measure(what: &Measure, memory: &mut Memory) -> io::Result<f64> {
    match what {
        Measure::Heap { bytes_max } => {
            let status = text(Path::new("/proc/self/status"))?;
            let held = bytes_of(&status, "VmRSS:").ok_or_else(unknown)?;
            Ok(ratio(held, bytes_max.get()))
        }
        Measure::ContainerMemory { bytes_max } => {
            let held = whole_number(&text(&container("memory.current"))?)?;
            let own = whole_number(&text(&container("memory.max"))?).ok();
            let given = bytes_max.map(std::num::NonZeroU64::get);
            let most = own.into_iter().chain(given).min().ok_or_else(unknown)?;
            Ok(ratio(held, most))
        }
        Measure::MachineCpu => {
            let now = machine_times(&text(Path::new("/proc/stat"))?).ok_or_else(unknown)?;
            Ok(since(memory, now))
        }
        Measure::ContainerCpu => {
            let now = container_times(&text(&container("cpu.stat"))?, &uptime()?);
            Ok(since(memory, now.ok_or_else(unknown)?))
        }
        Measure::File(path) => share(&text(path)?),
    }
}

fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the system does not tell")
}

fn container(file: &str) -> std::path::PathBuf {
    Path::new(CONTAINER).join(file)
}

fn text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

fn whole_number(text: &str) -> io::Result<u64> {
    text.trim().parse().map_err(|_not_a_number| unknown())
}

/// A number from 0 to 1.
fn share(text: &str) -> io::Result<f64> {
    let number = text.get(..text.len().min(NUMBER_BYTES_MAX)).and_then(|it| it.trim().parse().ok());
    number.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(unknown)
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The share of the time since the last look that was busy; none at the first one.
fn since(memory: &mut Memory, now: (f64, f64)) -> f64 {
    let Some(before) = memory.cpu.replace(now) else { return 0.0 };
    let (busy, all) = (now.0 - before.0, now.1 - before.1);
    if all <= 0.0 { 0.0 } else { (busy / all).clamp(0.0, 1.0) }
}

/// Busy and all time of the first line of `/proc/stat`: user, nice, system and all of them with idle time.
fn machine_times(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<f64> = line.split_whitespace().map_while(|time| time.parse().ok()).collect();
    let busy: f64 = times.get(..3)?.iter().sum();
    Some((busy, busy + times.get(3)?))
}

/// Seconds that the container ran, and could have run on all its processors.
fn container_times(stat: &str, uptime: &str) -> Option<(f64, f64)> {
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    let ran: f64 = micros.trim().parse::<f64>().ok()? / 1e6;
    let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    // This respects the quota of the container.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Some((ran, seconds * f64::from(u32::try_from(processors).unwrap_or(1))))
}

fn uptime() -> io::Result<String> {
    text(Path::new("/proc/uptime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_share() {
        assert!((share(" 0.5\n").unwrap() - 0.5).abs() < 1e-9);
        for wrong in ["", "1.5", "-1", "NaN", "half"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn processors_are_as_busy_as_they_were_since_the_last_look() {
        let mut memory = Memory::default();
        let at = |text| machine_times(text).unwrap();
        assert!(since(&mut memory, at("cpu  10 0 10 80 5 0\ncpu0 1 2 3 4\n")) < 1e-9);
        let share = since(&mut memory, at("cpu  40 0 30 130 5 0\n"));
        assert!((share - 0.5).abs() < 1e-9, "{share}");
        assert_eq!(machine_times("cpu0 1 2 3 4"), None);
    }

    #[test]
    fn a_process_holds_a_share_of_its_heap() {
        let bytes_max = std::num::NonZeroU64::new(1 << 50).unwrap();
        let held = measure(&Measure::Heap { bytes_max }, &mut Memory::default()).unwrap();
        assert!(held > 0.0 && held < 0.01, "{held}");
    }
}
