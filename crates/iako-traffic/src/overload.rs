//! How much of an action an overloaded proxy takes, and what becomes of times.

use std::time::Duration;

use iako_proxy_config::{Least, OverloadTrigger, TriggerRule};

/// How much of an action its triggers ask for, from 0 to 1: as much as the one that asks for most.
/// `pressures` are the shares that the monitors measured; one without a share says nothing.
#[must_use]
pub fn overload_level(triggers: &[OverloadTrigger], pressures: &[Option<f64>]) -> f64 {
    let levels = triggers.iter().filter_map(|trigger| {
        let pressure = pressures.get(trigger.monitor).copied().flatten()?;
        Some(level_of(trigger.rule, pressure))
    });
    levels.fold(0.0, f64::max)
}

fn level_of(rule: TriggerRule, pressure: f64) -> f64 {
    match rule {
        TriggerRule::Threshold(threshold) if pressure >= threshold => 1.0,
        TriggerRule::Threshold(_) => 0.0,
        TriggerRule::Scaled { from, to } => ((pressure - from) / (to - from)).clamp(0.0, 1.0),
    }
}

/// What is left of a time when times get shorter by this level: between all of it and the least, in
/// proportion. A time that is shorter than the least stays.
#[must_use]
pub fn shortened(time: Duration, least: Least, level: f64) -> Duration {
    let least = match least {
        Least::Time(least) => least.min(time),
        Least::Share { millionths } => time.mul_f64(f64::from(millionths.min(1_000_000)) / 1e6),
    };
    let rest = time.saturating_sub(least).mul_f64((1.0 - level).clamp(0.0, 1.0));
    least.saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(monitor: usize, threshold: f64) -> OverloadTrigger {
        OverloadTrigger { monitor, rule: TriggerRule::Threshold(threshold) }
    }

    fn scaled(from: f64, to: f64) -> OverloadTrigger {
        OverloadTrigger { monitor: 0, rule: TriggerRule::Scaled { from, to } }
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn a_threshold_is_all_or_nothing_and_counts_itself() {
        assert!(close(overload_level(&[threshold(0, 0.9)], &[Some(0.89)]), 0.0));
        assert!(close(overload_level(&[threshold(0, 0.9)], &[Some(0.9)]), 1.0));
    }

    #[test]
    fn a_scaled_trigger_rises_between_its_ends() {
        for (pressure, level) in [(0.5, 0.0), (0.7, 0.0), (0.8, 0.5), (0.9, 1.0), (2.0, 1.0)] {
            let found = overload_level(&[scaled(0.7, 0.9)], &[Some(pressure)]);
            assert!(close(found, level), "{pressure}: {found}");
        }
    }

    #[test]
    fn the_trigger_counts_that_asks_for_most_and_silent_monitors_do_not() {
        let triggers = [scaled(0.0, 1.0), threshold(1, 0.5)];
        assert!(close(overload_level(&triggers, &[Some(0.25), None]), 0.25));
        assert!(close(overload_level(&triggers, &[Some(0.25), Some(0.6)]), 1.0));
        assert!(close(overload_level(&[threshold(7, 0.0)], &[Some(1.0)]), 0.0));
    }

    #[test]
    fn times_shrink_towards_their_least() {
        let minute = Duration::from_secs(60);
        let least = Least::Time(Duration::from_secs(10));
        assert_eq!(shortened(minute, least, 0.0), minute);
        assert_eq!(shortened(minute, least, 0.5), Duration::from_secs(35));
        assert_eq!(shortened(minute, least, 1.0), Duration::from_secs(10));
        let half = Least::Share { millionths: 500_000 };
        assert_eq!(shortened(minute, half, 1.0), Duration::from_secs(30));
        let second = Duration::from_secs(1);
        assert_eq!(shortened(second, least, 1.0), second, "it was shorter than that already");
    }
}
