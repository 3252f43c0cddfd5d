//! `metadata`.

use iako_types::Namespace;

use super::ReadOptions;
use crate::{
    Code, Kind, Labels, ObjectMeta, Timestamp, istio::refer::namespace_name, reader::Cursor,
};

/// What `istioctl install` calls the object that it keeps.
const UNNAMED: &str = "installed-state";

/// Reads names, labels and age; `None` when the object has no usable name.
pub(super) fn read(cursor: &Cursor<'_>, options: &ReadOptions, kind: Kind) -> Option<ObjectMeta> {
    let fields = cursor.fields();
    let name = fields.get("name").or_else(|| fields.get("generateName"));
    let namespace = fields.get("namespace");
    let labels = fields.get("labels").map(|cursor| read_labels(&cursor)).unwrap_or_default();
    let annotations =
        fields.get("annotations").map(|cursor| read_labels(&cursor)).unwrap_or_default();
    let creation_timestamp = fields.get("creationTimestamp").and_then(|cursor| timestamp(&cursor));
    let generation = fields.get("generation").and_then(|cursor| cursor.integer(0, i64::MAX));
    // What the API server adds is of no interest, and people copy it into files.
    fields.ignore_rest();
    let Some(name) = name else {
        if kind == Kind::IstioOperator {
            return Some(ObjectMeta {
                namespace: read_namespace(namespace.as_ref(), options)?,
                ..unnamed(options)
            });
        }
        cursor.report(Code::BadMetadata, "metadata.name is missing");
        return None;
    };
    let text = name.text()?;
    if !is_dns_name(&text) {
        let message = format!("{text:?} is no name; use lower-case letters, digits, - and .");
        name.report(Code::BadMetadata, message);
        return None;
    }
    let namespace = if kind == Kind::Namespace {
        text.parse().unwrap_or_default()
    } else {
        read_namespace(namespace.as_ref(), options)?
    };
    Some(ObjectMeta {
        namespace,
        name: text,
        labels,
        annotations,
        creation_timestamp,
        generation: generation.and_then(|number| u64::try_from(number).ok()).unwrap_or(0),
    })
}

/// The metadata of an object that needs no name, because there is only one of its kind.
pub(super) fn unnamed(options: &ReadOptions) -> ObjectMeta {
    ObjectMeta {
        namespace: options.default_namespace.clone(),
        name: UNNAMED.to_owned(),
        ..ObjectMeta::default()
    }
}

fn read_namespace(cursor: Option<&Cursor<'_>>, options: &ReadOptions) -> Option<Namespace> {
    let Some(cursor) = cursor else { return Some(options.default_namespace.clone()) };
    let text = cursor.text()?;
    if text.is_empty() {
        return Some(options.default_namespace.clone());
    }
    let found = namespace_name(&text);
    if found.is_none() {
        cursor.report(Code::BadMetadata, format!("{text:?} is no namespace"));
    }
    found
}

fn is_dns_name(text: &str) -> bool {
    let inner =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':');
    (1..=253).contains(&text.len()) && text.chars().all(inner)
}

fn read_labels(cursor: &Cursor<'_>) -> Labels {
    let pairs = cursor.entries().into_iter().filter(|(_, value)| !value.node().is_null());
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.text()?))).collect()
}

fn timestamp(cursor: &Cursor<'_>) -> Option<Timestamp> {
    let text = cursor.text()?;
    let found = unix_seconds(&text);
    if found.is_none() {
        let message = format!("{text:?} is no time; write 2026-01-31T12:00:00Z");
        cursor.report(Code::BadMetadata, message);
    }
    found.map(|unix_seconds| Timestamp { unix_seconds })
}

/// Seconds since 1970 of a time in RFC 3339 form, in UTC or with an offset.
fn unix_seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let clock_end = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(clock_end)?;
    let clock = clock.split('.').next()?;
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && (0..10_000).contains(&year);
    if !in_range {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds - zone_seconds(zone)?)
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    Some(sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
}

/// Days since 1970-01-01 in the Gregorian calendar: years start in March, so that the leap day is
/// the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    #[test]
    fn times_are_read_with_their_offset() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_seconds("2024-02-29T12:30:05.25Z"), Some(1_709_209_805));
        assert_eq!(unix_seconds("2024-02-29T13:30:05+01:00"), Some(1_709_209_805));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
