//! What the proxy does when it runs short of something.

use std::num::NonZeroU64;

use iako_xds_api::envoy::config::overload::v3 as pb;
use iako_xds_api::envoy::extensions::resource_monitors as monitors;
use prost::Name as _;

use super::wire;
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Deed, Least, LoadShedPoint, Measure, OverloadAction, OverloadManager, OverloadTrigger,
    ResourceMonitor, ScaledTimer, ShedPlace, Timer, TrackedFrom, TriggerRule,
};

pub(super) fn overload_manager(
    config: &pb::OverloadManager,
    at: &At<'_>,
) -> Result<OverloadManager, Fault> {
    let at_refresh = at.field("refresh_interval");
    let refresh =
        wire::duration_or(config.refresh_interval.as_ref(), OverloadManager::REFRESH, &at_refresh)?;
    let mut value = OverloadManager {
        refresh: wire::positive(refresh, &at_refresh)?,
        monitors: Vec::new(),
        connections_max: None,
        actions: Vec::new(),
        load_shed: Vec::new(),
        tracked: tracked(config.buffer_factory_config.as_ref(), at)?,
    };
    let at_monitors = at.field("resource_monitors");
    for (index, config) in config.resource_monitors.iter().enumerate() {
        monitor(config, &mut value, &at_monitors.index(index))?;
    }
    let at_actions = at.field("actions");
    for (index, config) in config.actions.iter().enumerate() {
        action(config, &mut value, &at_actions.index(index))?;
    }
    let at_points = at.field("loadshed_points");
    for (index, config) in config.loadshed_points.iter().enumerate() {
        let at = at_points.index(index);
        let Some(place) = ShedPlace::ALL.into_iter().find(|place| place.name() == config.name)
        else {
            at.field("name").warn(format!("nothing is turned away at `{}` here", config.name));
            continue;
        };
        if value.load_shed.iter().any(|earlier| earlier.place == place) {
            return Err(twice(&config.name, &at));
        }
        let triggers = triggers(&config.triggers, &value.monitors, &at.field("triggers"))?;
        value.load_shed.push(LoadShedPoint { place, triggers });
    }
    Ok(value)
}

/// From where on the memory of streams is looked at.
fn tracked(
    config: Option<&pb::BufferFactoryConfig>,
    at: &At<'_>,
) -> Result<Option<TrackedFrom>, Fault> {
    let Some(config) = config else { return Ok(None) };
    let tracked = TrackedFrom::power_of_two(config.minimum_account_to_track_power_of_two);
    tracked.map(Some).ok_or_else(|| {
        let (least, most) = (TrackedFrom::LEAST, TrackedFrom::MOST);
        let at = at.field("buffer_factory_config");
        at.field("minimum_account_to_track_power_of_two").invalid(
            format!("must be from {least} to {most}"),
            "write the power of two of the bytes from which on a stream is tracked",
        )
    })
}

fn twice(name: &str, at: &At<'_>) -> Fault {
    at.field("name").invalid(format!("`{name}` is used twice"), "write it once")
}

fn monitor(
    config: &pb::ResourceMonitor,
    value: &mut OverloadManager,
    at: &At<'_>,
) -> Result<(), Fault> {
    use monitors::downstream_connections::v3::DownstreamConnectionsConfig;
    use pb::resource_monitor::ConfigType;
    let at_config = at.field("typed_config");
    let Some(ConfigType::TypedConfig(any)) = &config.config_type else {
        return Err(at_config.missing("write the monitor's settings with `@type`"));
    };
    if value.monitors.iter().any(|earlier| earlier.name == config.name) {
        return Err(twice(&config.name, at));
    }
    if pool::full_name(&any.type_url) == DownstreamConnectionsConfig::full_name() {
        if value.connections_max.is_some() {
            return Err(twice(&config.name, at));
        }
        let settings: DownstreamConnectionsConfig = wire::unpack(any, &at_config)?;
        let at = at_config.field("max_active_downstream_connections");
        let most = u64::try_from(settings.max_active_downstream_connections).ok();
        let most = most.filter(|most| *most > 0);
        let help = "write a whole number from 1";
        value.connections_max = Some(most.ok_or_else(|| at.invalid("must be at least 1", help))?);
        return Ok(());
    }
    let measure = measure(&config.name, any, &at_config)?;
    value.monitors.push(ResourceMonitor { name: config.name.clone(), measure });
    Ok(())
}

