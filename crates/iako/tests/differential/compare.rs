//! Whether two proxies did the same.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde_json::Value;

use crate::{
    case::{Case, Spread},
    hashing,
};

/// Every place at which `seen` is not `wanted`, in words; none when they are equal in what the case
/// compares.
pub(crate) fn differences(case: &Case, wanted: &Value, seen: &Value) -> Vec<String> {
    if wanted.get("refused").is_some() && seen.get("refused").is_some() {
        // Each refuses in its own words.
        return Vec::new();
    }
    let mut found = Vec::new();
    for (name, (total, share)) in &case.stats_near {
        for (who, value) in [("wanted", wanted), ("seen", seen)] {
            let text = value["stats"][name].as_str().unwrap_or("0");
            if let Err(problem) = check_share(text.parse().unwrap_or(0), *total, *share) {
                found.push(format!("{name} as {who} {problem}"));
            }
        }
    }
    let seen_here = without_needless_goaways(wanted, without_spreads(case, seen));
    let seen_here = without_races(wanted, seen_here);
    compare("", &without_spreads(case, wanted), &seen_here, &mut found);
    for (at, request) in case.requests.iter().enumerate() {
        let Some(spread) = &request.spread else { continue };
        if matches!(spread, Spread::Recorded) {
            let sequence = |value: &Value| value["answers"][at]["sequence"].clone();
            compare(&format!(".answers[{at}]"), &sequence(wanted), &sequence(seen), &mut found);
            continue;
        }
        for (who, value) in [("wanted", wanted), ("seen", seen)] {
            if let Err(problem) = check_spread(spread, &value["answers"][at]) {
                found.push(format!("answers[{at}] as {who}: {problem}"));
            }
        }
    }
    found
}

fn without_spreads(case: &Case, value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(parts) = &mut value {
        parts.retain(|name, _| !case.ignored.contains_key(name));
    }
    if let Some(Value::Object(stats)) = value.get_mut("stats") {
        stats.retain(|name, _| !case.stats_near.contains_key(name));
    }
    for line in value["log"].as_array_mut().into_iter().flatten() {
        if let Value::Object(fields) = line {
            fields.retain(|name, _| !case.log_ignored.contains_key(name));
        }
    }
    for (at, request) in case.requests.iter().enumerate() {
        if request.spread.is_some() {
            value["answers"][at] = Value::Null;
        } else if let Some(Value::Object(answer)) = value["answers"].get_mut(at) {
            answer.remove("at");
        }
    }
    value
}

/// Envoy often ends an HTTP/2 connection without the GOAWAY that says why, which RFC 9113, section
/// 5.4.1, only asks for. What is compared is that the connection ends; the code where both say one.
fn without_needless_goaways(wanted: &Value, mut seen: Value) -> Value {
    let answers = wanted["answers"].as_array().into_iter().flatten().enumerate();
    for (at, answer) in answers {
        if answer["end"] == "ended"
            && answer.get("goaway").is_none()
            && let Some(Value::Object(seen)) = seen["answers"].get_mut(at)
        {
            seen.remove("goaway");
        }
    }
    seen
}

/// A connection that a proxy ends without a word is ended by a reset when the client's bytes are there
/// already, and plainly when they come later, which is chance. What is compared is that it ends.
fn without_races(wanted: &Value, mut seen: Value) -> Value {
    let says_nothing = |answer: &Value| {
        let empty = |name| {
            let part: &Value = &answer[name];
            part.is_null()
                || part.as_str().is_some_and(str::is_empty)
                || part.as_array().is_some_and(Vec::is_empty)
        };
        empty("responses") && empty("received") && empty("streams")
    };
    let ends = |answer: &Value| matches!(answer["end"].as_str(), Some("reset" | "closed"));
    let answers = wanted["answers"].as_array().into_iter().flatten().enumerate();
    for (at, answer) in answers {
        let Some(other) = seen["answers"].get_mut(at) else { continue };
        if [answer, &*other].into_iter().all(|one| says_nothing(one) && ends(one)) {
            other["end"] = answer["end"].clone();
        }
    }
    seen
}

