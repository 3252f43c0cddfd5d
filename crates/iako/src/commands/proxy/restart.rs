//! How a process takes over from another one: our flag, and those of Envoy that mean the same.

use std::time::Duration;

use iako_proxy::{HotRestart, MeetingPlace};

use crate::commands::parse_duration;

/// Hot restart.
#[derive(Debug, clap::Args)]
pub(super) struct RestartArguments {
    /// Take over from the proxy that was started with the same PATH (or @NAME, without a file), if one
    /// serves, without losing a connection; and let the next one take over from this
    #[arg(long, value_name = "PATH")]
    hot_restart: Option<MeetingPlace>,
    /// Time after which a process that was taken over from cuts what is left [default: 1.5 times --drain]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    parent_shutdown: Option<Duration>,
    /// The same in seconds, as Envoy's
    #[arg(
        long,
        value_name = "SECONDS",
        conflicts_with = "parent_shutdown",
        hide_short_help = true
    )]
    parent_shutdown_time_s: Option<u32>,
    /// Which restart this is, as Envoy's; refused when it is another. Without --hot-restart the processes
    /// meet by --base-id
    #[arg(long, value_name = "NUMBER", hide_short_help = true)]
    restart_epoch: Option<u32>,
    /// Which proxy of this user and network namespace this is, as Envoy's
    #[arg(long, value_name = "NUMBER", conflicts_with = "hot_restart", hide_short_help = true)]
    base_id: Option<u32>,
    /// No other process takes over, whatever else is said; as Envoy's
    #[arg(long, hide_short_help = true)]
    disable_hot_restart: bool,
}

impl RestartArguments {
    /// What is asked for, beside a drain of this time.
    pub(super) fn settings(&self, drain: Duration) -> Option<HotRestart> {
        if self.disable_hot_restart {
            return None;
        }
        let is_as_envoy = self.restart_epoch.is_some() || self.base_id.is_some();
        let by_number = is_as_envoy.then(|| by_number(self.base_id.unwrap_or(0)));
        let place = self.hot_restart.clone().or(by_number)?;
        let cut = self.parent_shutdown.or_else(|| self.parent_shutdown_time_s.map(seconds));
        let cut = cut.unwrap_or_else(|| drain.saturating_add(drain / 2)).max(drain);
        Some(HotRestart { place, epoch: self.restart_epoch, cut })
    }
}

/// Proxies of several users do not meet.
fn by_number(number: u32) -> MeetingPlace {
    let user = rustix::process::geteuid().as_raw();
    MeetingPlace::Name(format!("iako-proxy-{user}-{number}"))
}

/// Whole seconds.
pub(super) fn seconds(number: u32) -> Duration {
    Duration::from_secs(u64::from(number))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn settings(words: &[&str]) -> Option<HotRestart> {
        let command = RestartArguments::augment_args(Command::new("proxy").no_binary_name(true));
        let matches = command.try_get_matches_from(words).unwrap();
        RestartArguments::from_arg_matches(&matches).unwrap().settings(seconds(10))
    }

    #[test]
    fn a_proxy_is_taken_over_from_only_where_that_is_asked_for() {
        assert_eq!(settings(&[]), None);
        assert_eq!(settings(&["--base-id", "1", "--disable-hot-restart"]), None);
    }

    #[test]
    fn flags_of_envoy_mean_the_same() {
        let ours = settings(&["--hot-restart", "/run/p.sock", "--parent-shutdown", "20s"]).unwrap();
        assert_eq!(ours.place.to_string(), "/run/p.sock");
        assert_eq!((ours.epoch, ours.cut), (None, seconds(20)));
        let words = ["--restart-epoch", "2", "--base-id", "7", "--parent-shutdown-time-s", "30"];
        let envoys = settings(&words).unwrap();
        assert!(envoys.place.to_string().ends_with("-7"));
        assert_eq!((envoys.epoch, envoys.cut), (Some(2), seconds(30)));
        assert_eq!(settings(&["--base-id", "7"]).unwrap().cut, seconds(15));
    }
}
