//! The plots: costs as bars, latency over rates as lines.

use super::number::short;
use super::svg::{Anchor, Svg};
use super::targets;
use crate::contender::Contender::{self, Direct, Envoy, Haproxy, Iako, Nginx};
use crate::results::{Metric, Results};
use crate::scenario::{Scenario, Work};

const PROXIES: [Contender; 4] = [Iako, Envoy, Haproxy, Nginx];
const WIDTH: f64 = 760.0;
const BAR: f64 = 16.0;

/// Names and pictures of everything that was measured.
pub(super) fn all(scenarios: &[&'static Scenario], results: &Results) -> Vec<(String, String)> {
    let mut pictures = Vec::new();
    if let Some(bars) = costs(scenarios, results) {
        pictures.push(("cost".to_owned(), bars));
    }
    if let Some(bars) = memory(results) {
        pictures.push(("memory".to_owned(), bars));
    }
    for scenario in scenarios.iter().filter(|it| matches!(it.work, Work::Timed(_))) {
        if let Some(lines) = latency(scenario, results) {
            pictures.push((format!("latency-{}", scenario.id), lines));
        }
    }
    pictures
}

fn colour(contender: Contender) -> &'static str {
    match contender {
        Iako => "#0b6e4f",
        Envoy => "#a23b72",
        Haproxy => "#2e86ab",
        Nginx => "#f18f01",
        Direct => "#999999",
    }
}

/// One group of bars: a title and everybody's value.
struct Group {
    title: String,
    bars: Vec<(Contender, f64)>,
}

impl Group {
    fn new(title: String, value: impl Fn(Contender) -> Option<f64>) -> Option<Self> {
        let bars: Vec<_> = PROXIES.into_iter().filter_map(|it| Some((it, value(it)?))).collect();
        (!bars.is_empty()).then_some(Self { title, bars })
    }
}

