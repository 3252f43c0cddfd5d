//! One statistic, as operators see it.

use super::exposition::metric_name;
use crate::metrics::MetricKind;

/// One statistic, as operators see it.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Prefix with the variable part in angle brackets, such as `cluster.<name>`.
    pub scope: &'static str,
    /// The name after the prefix.
    pub leaf: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// What it counts.
    pub meaning: &'static str,
}

impl Stat {
    /// The row of the page of metrics.
    pub(crate) fn row(&self) -> String {
        let fixed = self.scope.split('.').filter(|part| !part.starts_with('<'));
        let family = fixed.collect::<Vec<_>>().join(".");
        let leaf = self.leaf.replace("<class>xx", "xx");
        format!(
            "| `{}.{}` | `envoy_{}_{}` | {} | {} |\n",
            self.scope,
            self.leaf,
            metric_name(&family),
            metric_name(&leaf),
            self.kind.name(),
            self.meaning
        )
    }
}