fn measure(name: &str, any: &prost_types::Any, at: &At<'_>) -> Result<Measure, Fault> {
    use monitors::cgroup_memory::v3::CgroupMemoryConfig;
    use monitors::cpu_utilization::v3::{CpuUtilizationConfig, cpu_utilization_config};
    use monitors::fixed_heap::v3::FixedHeapConfig;
    use monitors::injected_resource::v3::InjectedResourceConfig;
    let kind = pool::full_name(&any.type_url);
    if kind == FixedHeapConfig::full_name() {
        let settings: FixedHeapConfig = wire::unpack(any, at)?;
        let at = at.field("max_heap_size_bytes");
        let bytes_max = wire::non_zero_long(settings.max_heap_size_bytes, &at)?;
        return Ok(Measure::Heap { bytes_max });
    }
    if kind == CgroupMemoryConfig::full_name() {
        let settings: CgroupMemoryConfig = wire::unpack(any, at)?;
        let bytes_max = NonZeroU64::new(settings.max_memory_bytes);
        return Ok(Measure::ContainerMemory { bytes_max });
    }
    if kind == CpuUtilizationConfig::full_name() {
        use cpu_utilization_config::UtilizationComputeStrategy as Mode;
        let settings: CpuUtilizationConfig = wire::unpack(any, at)?;
        return Ok(match wire::known::<Mode>(settings.mode, &at.field("mode"))? {
            Mode::Host => Measure::MachineCpu,
            Mode::Container => Measure::ContainerCpu,
        });
    }
    if kind == InjectedResourceConfig::full_name() {
        let settings: InjectedResourceConfig = wire::unpack(any, at)?;
        if settings.filename.is_empty() {
            return Err(at.field("filename").missing("name the file that holds the number"));
        }
        return Ok(Measure::File(settings.filename.into()));
    }
    let problem = format!("the resource monitor `{name}` ({kind}) is not supported");
    let help = "use fixed_heap, cgroup_memory, cpu_utilization, injected_resource or \
                downstream_connections";
    Err(at.invalid(problem, help))
}

fn action(
    config: &pb::OverloadAction,
    value: &mut OverloadManager,
    at: &At<'_>,
) -> Result<(), Fault> {
    let deed = deed(config, at)?;
    if deed == Deed::ResetStreams && value.tracked.is_none() {
        let problem = format!("`{}` needs to know which streams are tracked", config.name);
        let help = "write `buffer_factory_config` beside the actions";
        return Err(at.field("name").invalid(problem, help));
    }
    if value.actions.iter().any(|earlier| earlier.deed.name() == deed.name()) {
        return Err(twice(&config.name, at));
    }
    let triggers = triggers(&config.triggers, &value.monitors, &at.field("triggers"))?;
    value.actions.push(OverloadAction { deed, triggers });
    Ok(())
}

fn deed(config: &pb::OverloadAction, at: &At<'_>) -> Result<Deed, Fault> {
    let at_config = at.field("typed_config");
    let plain = [
        Deed::StopAcceptingRequests,
        Deed::DisableKeepalive,
        Deed::StopAcceptingConnections,
        Deed::RejectConnections,
        Deed::ShrinkHeap,
        Deed::ResetStreams,
        Deed::CloseIdle,
    ];
    if let Some(deed) = plain.into_iter().find(|deed| deed.name() == config.name) {
        if config.typed_config.is_some() && deed != Deed::ShrinkHeap {
            return Err(at_config.invalid("this action has no settings", "remove them"));
        }
        return Ok(deed);
    }
    if config.name == Deed::ReduceTimeouts(Vec::new()).name() {
        let any = config.typed_config.as_ref();
        let any = any.ok_or_else(|| at_config.missing("say which times get shorter"))?;
        return timers(&wire::unpack(any, &at_config)?, &at_config).map(Deed::ReduceTimeouts);
    }
    let problem = format!("`{}` is not an action", config.name);
    Err(at.field("name").invalid(problem, "use one of those of docs/xds-support.md"))
}

