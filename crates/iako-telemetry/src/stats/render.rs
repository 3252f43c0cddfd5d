//! The answers of `/stats`: text, JSON, and the text format of Prometheus.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Value as Json, json};

use super::exposition::{Exposition, LabelPairs, metric_name};
use super::{Entry, StatsRegistry, Value};
use crate::histogram::HistogramSnapshot;
use crate::metrics::MetricKind;

/// Memory that a filter's compiled pattern may take: an operator's pattern is small.
const PATTERN_BYTES_MAX: usize = 1 << 20;

const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// The form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsFormat {
    /// `name: value` lines.
    #[default]
    Text,
    /// Envoy's JSON.
    Json,
    /// The text format of Prometheus.
    Prometheus,
}

/// A kind of statistic. Source: `type=` of `/stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsKind {
    /// Numbers that only grow.
    Counters,
    /// Numbers that come and go.
    Gauges,
    /// Distributions.
    Histograms,
    /// Texts; there are none.
    TextReadouts,
}

/// What is asked of `/stats`: the query string `filter=…&usedonly&format=…`.
#[derive(Clone, Debug, Default)]
pub struct StatsQuery {
    /// Only names in which this pattern is found.
    pub filter: Option<Regex>,
    /// Whether only the other names are wanted.
    pub invert_filter: bool,
    /// Only statistics that are not zero.
    pub used_only: bool,
    /// Only statistics of this kind; all when absent.
    pub kind: Option<StatsKind>,
    /// The form of the answer.
    pub format: StatsFormat,
}

impl StatsQuery {
    /// Reads the decoded pairs of a query string. Unknown names are ignored, as Envoy does.
    ///
    /// # Errors
    /// A sentence for the person who asked, when the pattern or the format is not understood.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut query = Self::default();
        for (name, value) in pairs {
            match name {
                "usedonly" => query.used_only = true,
                "filter" => query.filter = Some(pattern(value)?),
                "invert_filter" => query.invert_filter = true,
                "type" => query.kind = stats_kind(value)?,
                "format" => query.format = format(value)?,
                _ => {}
            }
        }
        Ok(query)
    }

    fn admits(&self, name: &str, entry: &Entry) -> bool {
        let named = |filter: &Regex| filter.is_match(name) != self.invert_filter;
        self.filter.as_ref().is_none_or(named)
            && !(self.used_only && is_unused(&entry.value))
            && self.kind.is_none_or(|kind| kind == kind_of(&entry.value))
    }
}

const fn kind_of(value: &Value) -> StatsKind {
    match value {
        Value::Counter(_) => StatsKind::Counters,
        Value::Gauge(_) => StatsKind::Gauges,
        Value::Histogram(_) => StatsKind::Histograms,
    }
}

/// A kind; none for all of them.
fn stats_kind(word: &str) -> Result<Option<StatsKind>, String> {
    match word {
        "" | "All" => Ok(None),
        "Counters" => Ok(Some(StatsKind::Counters)),
        "Gauges" => Ok(Some(StatsKind::Gauges)),
        "Histograms" => Ok(Some(StatsKind::Histograms)),
        "TextReadouts" => Ok(Some(StatsKind::TextReadouts)),
        other => Err(format!(
            "type '{other}' is unknown: use All, Counters, Gauges, Histograms or TextReadouts"
        )),
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| format!("filter is no valid regular expression: {error}"))
}

fn format(text: &str) -> Result<StatsFormat, String> {
    match text {
        "text" => Ok(StatsFormat::Text),
        "json" => Ok(StatsFormat::Json),
        "prometheus" => Ok(StatsFormat::Prometheus),
        other => Err(format!("format '{other}' is unknown: use text, json or prometheus")),
    }
}

fn is_unused(value: &Value) -> bool {
    match value {
        Value::Counter(counter) => counter.value() == 0,
        Value::Gauge(gauge) => gauge.value() == 0,
        Value::Histogram(histogram) => histogram.snapshot().count() == 0,
    }
}

impl StatsRegistry {
    /// The answer to `query`, with a line end at the end.
    #[must_use]
    pub fn render(&self, query: &StatsQuery) -> String {
        let mut entries = self.snapshot();
        entries.retain(|(name, entry)| query.admits(name, entry));
        match query.format {
            StatsFormat::Text => text(&entries),
            StatsFormat::Json => json_text(&entries),
            StatsFormat::Prometheus => prometheus(&entries),
        }
    }
}

