//! Reads `loadBalancer`.

use std::{num::NonZeroU64, time::Duration};

use iako_types::{Locality, Percent};

use super::{
    ConsistentHash, HashKey, HashTable, LoadBalancer, LoadBalancerAlgorithm, LocalityDistribution,
    LocalityLoadBalancer, Warmup, ZoneAware,
};
use crate::{
    Code,
    reader::{Cursor, Fields},
};

/// Entries of a ring when nobody says. Source: Istio.
const RING_ENTRIES: u64 = 1024;
/// Entries of a Maglev table when nobody says. Source: Envoy.
const MAGLEV_ENTRIES: u64 = 65_537;
/// Largest Maglev table. Source: Envoy.
const MAGLEV_ENTRIES_MAX: u64 = 5_000_011;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Simple {
    LeastRequest,
    LeastConnections,
    RoundRobin,
    Random,
    Passthrough,
}

/// Reads the block.
pub(super) fn read(cursor: &Cursor<'_>) -> LoadBalancer {
    let fields = cursor.fields();
    let simple = fields.get("simple").and_then(|cursor| read_simple(&cursor));
    let hash = fields.get("consistentHash").map(|cursor| read_hash(&cursor));
    let locality = fields.get("localityLbSetting").map(|cursor| read_locality(&cursor));
    let warmup = read_warmup(&fields);
    if simple.is_some() && hash.is_some() {
        let message = "a load balancer has simple or consistentHash, not both";
        fields.report("consistentHash", Code::Conflict, message);
    }
    let zone_aware = fields.get("zoneAwareLbSetting").map(|cursor| read_zone_aware(&cursor));
    if locality.is_some() && zone_aware.is_some() {
        let message = "a load balancer has localityLbSetting or zoneAwareLbSetting, not both";
        fields.report("zoneAwareLbSetting", Code::Conflict, message);
    }
    let algorithm = match (hash.flatten(), simple) {
        (Some(hash), _) => LoadBalancerAlgorithm::ConsistentHash(hash),
        (None, Some(Simple::RoundRobin)) => LoadBalancerAlgorithm::RoundRobin,
        (None, Some(Simple::Random)) => LoadBalancerAlgorithm::Random,
        (None, Some(Simple::Passthrough)) => LoadBalancerAlgorithm::Passthrough,
        (None, Some(Simple::LeastRequest | Simple::LeastConnections) | None) => {
            LoadBalancerAlgorithm::LeastRequest
        }
    };
    let warms = matches!(
        algorithm,
        LoadBalancerAlgorithm::LeastRequest | LoadBalancerAlgorithm::RoundRobin
    );
    if warmup.is_some() && !warms {
        cursor.report(Code::NoEffect, "warmup works with ROUND_ROBIN and LEAST_REQUEST only");
    }
    LoadBalancer { algorithm, locality, zone_aware, warmup: warmup.filter(|_| warms) }
}

fn read_simple(cursor: &Cursor<'_>) -> Option<Simple> {
    let simple = cursor.word(&[
        ("UNSPECIFIED", Simple::LeastRequest),
        ("LEAST_REQUEST", Simple::LeastRequest),
        ("LEAST_CONN", Simple::LeastConnections),
        ("ROUND_ROBIN", Simple::RoundRobin),
        ("RANDOM", Simple::Random),
        ("PASSTHROUGH", Simple::Passthrough),
    ]);
    if simple == Some(Simple::LeastConnections) {
        cursor.report(Code::Deprecated, "LEAST_CONN is old; use LEAST_REQUEST, which it means");
    }
    simple
}

fn read_hash(cursor: &Cursor<'_>) -> Option<ConsistentHash> {
    let fields = cursor.fields();
    let header =
        fields.text("httpHeaderName").map(|name| HashKey::Header(name.to_ascii_lowercase()));
    let cookie = fields.get("httpCookie").map(|cursor| read_cookie(&cursor));
    let source_ip = fields.flag("useSourceIp").then_some(HashKey::SourceIp);
    let parameter = fields.text("httpQueryParameterName").map(HashKey::QueryParameter);
    let table = read_table(&fields);
    let given = [header.is_some(), cookie.is_some(), source_ip.is_some(), parameter.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 => cursor.report(
            Code::MissingField,
            "consistentHash needs one of httpHeaderName, httpCookie, useSourceIp and \
             httpQueryParameterName",
        ),
        1 => {}
        _ => cursor.report(Code::Conflict, "only one property can be hashed"),
    }
    let key = header.or_else(|| cookie.flatten()).or(source_ip).or(parameter)?;
    Some(ConsistentHash { key, table })
}