fn timers(
    config: &pb::ScaleTimersOverloadActionConfig,
    at: &At<'_>,
) -> Result<Vec<ScaledTimer>, Fault> {
    use pb::scale_timers_overload_action_config::{TimerType, scale_timer::OverloadAdjust};
    let at = at.field("timer_scale_factors");
    if config.timer_scale_factors.is_empty() {
        return Err(at.missing("name at least one time"));
    }
    wire::list(&config.timer_scale_factors, &at, |config, at| {
        let at_timer = at.field("timer");
        let timer = match wire::known::<TimerType>(config.timer, &at_timer)? {
            TimerType::Unspecified => return Err(at_timer.missing("say which time it is")),
            TimerType::HttpDownstreamConnectionIdle => Timer::ConnectionIdle,
            TimerType::HttpDownstreamStreamIdle => Timer::StreamIdle,
            TimerType::TransportSocketConnect => Timer::Handshake,
            TimerType::HttpDownstreamConnectionMax => Timer::ConnectionAge,
            TimerType::HttpDownstreamStreamFlush => Timer::StreamFlush,
        };
        let least = match &config.overload_adjust {
            None => return Err(at.missing("write `min_timeout` or `min_scale`")),
            Some(OverloadAdjust::MinTimeout(time)) => {
                Least::Time(wire::duration(time, &at.field("min_timeout"))?)
            }
            Some(OverloadAdjust::MinScale(share)) => {
                let at = at.field("min_scale");
                let share = wire::percent(share.value, &at.field("value"))?;
                Least::Share { millionths: share.parts_per_million() }
            }
        };
        Ok(ScaledTimer { timer, least })
    })
}

fn triggers(
    config: &[pb::Trigger],
    monitors: &[ResourceMonitor],
    at: &At<'_>,
) -> Result<Vec<OverloadTrigger>, Fault> {
    if config.is_empty() {
        return Err(at.missing("say when it is done"));
    }
    let mut triggers: Vec<OverloadTrigger> = Vec::new();
    for (index, config) in config.iter().enumerate() {
        let at = at.index(index);
        let at_name = at.field("name");
        let monitor = monitors.iter().position(|monitor| monitor.name == config.name);
        let monitor = monitor.ok_or_else(|| {
            let problem = format!("`{}` is not among the resource monitors", config.name);
            at_name.invalid(problem, "name one that measures a share")
        })?;
        if triggers.iter().any(|earlier| earlier.monitor == monitor) {
            return Err(twice(&config.name, &at));
        }
        triggers.push(OverloadTrigger { monitor, rule: rule(config, &at)? });
    }
    Ok(triggers)
}

