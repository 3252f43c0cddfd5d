//! What an instance reports of its load.

use std::collections::BTreeMap;

/// What an instance reports of its load (ORCA). Source: `xds.data.orca.v3.OrcaLoadReport`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// Use of the processor; 1 is all of it.
    pub cpu_utilization: f64,
    /// Use of memory, from 0 to 1.
    pub mem_utilization: f64,
    /// Use of what the application finds scarce; 1 is all of it.
    pub application_utilization: f64,
    /// Requests a second.
    pub rps_fractional: f64,
    /// Errors a second.
    pub eps: f64,
    /// Use of resources by name.
    pub utilization: BTreeMap<String, f64>,
    /// Costs of this request by name.
    pub request_cost: BTreeMap<String, f64>,
    /// Other numbers by name.
    pub named_metrics: BTreeMap<String, f64>,
}

impl LoadReport {
    /// The greatest number of a name: of a field, of a map's entry such as `named_metrics.queue`, or
    /// of all its entries, `named_metrics.*`. Zero when there is none.
    #[must_use]
    pub fn greatest(&self, name: &str) -> f64 {
        match name {
            "cpu_utilization" => return self.cpu_utilization,
            "mem_utilization" => return self.mem_utilization,
            "application_utilization" => return self.application_utilization,
            _ => {}
        }
        let (values, key) = match name.split_once('.') {
            Some(("utilization", key)) => (&self.utilization, key),
            Some(("request_cost", key)) => (&self.request_cost, key),
            Some(("named_metrics", key)) => (&self.named_metrics, key),
            _ => return 0.0,
        };
        match key {
            "*" => values.values().copied().fold(0.0, f64::max),
            _ => values.get(key).copied().unwrap_or_default(),
        }
    }
}