/// Counters and gauges first, then histograms, each in order of names, as Envoy lists them.
fn text(entries: &[(String, Entry)]) -> String {
    let mut out = String::new();
    for (name, entry) in entries {
        if let Some(number) = number(&entry.value) {
            out.push_str(&format!("{name}: {number}\n"));
        }
    }
    for (name, histogram) in histograms(entries) {
        out.push_str(&format!("{name}: {}\n", quantiles(&histogram)));
    }
    out
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Counter(counter) => Some(counter.value()),
        Value::Gauge(gauge) => Some(gauge.value()),
        Value::Histogram(_) => None,
    }
}

fn histograms(entries: &[(String, Entry)]) -> impl Iterator<Item = (&str, HistogramSnapshot)> {
    entries.iter().filter_map(|(name, entry)| match &entry.value {
        Value::Histogram(histogram) => Some((name.as_str(), histogram.snapshot())),
        Value::Counter(_) | Value::Gauge(_) => None,
    })
}

/// `P50(nan,1.5)`: Envoy shows the last interval and the whole life; we keep no intervals.
fn quantiles(histogram: &HistogramSnapshot) -> String {
    if histogram.count() == 0 {
        return "No recorded values".to_owned();
    }
    let shown = QUANTILES.iter().map(|quantile| {
        let value = histogram.quantile(quantile / 100.0).unwrap_or(f64::NAN);
        format!("P{quantile}(nan,{})", rounded(value))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Four significant places are more than the buckets know.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn json_text(entries: &[(String, Entry)]) -> String {
    let mut stats: Vec<Json> = entries
        .iter()
        .filter_map(|(name, entry)| Some(json!({"name": name, "value": number(&entry.value)?})))
        .collect();
    let computed: Vec<Json> = histograms(entries)
        .map(|(name, histogram)| {
            let values = QUANTILES.map(|quantile| {
                json!({
                    "interval": null,
                    "cumulative": histogram.quantile(quantile / 100.0).map(rounded),
                })
            });
            json!({"name": name, "values": values})
        })
        .collect();
    if !computed.is_empty() {
        stats.push(json!({"histograms": {
            "supported_quantiles": QUANTILES,
            "computed_quantiles": computed,
        }}));
    }
    format!("{}\n", json!({"stats": stats}))
}

/// One series: the labels and the statistic.
type Labelled<'a> = (LabelPairs, &'a Value);

fn prometheus(entries: &[(String, Entry)]) -> String {
    // All series of a metric stand together, so they are gathered by metric name first.
    let mut metrics: BTreeMap<String, Vec<Labelled<'_>>> = BTreeMap::new();
    for (_, entry) in entries {
        let (leaf, response) = response_label(&entry.leaf);
        let name = format!("{}{}", entry.place.prometheus, metric_name(&leaf));
        let labels =
            LabelPairs::new(response.into_iter().chain(entry.place.labels.iter().cloned()));
        metrics.entry(name).or_default().push((labels, &entry.value));
    }
    let mut out = String::new();
    let mut text = Exposition::new(&mut out);
    for (name, series) in &metrics {
        let Some((_, first)) = series.first() else { continue };
        text.begin_name(name, kind(first));
        // A name is of one kind: a scope makes each leaf once, and leaves are constants.
        for (labels, value) in series.iter().filter(|(_, value)| kind(value) == kind(first)) {
            match value {
                Value::Histogram(histogram) => {
                    text.histogram(name, labels, &histogram.snapshot());
                }
                Value::Counter(counter) => text.integer(name, labels, counter.value()),
                Value::Gauge(gauge) => text.integer(name, labels, gauge.value()),
            }
        }
    }
    out
}

fn kind(value: &Value) -> MetricKind {
    match value {
        Value::Counter(_) => MetricKind::Counter,
        Value::Gauge(_) => MetricKind::Gauge,
        Value::Histogram(_) => MetricKind::Histogram,
    }
}

/// Envoy takes status codes out of names: `upstream_rq_2xx` is `upstream_rq_xx` with a label for
/// the class, `upstream_rq_404` is `upstream_rq` with a label for the code.
fn response_label(leaf: &str) -> (String, Option<(&'static str, String)>) {
    let plain = || (leaf.to_owned(), None);
    let Some((stem, code)) = leaf.rsplit_once('_').filter(|(stem, _)| stem.ends_with("_rq")) else {
        return plain();
    };
    match code.as_bytes() {
        [class @ b'1'..=b'5', b'x', b'x'] => {
            let class = char::from(*class).to_string();
            (format!("{stem}_xx"), Some(("envoy_response_code_class", class)))
        }
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
            (stem.to_owned(), Some(("envoy_response_code", code.to_owned())))
        }
        _ => plain(),
    }
}