fn rule(config: &pb::Trigger, at: &At<'_>) -> Result<TriggerRule, Fault> {
    use pb::trigger::TriggerOneof;
    let share = |value: f64, at: At<'_>| {
        let is_share = (0.0..=1.0).contains(&value);
        let problem = format!("{value} is not a share");
        is_share.then_some(value).ok_or_else(|| at.invalid(problem, "write a number from 0 to 1"))
    };
    match &config.trigger_oneof {
        None => Err(at.missing("write `threshold` or `scaled`")),
        Some(TriggerOneof::Threshold(threshold)) => {
            let at = at.field("threshold");
            Ok(TriggerRule::Threshold(share(threshold.value, at.field("value"))?))
        }
        Some(TriggerOneof::Scaled(scaled)) => {
            let at = at.field("scaled");
            let from = share(scaled.scaling_threshold, at.field("scaling_threshold"))?;
            let to = share(scaled.saturation_threshold, at.field("saturation_threshold"))?;
            if from >= to {
                let problem = "`scaling_threshold` must be less than `saturation_threshold`";
                return Err(at.invalid(problem, "leave room between them"));
            }
            Ok(TriggerRule::Scaled { from, to })
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bootstrap;

    const MANAGER: &str = r#"
overload_manager:
  refresh_interval: 0.25s
  buffer_factory_config: {minimum_account_to_track_power_of_two: 20}
  resource_monitors:
  - name: heap
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
      max_heap_size_bytes: 1000
  - name: file
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig
      filename: /tmp/pressure
  - name: connections
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
      max_active_downstream_connections: 7
  actions:
  - name: envoy.overload_actions.stop_accepting_requests
    triggers: [{name: heap, threshold: {value: 0.95}}, {name: file, scaled: {scaling_threshold: 0.5, saturation_threshold: 0.75}}]
  - name: envoy.overload_actions.reset_high_memory_stream
    triggers: [{name: heap, threshold: {value: 0.98}}]
  - name: envoy.overload_actions.reduce_timeouts
    triggers: [{name: file, threshold: {value: 0.5}}]
    typed_config:
      "@type": type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig
      timer_scale_factors:
      - {timer: HTTP_DOWNSTREAM_CONNECTION_IDLE, min_timeout: 2s}
      - {timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_scale: {value: 10}}
  loadshed_points:
  - name: envoy.load_shed_points.tcp_listener_accept
    triggers: [{name: file, threshold: {value: 0.5}}]
"#;

    #[test]
    fn a_manager_is_read_whole() {
        use super::*;
        let (value, _warnings) = bootstrap::parse("b.yaml", MANAGER).unwrap();
        let manager = value.overload.unwrap();
        assert_eq!(manager.refresh.as_millis(), 250);
        assert_eq!(manager.connections_max, Some(7));
        assert_eq!(manager.tracked.map(TrackedFrom::power), Some(20));
        let names: Vec<&str> = manager.monitors.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["heap", "file"]);
        let scaled = TriggerRule::Scaled { from: 0.5, to: 0.75 };
        assert_eq!(manager.actions[0].deed, Deed::StopAcceptingRequests);
        assert_eq!(
            manager.actions[0].triggers,
            [
                OverloadTrigger { monitor: 0, rule: TriggerRule::Threshold(0.95) },
                OverloadTrigger { monitor: 1, rule: scaled },
            ]
        );
        let timers = [
            ScaledTimer {
                timer: Timer::ConnectionIdle,
                least: Least::Time(std::time::Duration::from_secs(2)),
            },
            ScaledTimer { timer: Timer::StreamIdle, least: Least::Share { millionths: 100_000 } },
        ];
        assert_eq!(manager.actions[2].deed, Deed::ReduceTimeouts(timers.to_vec()));
        assert_eq!(manager.load_shed[0].place, ShedPlace::Accept);
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        for (from, to, told) in [
            ("{name: heap, threshold", "{name: heep, threshold", "not among the resource monitors"),
            ("scaling_threshold: 0.5", "scaling_threshold: 0.75", "must be less"),
            ("value: 0.95", "value: 1.5", "not a share"),
            ("stop_accepting_requests", "stop_everything", "is not an action"),
            ("power_of_two: 20", "power_of_two: 9", "from 10 to 56"),
            (
                "  buffer_factory_config: {minimum_account_to_track_power_of_two: 20}\n",
                "",
                "streams are tracked",
            ),
            ("name: file\n", "name: heap\n", "is used twice"),
            ("max_heap_size_bytes: 1000", "max_heap_size_bytes: 0", "at least 1"),
            ("downstream_connections: 7", "downstream_connections: 0", "at least 1"),
        ] {
            let file = MANAGER.replacen(from, to, 1);
            assert_ne!(file, MANAGER, "{from}");
            let error = bootstrap::parse("b.yaml", &file).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("overload_manager"), "{error}");
        }
    }
}
