//! What instances report of their load with their responses.
//!
//! Source: ORCA (gRFC A51), with Envoy's forms of the header: `endpoint-load-metrics-bin`, and
//! `endpoint-load-metrics` with `BIN`, `JSON` or `TEXT` before the report.

use iako_proxy_config::LoadReport;
use serde_json::{Map, Value};

use crate::{Headers, base64};

const BINARY: &str = "endpoint-load-metrics-bin";
const ANY: &str = "endpoint-load-metrics";

/// Reads the message `OrcaLoadReport`; none when the bytes are no such message.
pub type ReadMessage = fn(&[u8]) -> Option<LoadReport>;

/// The report in the head or the trailers of a response; none where there is none, or none that can
/// be read. `message` reads one in its binary form.
#[must_use]
pub fn load_report(headers: &dyn Headers, message: ReadMessage) -> Option<LoadReport> {
    let text = |name| std::str::from_utf8(headers.value(name, 0)?).ok();
    if let Some(binary) = text(BINARY) {
        return message(&base64::decode(binary)?);
    }
    let (form, report) = text(ANY)?.split_once(' ')?;
    match form {
        "BIN" => message(&base64::decode(report)?),
        "JSON" => json_report(report),
        "TEXT" => text_report(report),
        _ => None,
    }
}

fn json_report(text: &str) -> Option<LoadReport> {
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    let mut report = LoadReport::default();
    for (name, value) in &fields {
        match (name.as_str(), value) {
            ("utilization", Value::Object(values)) => report.utilization = numbers(values)?,
            ("request_cost" | "requestCost", Value::Object(values)) => {
                report.request_cost = numbers(values)?;
            }
            ("named_metrics" | "namedMetrics", Value::Object(values)) => {
                report.named_metrics = numbers(values)?;
            }
            // The whole number that came before `rps_fractional`.
            ("rps", _) => {}
            (name, value) => *field(&mut report, name)? = value.as_f64()?,
        }
    }
    Some(report)
}

fn numbers(values: &Map<String, Value>) -> Option<std::collections::BTreeMap<String, f64>> {
    values.iter().map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

/// A list such as `cpu_utilization=0.3,named_metrics.queue=7`. A name that stands twice, or is not
/// known, spoils the report.
fn text_report(text: &str) -> Option<LoadReport> {
    let mut report = LoadReport::default();
    let mut seen: Vec<&str> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once(['=', ':'])?;
        let (name, value): (&str, f64) = (name.trim(), value.trim().parse().ok()?);
        if !value.is_finite() || seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match name.split_once('.') {
            Some(("named_metrics", key)) if !key.is_empty() => {
                report.named_metrics.insert(key.to_owned(), value);
            }
            Some(("utilization", key)) if !key.is_empty() => {
                report.utilization.insert(key.to_owned(), value);
            }
            Some(("request_cost", key)) if !key.is_empty() => {
                report.request_cost.insert(key.to_owned(), value);
            }
            _ => *field(&mut report, name)? = value,
        }
    }
    Some(report)
}

fn field<'r>(report: &'r mut LoadReport, name: &str) -> Option<&'r mut f64> {
    Some(match name {
        "cpu_utilization" | "cpuUtilization" => &mut report.cpu_utilization,
        "mem_utilization" | "memUtilization" => &mut report.mem_utilization,
        "application_utilization" | "applicationUtilization" => &mut report.application_utilization,
        "rps_fractional" | "rpsFractional" => &mut report.rps_fractional,
        "eps" => &mut report.eps,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderList;

    fn read(name: &str, value: &str) -> Option<LoadReport> {
        let headers: HeaderList = [(name, value)].into_iter().collect();
        load_report(&headers, iako_xds_codec::decode::load_report)
    }

    #[test]
    fn a_report_may_be_text_json_or_binary() {
        let mut report = LoadReport {
            application_utilization: 0.25,
            rps_fractional: 10.0,
            ..LoadReport::default()
        };
        // Field 6 and field 9, each a double.
        let binary = "MQAAAAAAACRASQAAAAAAANA/";
        for (name, value) in [
            (BINARY, binary.to_owned()),
            (ANY, format!("BIN {binary}")),
            (ANY, "TEXT rps_fractional=10, application_utilization:0.25".to_owned()),
            (ANY, r#"JSON {"rps_fractional": 10, "applicationUtilization": 0.25}"#.to_owned()),
        ] {
            assert_eq!(read(name, &value).as_ref(), Some(&report), "{name}: {value}");
        }
        report.named_metrics.insert("queue".into(), 7.0);
        let text = "TEXT named_metrics.queue=7,rps_fractional=10,application_utilization=0.25";
        assert_eq!(read(ANY, text), Some(report));
    }

    #[test]
    fn what_is_no_report_is_left() {
        for wrong in [
            "eps=1",
            "TEXT eps=1,eps=2",
            "TEXT unknown=1",
            "TEXT eps=NaN",
            "TEXT eps",
            "JSON [1]",
            "JSON {\"unknown\": 1}",
            "BIN ///",
            "OTHER eps=1",
        ] {
            assert_eq!(read(ANY, wrong), None, "{wrong}");
        }
        assert_eq!(read("x", "TEXT eps=1"), None);
    }
}
