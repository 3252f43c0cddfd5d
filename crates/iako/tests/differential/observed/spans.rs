//! Traces and spans with marks in place of ids, so that their relations are what is compared.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::wire::base64;

/// Marks by id.
#[derive(Default)]
struct Ids {
    traces: BTreeMap<String, String>,
    spans: BTreeMap<String, String>,
}

impl Ids {
    fn trace(&mut self, id: &str) -> String {
        let next = self.traces.len() + 1;
        let length = id.len();
        let key = id.trim_start_matches('0').to_owned();
        let mark = || format!("<trace{next}:{length}>");
        self.traces.entry(key).or_insert_with(mark).clone()
    }

    fn span(&mut self, id: &str) -> String {
        let next = self.spans.len() + 1;
        self.spans.entry(id.to_owned()).or_insert_with(|| format!("<span{next}>")).clone()
    }
}

/// Takes the spans out of requests to collectors and puts them behind all requests as one list; of
/// the requests themselves one is left for each path.
pub(super) fn gather(seen: &mut Vec<Value>) {
    let mut ids = Ids::default();
    let mut spans: Vec<(u64, Value)> = Vec::new();
    let mut collectors: BTreeMap<String, Value> = BTreeMap::new();
    let mut requests = Vec::new();
    // Which of two upstreams is first is chance.
    seen.sort_by_key(|request| request["backend"].as_u64());
    for mut request in std::mem::take(seen) {
        let path = path(&request);
        let told = match request.get_mut("spans") {
            Some(told) => Some(told.take()),
            None if path.ends_with("TraceService/Export") => {
                request.get_mut("messages").map(Value::take)
            }
            None => None,
        };
        let Some(told) = told else {
            headers(&mut request, &mut ids);
            requests.push(request);
            continue;
        };
        take(&told, &mut spans);
        if let Some(fields) = request.as_object_mut() {
            fields.remove("spans");
            fields.remove("messages");
        }
        clean(&mut request);
        collectors.entry(path).or_insert(request);
    }
    spans.sort_by_key(|(start, _)| *start);
    let spans: Vec<Value> = spans.into_iter().map(|(_, span)| marked(&span, &mut ids)).collect();
    *seen = requests;
    for (_, mut request) in collectors {
        request["spans"] = Value::from(spans.clone());
        seen.push(request);
    }
}

fn path(request: &Value) -> String {
    if let Some(path) = request["path"].as_str() {
        return path.to_owned();
    }
    let fields = request["headers"].as_array().into_iter().flatten();
    let path = fields.filter(|field| field[0] == ":path").filter_map(|field| field[1].as_str());
    path.map(str::to_owned).next().unwrap_or_default()
}

/// How long reports are, and who sends them, depends on the proxy.
fn clean(request: &mut Value) {
    let Some(fields) = request["headers"].as_array_mut() else { return };
    let own = [
        "content-length",
        "transfer-encoding",
        "user-agent",
        "x-datadog-trace-count",
        "datadog-meta-lang",
        "datadog-meta-lang-version",
        "datadog-meta-tracer-version",
    ];
    fields.retain(|field| !own.iter().any(|name| field[0] == *name));
    for field in fields.iter_mut() {
        // Reports of Datadog's library are given what is left of two seconds.
        if field[0] == "x-envoy-expected-rq-timeout-ms" && field[1] == "1999" {
            field[1] = Value::from("2000");
        }
    }
}

/// Ids in the headers of a request.
fn headers(request: &mut Value, ids: &mut Ids) {
    for field in request["headers"].as_array_mut().into_iter().flatten() {
        let (Some(name), Some(value)) = (field[0].as_str(), field[1].as_str()) else { continue };
        let marked = match name {
            "traceparent" => {
                let parts: Vec<&str> = value.split('-').collect();
                let [version, trace, span, flags] = parts.as_slice() else { continue };
                format!("{version}-{}-{}-{flags}", ids.trace(trace), ids.span(span))
            }
            "b3" => {
                let parts: Vec<&str> = value.split('-').collect();
                let [trace, span, rest @ ..] = parts.as_slice() else { continue };
                let mut text = format!("{}-{}", ids.trace(trace), ids.span(span));
                for part in rest {
                    let part = if part.len() == 16 { ids.span(part) } else { (*part).to_owned() };
                    text.push_str(&format!("-{part}"));
                }
                text
            }
            "x-b3-traceid" => ids.trace(value),
            "x-b3-spanid" | "x-b3-parentspanid" => ids.span(value),
            "x-datadog-parent-id" => ids.span(&hex(value)),
            "x-datadog-trace-id" => "<trace>".to_owned(),
            "x-datadog-tags" => {
                let tag = |tag: &str| match tag.strip_prefix("_dd.p.tid=") {
                    Some(tid) if tid.ends_with("00000000") => "_dd.p.tid=<time>".to_owned(),
                    Some(_) | None => tag.to_owned(),
                };
                value.split(',').map(tag).collect::<Vec<_>>().join(",")
            }
            "tracestate" => {
                let part = |part: &str| match part.strip_prefix("p:") {
                    Some(id) => format!("p:{}", ids.span(id)),
                    None => part.to_owned(),
                };
                value.split(';').map(part).collect::<Vec<_>>().join(";")
            }
            // The digit that says why a request is traced is what matters.
            "x-request-id" if value.len() == 36 => {
                let reason = value.get(14..15).unwrap_or_default();
                format!("<uuid {reason}>")
            }
            _ => continue,
        };
        field[1] = Value::from(marked);
    }
}

