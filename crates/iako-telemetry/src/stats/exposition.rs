//! The text format of Prometheus, version 0.0.4: lines, labels, escapes.

use std::fmt::Write;

use crate::histogram::HistogramSnapshot;
use crate::metrics::{Metric, MetricKind};

/// Writes metrics one after the other. A metric begins with its `# TYPE` line; all its series
/// follow before the next metric begins, as the format demands.
pub(crate) struct Exposition<'a> {
    out: &'a mut String,
}

impl<'a> Exposition<'a> {
    pub(crate) fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    pub(crate) fn begin(&mut self, metric: &Metric) {
        self.begin_name(metric.name, metric.kind);
    }

    pub(crate) fn begin_name(&mut self, name: &str, kind: MetricKind) {
        self.line(format_args!("# TYPE {name} {}", kind.name()));
    }

    pub(crate) fn integer(&mut self, name: &str, labels: &[(&'static str, String)], value: u64) {
        self.out.push_str(name);
        self.labels(labels, None);
        self.line(format_args!(" {value}"));
    }

    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&'static str, String)],
        histogram: &HistogramSnapshot,
    ) {
        for (bound, count) in histogram.exposed() {
            self.out.push_str(name);
            self.out.push_str("_bucket");
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            self.labels(labels, Some(&bound));
            self.line(format_args!(" {count}"));
        }
        for (suffix, value) in
            [("_sum", histogram.sum().to_string()), ("_count", histogram.count().to_string())]
        {
            self.out.push_str(name);
            self.out.push_str(suffix);
            self.labels(labels, None);
            self.line(format_args!(" {value}"));
        }
    }

    fn labels(&mut self, labels: &[(&'static str, String)], bound: Option<&str>) {
        let bound = bound.map(|bound| ("le", bound));
        let all = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(bound);
        let mut separator = '{';
        for (name, value) in all {
            self.out.push(separator);
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape_into(value, self.out);
            self.out.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let written = self.out.write_fmt(text);
        debug_assert!(written.is_ok(), "a String takes every text");
        self.out.push('\n');
    }
}

/// A label's value between its quotes: backslash, quote and line end are escaped.
fn escape_into(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// A metric's name: everything outside `[a-zA-Z0-9_:]` becomes an underscore.
pub(crate) fn metric_name(name: &str) -> String {
    let keep = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars().map(|character| if keep(character) { character } else { '_' }).collect()
}
