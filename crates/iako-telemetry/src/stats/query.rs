//! What is asked of `/stats`.

use regex::{Regex, RegexBuilder};

use super::{Entry, Value};

/// Memory that a filter's compiled pattern may take: an operator's pattern is small.
const PATTERN_BYTES_MAX: usize = 1 << 20;

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
    /// The same lines as a page for people. Source: `html` and `active-html`.
    Html,
}

/// How a histogram is shown. Source: `histogram_buckets=` of `/stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramForm {
    /// Quantiles; to Prometheus its buckets, as nobody asked for anything.
    #[default]
    Usual,
    /// Quantiles, to Prometheus too.
    Summary,
    /// How many values lie at or below each bound.
    Cumulative,
    /// How many values lie between two bounds.
    Disjoint,
    /// The finest buckets there are, and quantiles.
    Detailed,
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
    /// How histograms are shown.
    pub histograms: HistogramForm,
    /// Whether only hidden statistics are wanted; there are none.
    pub hidden_only: bool,
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
                "histogram_buckets" => query.histograms = histogram_form(value)?,
                "hidden" => query.hidden_only = hidden_only(value)?,
                _ => {}
            }
        }
        let is_shown = match query.histograms {
            HistogramForm::Usual | HistogramForm::Summary | HistogramForm::Cumulative => true,
            HistogramForm::Disjoint | HistogramForm::Detailed => {
                query.format != StatsFormat::Prometheus
            }
        };
        is_shown.then_some(query).ok_or_else(|| {
            "unsupported prometheus histogram bucket mode: use cumulative or summary".to_owned()
        })
    }

    pub(super) fn admits(&self, name: &str, entry: &Entry) -> bool {
        let named = |filter: &Regex| filter.is_match(name) != self.invert_filter;
        !self.hidden_only
            && self.filter.as_ref().is_none_or(named)
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
        "html" | "active-html" => Ok(StatsFormat::Html),
        other => Err(format!(
            "format '{other}' is unknown: use text, json, prometheus, html or active-html"
        )),
    }
}

fn histogram_form(text: &str) -> Result<HistogramForm, String> {
    match text {
        "" | "none" => Ok(HistogramForm::Usual),
        "summary" => Ok(HistogramForm::Summary),
        "cumulative" => Ok(HistogramForm::Cumulative),
        "disjoint" => Ok(HistogramForm::Disjoint),
        "detailed" => Ok(HistogramForm::Detailed),
        other => Err(format!(
            "histogram_buckets '{other}' is unknown: use summary, cumulative, disjoint or detailed"
        )),
    }
}

/// Whether only hidden statistics are meant: nothing is hidden here.
fn hidden_only(text: &str) -> Result<bool, String> {
    match text {
        "include" | "exclude" => Ok(false),
        "only" => Ok(true),
        other => Err(format!("hidden '{other}' is unknown: use include, only or exclude")),
    }
}

fn is_unused(value: &Value) -> bool {
    match value {
        Value::Counter(counter) => counter.value() == 0,
        Value::Gauge(gauge) => gauge.value() == 0,
        Value::Histogram(histogram) => histogram.snapshot().count() == 0,
    }
}
