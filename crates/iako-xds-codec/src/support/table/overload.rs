//! What is done when the proxy runs short of something.

use crate::support::MessageSupport;

/// A message of which every field is honoured.
const fn whole(name: &'static str, honoured: &'static [&'static str]) -> MessageSupport {
    MessageSupport { name, honoured, warned: &[], refused: &[] }
}

pub(super) const MESSAGES: &[MessageSupport] = &[
    whole(
        "envoy.config.overload.v3.OverloadManager",
        &[
            "refresh_interval",
            "resource_monitors",
            "actions",
            "loadshed_points",
            "buffer_factory_config",
        ],
    ),
    whole(
        "envoy.config.overload.v3.BufferFactoryConfig",
        &["minimum_account_to_track_power_of_two"],
    ),
    whole("envoy.config.overload.v3.ResourceMonitor", &["name", "typed_config"]),
    whole("envoy.config.overload.v3.OverloadAction", &["name", "triggers", "typed_config"]),
    whole("envoy.config.overload.v3.LoadShedPoint", &["name", "triggers"]),
    whole("envoy.config.overload.v3.Trigger", &["name", "threshold", "scaled"]),
    whole("envoy.config.overload.v3.ThresholdTrigger", &["value"]),
    whole("envoy.config.overload.v3.ScaledTrigger", &["scaling_threshold", "saturation_threshold"]),
    whole("envoy.config.overload.v3.ScaleTimersOverloadActionConfig", &["timer_scale_factors"]),
    whole(
        "envoy.config.overload.v3.ScaleTimersOverloadActionConfig.ScaleTimer",
        &["timer", "min_timeout", "min_scale"],
    ),
    MessageSupport {
        name: "envoy.config.overload.v3.ShrinkHeapConfig",
        honoured: &[],
        warned: &[(
            "memory is given back when the action is due, whatever is unused",
            &["timer_interval", "max_unfreed_memory_bytes"],
        )],
        refused: &[],
    },
    whole(
        "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
        &["filename"],
    ),
    MessageSupport {
        name: "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        honoured: &["max_heap_size_bytes"],
        warned: &[],
        refused: &[("the size is fixed at the start", &["max_heap_size_bytes_runtime"])],
    },
    whole(
        "envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig",
        &["max_memory_bytes"],
    ),
    whole("envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig", &["mode"]),
    whole(
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        &["max_active_downstream_connections"],
    ),
];
