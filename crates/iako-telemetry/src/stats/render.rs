//! The answers of `/stats`: text, JSON, and the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::exposition::{Exposition, LabelPairs, metric_name};
use super::query::{HistogramForm, StatsFormat, StatsQuery};
use super::{Entry, StatsRegistry, Value};
use crate::histogram::HistogramSnapshot;
use crate::metrics::MetricKind;

const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

impl StatsRegistry {
    /// The answer to `query`, with a line end at the end.
    #[must_use]
    pub fn render(&self, query: &StatsQuery) -> String {
        let mut entries = self.snapshot();
        entries.retain(|(name, entry)| query.admits(name, entry));
        match query.format {
            StatsFormat::Text => text(&entries, query.histograms),
            StatsFormat::Html => html(&text(&entries, query.histograms)),
            StatsFormat::Json => json_text(&entries, query.histograms),
            StatsFormat::Prometheus => prometheus(&entries, query.histograms),
        }
    }
}

/// Counters and gauges first, then histograms, each in order of names, as Envoy lists them.
fn text(entries: &[(String, Entry)], form: HistogramForm) -> String {
    let mut out = String::new();
    for (name, entry) in entries {
        if let Some(number) = number(&entry.value) {
            out.push_str(&format!("{name}: {number}\n"));
        }
    }
    for (name, histogram) in histograms(entries) {
        out.push_str(&format!("{name}:{}\n", histogram_text(&histogram, form)));
    }
    out
}

fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<!DOCTYPE html>\n<title>Statistics</title>\n<pre>\n{text}</pre>\n")
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

/// What stands behind the name of a histogram. Envoy shows the last interval and the whole life; we keep no
/// intervals, and show what Envoy shows of one in which nothing came.
fn histogram_text(histogram: &HistogramSnapshot, form: HistogramForm) -> String {
    if histogram.count() == 0 {
        return " No recorded values".to_owned();
    }
    match form {
        HistogramForm::Usual | HistogramForm::Summary => format!(" {}", quantiles(histogram)),
        HistogramForm::Cumulative | HistogramForm::Disjoint => {
            let shown = bounds(histogram, form);
            shown.iter().fold(String::new(), |mut text, (bound, count)| {
                // Writing to a String cannot fail.
                let _infallible = write!(text, " B{}(0,{count})", general(*bound));
                text
            })
        }
        HistogramForm::Detailed => {
            let filled: Vec<String> = histogram
                .filled()
                .map(|(lower, width, count)| {
                    format!("{},{}:{count}", rounded(lower), rounded(width))
                })
                .collect();
            let (totals, summary) = (filled.join(", "), quantiles(histogram));
            format!("\n  totals={totals}\n  intervals=\n  summary={summary}")
        }
    }
}

/// `P50(nan,1.5)`.
fn quantiles(histogram: &HistogramSnapshot) -> String {
    let shown = QUANTILES.iter().map(|quantile| {
        let value = histogram.quantile(quantile / 100.0).unwrap_or(f64::NAN);
        format!("P{quantile}(nan,{})", rounded(value))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The bounds that are shown, but the infinite one, and how many values belong to each.
fn bounds(histogram: &HistogramSnapshot, form: HistogramForm) -> Vec<(f64, u64)> {
    let mut shown = histogram.exposed();
    shown.retain(|(bound, _)| bound.is_finite());
    if form == HistogramForm::Disjoint {
        let mut below = 0;
        for (_, count) in &mut shown {
            let upto = std::mem::replace(&mut below, *count);
            *count = count.saturating_sub(upto);
        }
    }
    shown
}

/// A number in its shortest form of six places, as C's `%g`: `0.5`, `600000`, `1.8e+06`.
fn general(number: f64) -> String {
    if number < 1e6 {
        return format!("{}", (number * 1e6).round() / 1e6);
    }
    let text = format!("{number:.5e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}e+{exponent:0>2}")
}

/// Four significant places are more than the buckets know.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// A number without a fraction is a whole one.
fn plain(number: f64) -> Json {
    serde_json::from_str(&number.to_string()).unwrap_or_default()
}

fn json_text(entries: &[(String, Entry)], form: HistogramForm) -> String {
    let mut stats: Vec<Json> = entries
        .iter()
        .filter_map(|(name, entry)| Some(json!({"name": name, "value": number(&entry.value)?})))
        .collect();
    let shown: Vec<Json> = histograms(entries)
        .map(|(name, histogram)| histogram_json(name, &histogram, form))
        .collect();
    if !shown.is_empty() {
        let shown = match form {
            HistogramForm::Usual | HistogramForm::Summary => {
                json!({"supported_quantiles": QUANTILES.map(plain), "computed_quantiles": shown})
            }
            HistogramForm::Cumulative | HistogramForm::Disjoint => Json::Array(shown),
            HistogramForm::Detailed => {
                json!({"supported_percentiles": QUANTILES.map(plain), "details": shown})
            }
        };
        stats.push(json!({"histograms": shown}));
    }
    format!("{}\n", json!({"stats": stats}))
}

fn histogram_json(name: &str, histogram: &HistogramSnapshot, form: HistogramForm) -> Json {
    let quantiles = || {
        QUANTILES.map(|quantile| {
            let cumulative = histogram.quantile(quantile / 100.0).map(rounded);
            json!({"interval": null, "cumulative": cumulative})
        })
    };
    match form {
        HistogramForm::Usual | HistogramForm::Summary => {
            json!({"name": name, "values": quantiles()})
        }
        HistogramForm::Cumulative | HistogramForm::Disjoint => {
            let buckets = bounds(histogram, form).into_iter().map(
                |(bound, count)| json!({"upper_bound": plain(bound), "interval": 0, "cumulative": count}),
            );
            json!({"name": name, "buckets": buckets.collect::<Vec<_>>()})
        }
        HistogramForm::Detailed => {
            let totals = histogram.filled().map(|(lower, width, count)| {
                json!({"lower_bound": plain(rounded(lower)), "width": plain(rounded(width)), "count": count})
            });
            json!({
                "name": name,
                "totals": totals.collect::<Vec<_>>(),
                "intervals": [],
                "percentiles": quantiles(),
            })
        }
    }
}

/// One series: the labels and the statistic.
type Labelled<'a> = (LabelPairs, &'a Value);

fn prometheus(entries: &[(String, Entry)], form: HistogramForm) -> String {
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
        let is_summary = form == HistogramForm::Summary && kind(first) == MetricKind::Histogram;
        if is_summary {
            text.begin_summary(name);
        } else {
            text.begin_name(name, kind(first));
        }
        // A name is of one kind: a scope makes each leaf once, and leaves are constants.
        for (labels, value) in series.iter().filter(|(_, value)| kind(value) == kind(first)) {
            match value {
                Value::Histogram(histogram) if is_summary => {
                    text.summary(name, labels, (&histogram.snapshot(), &QUANTILES));
                }
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
