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

    /// Begins a metric whose quantiles are shown in place of its buckets.
    pub(crate) fn begin_summary(&mut self, name: &str) {
        self.line(format_args!("# TYPE {name} summary"));
    }

    /// Quantiles of a histogram; each is a percentage.
    pub(crate) fn summary(
        &mut self,
        name: &str,
        labels: &LabelPairs,
        (histogram, quantiles): (&HistogramSnapshot, &[f64]),
    ) {
        for quantile in quantiles {
            let share = (quantile * 10.0).round() / 1_000.0;
            let value = histogram.quantile(share).unwrap_or(f64::NAN);
            self.series(name, "", labels, Some(("quantile", &share.to_string())));
            let value = if value.is_nan() { "nan".to_owned() } else { value.to_string() };
            self.line(format_args!(" {value}"));
        }
        self.totals(name, labels, histogram);
    }

    fn totals(&mut self, name: &str, labels: &LabelPairs, histogram: &HistogramSnapshot) {
        self.series(name, "_sum", labels, None);
        self.line(format_args!(" {}", histogram.sum()));
        self.series(name, "_count", labels, None);
        self.line(format_args!(" {}", histogram.count()));
    }

    pub(crate) fn integer(&mut self, name: &str, labels: &LabelPairs, value: u64) {
        self.series(name, "", labels, None);
        self.line(format_args!(" {value}"));
    }

    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: &LabelPairs,
        histogram: &HistogramSnapshot,
    ) {
        for (bound, count) in histogram.exposed() {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            self.series(name, "_bucket", labels, Some(("le", &bound)));
            self.line(format_args!(" {count}"));
        }
        self.totals(name, labels, histogram);
    }

    fn series(
        &mut self,
        name: &str,
        suffix: &str,
        LabelPairs(labels): &LabelPairs,
        last: Option<(&str, &str)>,
    ) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        if labels.is_empty() && last.is_none() {
            return;
        }
        self.out.push('{');
        self.out.push_str(labels);
        if let Some((label, value)) = last {
            if !labels.is_empty() {
                self.out.push(',');
            }
            self.out.push_str(label);
            self.out.push_str("=\"");
            self.out.push_str(value);
            self.out.push('"');
        }
        self.out.push('}');
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let written = self.out.write_fmt(text);
        debug_assert!(written.is_ok(), "a String takes every text");
        self.out.push('\n');
    }
}

/// Labels as they stand between the braces, escaped; made once for all metrics of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LabelPairs(String);

impl LabelPairs {
    pub(crate) fn new<V: AsRef<str>>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let mut text = String::new();
        for (name, value) in pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            escape_into(value.as_ref(), &mut text);
            text.push('"');
        }
        Self(text)
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