fn hex(decimal: &str) -> String {
    decimal.parse::<u64>().map_or_else(|_| decimal.to_owned(), |id| format!("{id:016x}"))
}

/// Every span of a report with its beginning, in nanoseconds.
fn take(told: &Value, spans: &mut Vec<(u64, Value)>) {
    match told {
        Value::Array(items) => items.iter().for_each(|item| take(item, spans)),
        Value::Object(fields) => {
            let number = |name: &str| match fields.get(name) {
                Some(Value::String(text)) => text.parse::<u64>().ok(),
                Some(value) => value.as_u64(),
                None => None,
            };
            if let Some(start) = number("start_time_unix_nano").or_else(|| number("start")) {
                spans.push((start, told.clone()));
            } else if fields.contains_key("traceId") || fields.contains_key("trace_id") {
                spans.push((number("timestamp").unwrap_or(0) * 1000, told.clone()));
            } else if let Some(scoped) = fields.get("scope_spans") {
                let mut inner = Vec::new();
                take(scoped, &mut inner);
                let resource = attributes(&fields["resource"]["attributes"]);
                for (start, mut span) in inner {
                    span["resource"] = resource.clone();
                    spans.push((start, span));
                }
            } else {
                fields.values().for_each(|value| take(value, spans));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Attributes as an object; what names the library is left out.
fn attributes(list: &Value) -> Value {
    let entries = list.as_array().into_iter().flatten().filter_map(|entry| {
        let key = entry["key"].as_str().or_else(|| entry["key"]["string_value"].as_str())?;
        if key.starts_with("telemetry.sdk.") {
            return Some((key.to_owned(), Value::from("<library>")));
        }
        Some((key.to_owned(), entry["value"]["string_value"].clone()))
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

/// A span with marks, without times.
fn marked(span: &Value, ids: &mut Ids) -> Value {
    let mut fields = span.as_object().cloned().unwrap_or_default();
    let is_binary =
        fields.contains_key("start_time_unix_nano") || fields.contains_key("local_endpoint");
    let mut out = Map::new();
    for (name, value) in std::mem::take(&mut fields) {
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
            if is_binary {
                let bytes = base64::decode(text.trim_end_matches('=')).unwrap_or_default();
                return bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            }
            text
        };
        let value = match name.as_str() {
            "traceId" => Value::from(ids.trace(&text(&value))),
            "trace_id" if value.is_string() => Value::from(ids.trace(&text(&value))),
            "trace_id" => Value::from("<trace>"),
            "parent_id" | "span_id" if value.is_u64() => match value.as_u64() {
                Some(0) => Value::from(0),
                id => Value::from(ids.span(&format!("{:016x}", id.unwrap_or(0)))),
            },
            "id" | "parentId" | "parent_id" | "span_id" | "parent_span_id" => {
                Value::from(ids.span(&text(&value)))
            }
            "timestamp" | "duration" | "start" | "start_time_unix_nano" | "end_time_unix_nano" => {
                continue;
            }
            "attributes" => masked(attributes(&value)),
            "tags" => masked(value),
            "meta" => datadog(masked(value)),
            "metrics" => {
                let kept = value["_sampling_priority_v1"].clone();
                json!({"_sampling_priority_v1": kept})
            }
            "annotations" => {
                let names = value.as_array().into_iter().flatten().map(|one| one["value"].clone());
                names.collect()
            }
            _ => value,
        };
        out.insert(name, value);
    }
    out.sort_keys();
    Value::Object(out)
}

/// Tags that differ from run to run.
fn masked(mut tags: Value) -> Value {
    if let Some(tags) = tags.as_object_mut() {
        if let Some(id) = tags.get_mut("guid:x-request-id") {
            let text = id.as_str().unwrap_or_default();
            if text.len() == 36 {
                *id = Value::from(format!("<uuid {}>", text.get(14..15).unwrap_or_default()));
            }
        }
        tags.sort_keys();
    }
    tags
}

/// What names the library and the process is left out.
fn datadog(mut tags: Value) -> Value {
    if let Some(tags) = tags.as_object_mut() {
        for own in ["language", "runtime-id", "version"] {
            tags.remove(own);
        }
        if let Some(tid) = tags.get_mut("_dd.p.tid")
            && tid.as_str().is_some_and(|tid| tid.ends_with("00000000"))
        {
            *tid = Value::from("<time>");
        }
    }
    tags
}
