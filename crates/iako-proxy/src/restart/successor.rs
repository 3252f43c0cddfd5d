//! The process that comes next, as the one that serves now sees it.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use iako_rt::clock;
use iako_telemetry::StatisticsNow;

use super::{
    predecessor::PLACE,
    wire::{self, Line, NUMBERS_MAX, Numbers, Porch, SOCKETS_MAX, Word},
};
use crate::proxy::Control;

/// Time between two tellings of what was counted.
const TELL: Duration = Duration::from_millis(500);
/// Time between looks at whether the last connection has gone.
const LOOK: Duration = Duration::from_millis(20);
/// How long calling rests after an error that lasts.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Waits for a successor, lends it what it asks for, and ends the proxy once that has taken over and
/// the last connection has gone, or the time until the cut is over.
pub(super) async fn serve(porch: Porch, control: Control, epoch: u32, cut: Duration) {
    loop {
        let line = match porch.answer().await {
            Ok(line) => line,
            Err(error) => {
                tracing::warn!(%error, "a process that wants to take over was not heard");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let attended = tokio::select! {
            attended = attend(&line, &porch, &control, epoch) => attended,
            () = refuse_others(&porch) => continue,
        };
        match attended {
            Ok(()) => {
                // Calls go to the successor from now on.
                drop(porch);
                return end(&line, &control, cut).await;
            }
            Err(error) => tracing::warn!(%error, "a process that was to take over went away"),
        }
    }
}

/// Talks to a successor until it has taken over.
async fn attend(line: &Line, porch: &Porch, control: &Control, epoch: u32) -> io::Result<()> {
    match line.hear_soon().await? {
        (Word::Hello { version: wire::VERSION }, _) => {}
        (Word::Hello { version }, _) => {
            let reason = format!("it speaks version {}, not {version}", wire::VERSION);
            line.say(&Word::Refused { reason }).await?;
            return Err(io::Error::other("it speaks another version"));
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    line.say(&Word::Welcome { epoch }).await?;
    tracing::info!("a process that is to take over begins");
    loop {
        // A successor may have to wait for its control plane. When it ends, this does.
        match line.hear().await? {
            (Word::Lend(name), _) if name == PLACE => lend(line, vec![porch.copy()?]).await?,
            (Word::Lend(name), _) => lend(line, control.shared.spares.lend(&name)).await?,
            (Word::TakeOver, _) => {
                control.hand_over().await;
                line.say(&Word::TakenOver).await?;
                return Ok(());
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

async fn lend(line: &Line, sockets: Vec<std::os::fd::OwnedFd>) -> io::Result<()> {
    let mut packets = sockets.chunks(SOCKETS_MAX).peekable();
    if packets.peek().is_none() {
        return line.say(&Word::Lent { more: false }).await;
    }
    while let Some(packet) = packets.next() {
        line.hand(&Word::Lent { more: packets.peek().is_some() }, packet).await?;
    }
    Ok(())
}

/// One at a time: two that took over at once would each have half of the sockets.
async fn refuse_others(porch: &Porch) {
    loop {
        match porch.answer().await {
            Ok(line) => {
                let reason = "another process is about to take over".to_owned();
                // Whoever does not listen is refused all the same.
                drop(line.say(&Word::Refused { reason }).await);
            }
            Err(_) => tokio::time::sleep(ERROR_PAUSE).await,
        }
    }
}

/// Tells what is counted until nobody is left, or the time is over; then ends the proxy.
async fn end(line: &Line, control: &Control, cut: Duration) {
    tracing::info!("another process has taken over; open connections are served to their end");
    let (began, shared) = (clock::now(), &control.shared);
    let mut told = Told::default();
    let mut tell_at: Instant = began;
    while !shared.is_deserted() && began.elapsed() < cut {
        if tell_at <= clock::now() {
            told.tell(line, control).await;
            tell_at = clock::now() + TELL;
        }
        tokio::time::sleep(LOOK).await;
    }
    tracing::info!(connections = shared.crew.connections(), "this process ends");
    control.close().await;
    told.tell(line, control).await;
    shared.access_logs.flush();
    control.stop().await;
}

/// What a successor knows of the numbers.
#[derive(Debug, Default)]
struct Told {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, i64>,
}

impl Told {
    /// Tells what is new. A successor that is gone hears nothing.
    async fn tell(&mut self, line: &Line, control: &Control) {
        let shared = &control.shared;
        let connections = u64::try_from(shared.crew.connections()).unwrap_or(u64::MAX);
        for packet in self.differences(&shared.stats.now(), connections) {
            let word = Word::Numbers(packet);
            let told = tokio::time::timeout(wire::ANSWER_TIME, line.say(&word)).await;
            if !matches!(told, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// What differs from what was told, in packets; at least one.
    fn differences(&mut self, now: &StatisticsNow, connections: u64) -> Vec<Numbers> {
        let counters: Vec<_> = now
            .counters
            .iter()
            .filter_map(|(name, value)| {
                let before = self.counters.insert(name.clone(), *value).unwrap_or(0);
                let more = value.saturating_sub(before);
                (more > 0).then(|| (name.clone(), more))
            })
            .collect();
        let gauges: Vec<_> = now
            .gauges
            .iter()
            .filter(|(name, _)| adds_up(name))
            .filter_map(|(name, value)| {
                let before = self.gauges.insert(name.clone(), *value).unwrap_or(0);
                let more = value.saturating_sub(before);
                (more != 0).then(|| (name.clone(), more))
            })
            .collect();
        let packets = counters.len().max(gauges.len()).div_ceil(NUMBERS_MAX).max(1);
        let (mut counters, mut gauges) = (counters.into_iter(), gauges.into_iter());
        (0..packets)
            .map(|_| Numbers {
                counters: counters.by_ref().take(NUMBERS_MAX).collect(),
                gauges: gauges.by_ref().take(NUMBERS_MAX).collect(),
                connections,
            })
            .collect()
    }
}

/// Whether a gauge counts what is open, which two processes have together. Others say how one process is.
fn adds_up(name: &str) -> bool {
    name.ends_with("_active") && !name.contains("listeners_active")
        || name == "server.total_connections"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(counters: &[(&str, u64)], gauges: &[(&str, i64)]) -> StatisticsNow {
        let counters = counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let gauges = gauges.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        StatisticsNow { counters, gauges }
    }

    #[test]
    fn a_successor_hears_differences_of_counters_and_of_what_is_open() {
        let mut told = Told::default();
        let gauges = [("http.in.downstream_cx_active", 2), ("cluster.a.membership_total", 3)];
        let first = told.differences(&now(&[("a", 4), ("b", 0)], &gauges), 2);
        let open = |change| vec![("http.in.downstream_cx_active".to_owned(), change)];
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].counters, [("a".to_owned(), 4)]);
        assert_eq!(first[0].gauges, open(2));
        let gauges = [("http.in.downstream_cx_active", 1)];
        let second = told.differences(&now(&[("a", 5)], &gauges), 1);
        assert_eq!(
            (&second[0].counters, &second[0].gauges),
            (&vec![("a".to_owned(), 1)], &open(-1))
        );
    }

    #[test]
    fn many_numbers_go_in_several_packets() {
        let names: Vec<String> = (0..=NUMBERS_MAX).map(|number| number.to_string()).collect();
        let counters: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let packets = Told::default().differences(&now(&counters, &[]), 0);
        let sizes: Vec<usize> = packets.iter().map(|packet| packet.counters.len()).collect();
        assert_eq!(sizes, [NUMBERS_MAX, 1]);
    }
}