fn costs(scenarios: &[&'static Scenario], results: &Results) -> Option<String> {
    let groups: Vec<Group> = scenarios
        .iter()
        .filter_map(|scenario| {
            let (metric, unit) = targets::metric(scenario);
            let title = format!("{}, {unit}", scenario.title);
            Group::new(title, |contender| results.median(scenario.id, contender, metric))
        })
        .collect();
    bars("What a unit of work costs (less is better)", &groups)
}

fn memory(results: &Results) -> Option<String> {
    let kinds = [
        ("start", Metric::Pss, "PSS idle, after the first answer, MB"),
        ("h1-hop", Metric::LoadedPss, "PSS after 64 busy HTTP/1.1 connections, MB"),
        ("routes", Metric::Pss, "PSS with 5,000 routes and 1,000 clusters, MB"),
    ];
    let groups: Vec<Group> = kinds
        .into_iter()
        .filter_map(|(id, metric, title)| {
            Group::new(title.to_owned(), |contender| results.median(id, contender, metric))
        })
        .collect();
    bars("Memory of one proxy (less is better)", &groups)
}

/// Groups below each other, each to its own scale.
fn bars(title: &str, groups: &[Group]) -> Option<String> {
    const LEFT: f64 = 90.0;
    const ROOM: f64 = WIDTH - LEFT - 90.0;
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    if rows == 0 {
        return None;
    }
    let height = 50.0 + length(rows) * (BAR + 4.0) + length(groups.len()) * 34.0;
    let mut svg = Svg::new(WIDTH, height);
    svg.text((10.0, 24.0), Anchor::Start, "title", title);
    let mut y = 50.0;
    for Group { title, bars } in groups {
        svg.text((10.0, y + 8.0), Anchor::Start, "", title);
        y += 16.0;
        let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (contender, value) in bars {
            let width = (value.max(0.0) / most * ROOM).max(1.0);
            let name = contender.to_string();
            svg.text((LEFT - 8.0, y + BAR - 4.0), Anchor::End, "small", &name);
            svg.bar((LEFT, y), (width, BAR), colour(*contender));
            let after = (LEFT + width + 6.0, y + BAR - 4.0);
            svg.text(after, Anchor::Start, "small", &short(*value));
            y += BAR + 4.0;
        }
        y += 18.0;
    }
    Some(svg.finish())
}

/// One contender's percentile: rates and microseconds.
struct Line {
    contender: Contender,
    permille: u32,
    points: Vec<(f64, f64)>,
}

/// The frame of a plot with a logarithmic scale upwards.
struct Frame {
    rates: (f64, f64),
    /// Decades of the lowest and the highest value.
    decades: (f64, f64),
}

impl Frame {
    const TOP: f64 = 60.0;
    const BOTTOM: f64 = 350.0;
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = WIDTH - 120.0;

    fn point(&self, rate: f64, value: f64) -> (f64, f64) {
        let share = |value: f64, (least, most): (f64, f64)| match most > least {
            true => (value - least) / (most - least),
            false => 0.5,
        };
        let x = Self::LEFT + share(rate, self.rates) * (Self::RIGHT - Self::LEFT);
        let height = share(value.log10(), self.decades);
        (x, Self::BOTTOM - height * (Self::BOTTOM - Self::TOP))
    }
}

/// The middle and the 99th percentile over rates.
fn latency(scenario: &'static Scenario, results: &Results) -> Option<String> {
    let rates = results.rates(scenario.id);
    let lines: Vec<Line> = PROXIES
        .iter()
        .chain(&[Direct])
        .flat_map(|contender| [(*contender, 500), (*contender, 990)])
        .map(|(contender, permille)| {
            let value = |rate: u32| {
                let metric = Metric::Latency { rate, permille };
                Some((f64::from(rate), results.median(scenario.id, contender, metric)?.max(1.0)))
            };
            let points = rates.iter().filter_map(|rate| value(*rate)).collect();
            Line { contender, permille, points }
        })
        .collect();
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let (least, most) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let decades = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let ends = (f64::from(*rates.first()?), f64::from(*rates.last()?));
    let frame = Frame { rates: ends, decades };
    let mut svg = Svg::new(WIDTH, 400.0);
    let title = format!("Latency, µs: {}", scenario.title);
    svg.text((10.0, 24.0), Anchor::Start, "title", &title);
    let key = "p99 as lines, p50 dashed; over requests a second";
    svg.text((10.0, 42.0), Anchor::Start, "small", key);
    grid(&mut svg, &frame, &rates);
    let mut y = Frame::TOP;
    for Line { contender, permille, points } in &lines {
        let points: Vec<_> = points.iter().map(|(x, y)| frame.point(*x, *y)).collect();
        if points.is_empty() {
            continue;
        }
        svg.line(&points, colour(*contender), if *permille == 500 { "5 4" } else { "" });
        if *permille == 990 {
            svg.bar((Frame::RIGHT + 20.0, y), (12.0, 12.0), colour(*contender));
            let place = (Frame::RIGHT + 38.0, y + 10.0);
            svg.text(place, Anchor::Start, "", &contender.to_string());
            y += 20.0;
        }
    }
    Some(svg.finish())
}

fn grid(svg: &mut Svg, frame: &Frame, rates: &[u32]) {
    let mut decade = frame.decades.0;
    while decade <= frame.decades.1 {
        let (_, y) = frame.point(frame.rates.0, 10_f64.powf(decade));
        svg.rule((Frame::LEFT, y), (Frame::RIGHT, y));
        let value = short(10_f64.powf(decade));
        svg.text((Frame::LEFT - 8.0, y + 4.0), Anchor::End, "small", &value);
        decade += 1.0;
    }
    for rate in rates {
        let (x, _) = frame.point(f64::from(*rate), 1.0);
        let value = short(f64::from(*rate));
        svg.text((x, Frame::BOTTOM + 20.0), Anchor::Middle, "small", &value);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen bars")]
fn length(count: usize) -> f64 {
    count as f64
}