fn compare(path: &str, wanted: &Value, seen: &Value, found: &mut Vec<String>) {
    match (wanted, seen) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                let path = format!("{path}.{name}");
                match right.get(name) {
                    Some(other) => compare(&path, value, other, found),
                    None => found.push(format!("{path}: {value} is missing")),
                }
            }
            for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
                found.push(format!("{path}.{name}: {value} is new"));
            }
        }
        (Value::Array(left), Value::Array(right)) if is_headers(left) && is_headers(right) => {
            for field in left.iter().filter(|field| !right.contains(field)) {
                found.push(format!("{path}: {field} is missing"));
            }
            for field in right.iter().filter(|field| !left.contains(field)) {
                found.push(format!("{path}: {field} is new"));
            }
            if left != right && left.iter().all(|field| right.contains(field)) {
                found.push(format!("{path}: {wanted} became {seen}"));
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (at, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{path}[{at}]"), left, right, found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => found.push(format!("{path}: {left} became {right}")),
    }
}

fn is_headers(list: &[Value]) -> bool {
    let is_field = |item: &Value| {
        item.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string))
    };
    !list.is_empty() && list.iter().all(is_field)
}

/// Whether the answers to one repeated request are spread as they should be.
fn check_spread(spread: &Spread, answer: &Value) -> Result<(), String> {
    let ports = ports(answer)?;
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for port in &ports {
        *counts.entry(*port).or_default() += 1;
    }
    match spread {
        Spread::Exact(wanted) if counts == *wanted => Ok(()),
        Spread::Exact(wanted) => Err(format!("{counts:?} in place of {wanted:?}")),
        Spread::Recorded => Ok(()),
        Spread::One if counts.len() == 1 => Ok(()),
        Spread::One => Err(format!("{counts:?} in place of one port")),
        Spread::Shares(shares) => check_shares(shares, &counts, ports.len()),
        Spread::RingHash(_) => {
            check_map(answer, &ports, |number, at| hashing::ring_hash(at, &key(spread, number)))
        }
        Spread::Maglev(_, weights) => check_map(answer, &ports, |number, at| {
            hashing::maglev(at, weights, &key(spread, number))
        }),
        Spread::MaglevQuery(_) => {
            let weights: BTreeMap<u16, u32> =
                crate::upstream::PORTS.map(|port| (port, 1)).collect();
            check_map(answer, &ports, |number, at| {
                hashing::maglev(at, &weights, &key(spread, number))
            })
        }
    }
}

/// The values that are hashed for a repetition, in order.
fn key(spread: &Spread, number: usize) -> Vec<String> {
    let (Spread::RingHash(text) | Spread::Maglev(text, _) | Spread::MaglevQuery(text)) = spread
    else {
        return Vec::new();
    };
    let mut values: Vec<String> =
        text.replace("{i}", &number.to_string()).split(' ').map(str::to_owned).collect();
    values.sort();
    values
}

fn check_map(
    answer: &Value,
    ports: &[u16],
    port_of: impl Fn(usize, Ipv4Addr) -> u16,
) -> Result<(), String> {
    let at: Ipv4Addr = answer["at"].as_str().unwrap_or_default().parse().unwrap();
    for (number, port) in ports.iter().enumerate() {
        let wanted = port_of(number, at);
        if wanted != *port {
            return Err(format!("request {number} went to {port} in place of {wanted}"));
        }
    }
    Ok(())
}

fn check_shares(
    shares: &BTreeMap<u16, f64>,
    counts: &BTreeMap<u16, usize>,
    total: usize,
) -> Result<(), String> {
    let whole: f64 = shares.values().sum();
    for (port, share) in shares {
        let seen = counts.get(port).copied().unwrap_or(0);
        check_share(seen, total, share / whole).map_err(|problem| format!("{port} {problem}"))?;
    }
    let strange = counts.keys().find(|port| !shares.contains_key(port));
    strange.map_or(Ok(()), |port| Err(format!("{port} is due nothing")))
}

/// Five standard deviations, and one for small numbers.
fn check_share(count: usize, total: usize, share: f64) -> Result<(), String> {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    let expected = number(total) * share;
    if (number(count) - expected).abs() > 5.0 * (expected * (1.0 - share)).sqrt() + 1.0 {
        return Err(format!("got {count} of {total}, about {expected:.1} are due"));
    }
    Ok(())
}

/// The upstreams of a sequence; every answer is 200.
fn ports(answer: &Value) -> Result<Vec<u16>, String> {
    let sequence = answer["sequence"].as_array().ok_or("there is no sequence")?;
    let port = |item: &Value| {
        let text = item.as_str().unwrap_or_default();
        let port = text.strip_prefix("200:").and_then(|port| port.parse().ok());
        port.ok_or_else(|| format!("{text} is no answer of an upstream"))
    };
    sequence.iter().map(port).collect()
}