fn read_cookie(cursor: &Cursor<'_>) -> Option<HashKey> {
    let fields = cursor.fields();
    let name = fields.text("name");
    let path = fields.text("path");
    let ttl = fields.get("ttl").and_then(|cursor| cursor.duration_or_zero());
    let attributes = fields.get("attributes");
    if let Some(attributes) = &attributes {
        report_attributes(attributes);
    }
    if name.is_none() {
        fields.report("name", Code::MissingField, "httpCookie needs a name");
    }
    Some(HashKey::Cookie { name: name?, path, ttl })
}

fn report_attributes(cursor: &Cursor<'_>) {
    cursor.report(Code::FieldIgnored, "cookies are made with name, path and lifetime only");
    let mut names = Vec::new();
    for cursor in cursor.list() {
        let fields = cursor.fields();
        let name = fields.required("name").and_then(|cursor| cursor.text());
        let _value = fields.text("value");
        if name.is_some() && names.contains(&name) {
            let message = "an attribute of this name stands here already";
            cursor.at("name").report(Code::Duplicate, message);
        }
        names.push(name);
    }
}

fn read_table(fields: &Fields<'_>) -> HashTable {
    let size = |cursor: &Cursor<'_>| {
        cursor.integer(0, i64::from(u32::MAX)).and_then(|n| u64::try_from(n).ok())
    };
    let old = fields.get("minimumRingSize");
    let ring = fields.get("ringHash").map(|cursor| {
        let fields = cursor.fields();
        fields.get("minimumRingSize").and_then(|cursor| size(&cursor))
    });
    let maglev = fields.get("maglev").map(|cursor| {
        let fields = cursor.fields();
        let entries = fields.get("tableSize");
        entries.and_then(|cursor| check_maglev(&cursor, size(&cursor)?))
    });
    if [old.is_some(), ring.is_some(), maglev.is_some()].into_iter().filter(|g| *g).count() > 1 {
        let message = "only one of minimumRingSize, ringHash and maglev can be given";
        let later = if maglev.is_some() { "maglev" } else { "ringHash" };
        fields.report(later, Code::Conflict, message);
    }
    if let Some(entries) = maglev {
        return HashTable::Maglev { entries: entries.unwrap_or(MAGLEV_ENTRIES) };
    }
    let entries = ring.flatten().or_else(|| old.and_then(|cursor| size(&cursor)));
    HashTable::Ring { entries_min: entries.unwrap_or(RING_ENTRIES) }
}

fn check_maglev(cursor: &Cursor<'_>, size: u64) -> Option<u64> {
    let in_range = (1..MAGLEV_ENTRIES_MAX).contains(&size);
    if in_range && is_prime(size) {
        return Some(size);
    }
    let message = format!("tableSize is a prime below {MAGLEV_ENTRIES_MAX}, not {size}");
    cursor.report(Code::BadValue, message);
    None
}

fn is_prime(number: u64) -> bool {
    let divisors = (2..).take_while(|divisor: &u64| divisor * divisor <= number);
    number > 1
        && divisors
            .filter_map(NonZeroU64::new)
            .all(|divisor| number.checked_rem(divisor.get()) != Some(0))
}

fn read_warmup(fields: &Fields<'_>) -> Option<Warmup> {
    let old = fields.get("warmupDurationSecs");
    let block = fields.get("warmup");
    if let Some(cursor) = &old {
        cursor.report(Code::Deprecated, "warmupDurationSecs is old; use warmup.duration");
        if block.is_some() {
            let message = "warmup and warmupDurationSecs exclude each other";
            cursor.report(Code::Conflict, message);
        }
    }
    if let Some(cursor) = block {
        let fields = cursor.fields();
        let duration = fields.required("duration").and_then(|cursor| cursor.duration());
        let minimum = fields.get("minimumPercent").and_then(|cursor| cursor.percent());
        let aggression = fields.get("aggression").and_then(|cursor| {
            let number = cursor.float()?;
            if number < 1.0 {
                cursor.report(Code::BadValue, "aggression is at least 1");
            }
            Some(number)
        });
        return Some(warmup(duration?, minimum, aggression));
    }
    old.and_then(|cursor| cursor.duration()).map(|duration| warmup(duration, None, None))
}

fn warmup(duration: Duration, minimum: Option<Percent>, aggression: Option<f64>) -> Warmup {
    Warmup {
        duration,
        minimum: minimum.or_else(|| Percent::from_whole(10).ok()).unwrap_or_default(),
        aggression: aggression.unwrap_or(1.0),
    }
}

fn read_locality(cursor: &Cursor<'_>) -> LocalityLoadBalancer {
    let fields = cursor.fields();
    let enabled = fields.get("enabled").and_then(|cursor| cursor.boolean());
    let distribute = fields.list_of("distribute", read_distribution);
    let failover = fields.list_of("failover", read_failover);
    let failover_priority = fields.texts("failoverPriority");
    let distribute: Vec<_> = distribute.into_iter().flatten().collect();
    let failover: Vec<_> = failover.into_iter().flatten().collect();
    let fails_over = !failover.is_empty() || !failover_priority.is_empty();
    if fails_over && !distribute.is_empty() {
        fields.report("failover", Code::Conflict, "distribute and failover exclude each other");
    }
    LocalityLoadBalancer { enabled, distribute, failover, failover_priority }
}

fn read_zone_aware(cursor: &Cursor<'_>) -> ZoneAware {
    let fields = cursor.fields();
    let message = "zoneAwareLbSetting is read, not yet applied: endpoints are preferred by \
                   locality, not by the share of clients in a zone";
    cursor.report(Code::FieldIgnored, message);
    ZoneAware {
        enabled: fields.get("enabled").and_then(|cursor| cursor.boolean()),
        failover: fields.list_of("failover", read_failover).into_iter().flatten().collect(),
        failover_priority: fields.texts("failoverPriority"),
        endpoints_min: fields.get("minClusterSize").and_then(|cursor| cursor.number()),
    }
}

fn read_distribution(cursor: &Cursor<'_>) -> Option<LocalityDistribution> {
    let fields = cursor.fields();
    let from = fields.required("from").and_then(|cursor| read_place(&cursor.text()?, &cursor));
    let mut to = Vec::new();
    for (place, cursor) in fields.required("to").map(|cursor| cursor.entries()).unwrap_or_default()
    {
        let weight = cursor.integer(1, 100).and_then(|number| u32::try_from(number).ok());
        to.extend(read_place(place, &cursor).zip(weight));
    }
    let sum: u32 = to.iter().map(|(_, weight)| weight).sum();
    if sum != 100 {
        let message = format!("the weights of to add up to 100, not to {sum}");
        fields.report("to", Code::BadValue, message);
    }
    Some(LocalityDistribution { from: from?, to })
}

fn read_place(text: &str, cursor: &Cursor<'_>) -> Option<Locality> {
    let star_ends = text.find('*').is_none_or(|at| at + 1 == text.len());
    if text.is_empty() || !star_ends {
        let message = format!("{text:?} is no locality; a star stands only at the end");
        cursor.report(Code::BadValue, message);
        return None;
    }
    text.parse().ok()
}

fn read_failover(cursor: &Cursor<'_>) -> Option<(String, String)> {
    let fields = cursor.fields();
    let from = fields.text("from");
    let to = fields.text("to");
    let (Some(from), Some(to)) = (from, to) else {
        let missing = if fields.has("from") { "to" } else { "from" };
        fields.report(missing, Code::MissingField, "failover needs from and to");
        return None;
    };
    if from == to {
        fields.report("to", Code::BadValue, "from and to are the same region");
    }
    if from.contains(['*', '/']) || to.contains(['*', '/']) {
        let place = if from.contains(['*', '/']) { "from" } else { "to" };
        let message = "failover goes from one region to another; no stars or zones";
        fields.report(place, Code::BadValue, message);
    }
    Some((from, to))
}
