//! What a place is at, in a text that is being typed: by indentation alone.

use iako_resources::{Position, text::Lines};

use super::{At, Spot, Step, split_api_version};

/// Lines above the cursor that are looked at.
const LINES_MAX: u32 = 20_000;

/// One line in block style.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line<'t> {
    /// Columns of the dashes before the key, from 0.
    dashes: Vec<usize>,
    /// The column of the key, or of what stands in its place.
    column: usize,
    /// The key, if a colon follows it.
    key: Option<&'t str>,
    /// What stands after the colon, or after the dashes of a line without a key.
    rest: &'t str,
}

/// What a place is at.
pub(super) fn find(lines: &Lines<'_>, position: Position, default_namespace: &str) -> Option<Spot> {
    let text = lines.line(position.line)?;
    let cursor = usize::try_from(position.column).ok()?.checked_sub(1)?;
    let before: String = text.chars().take(cursor).collect();
    let typed = take_apart(&before);
    let mut spot = header(lines, position.line, default_namespace);
    spot.siblings = siblings(lines, position.line, &typed);
    let mut path = parents(lines, position.line, &typed);
    let word_before = typed.rest.trim_start();
    let (at, word) = match typed.key {
        Some(key) => {
            path.push(Step::Key(key.to_owned()));
            (At::Value, word_before)
        }
        // An element that may become a value or the first key of a mapping.
        None => (At::Key, word_before),
    };
    let length = u32::try_from(word.chars().count()).ok()?;
    let start = Position { line: position.line, column: position.column.checked_sub(length)? };
    spot.path = path;
    spot.at = at;
    spot.word = word.trim_matches(['"', '\'']).to_owned();
    spot.span = (start, position);
    Some(spot)
}

fn take_apart(text: &str) -> Line<'_> {
    let mut dashes = Vec::new();
    let mut rest = text;
    let mut column = 0;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        column += rest.len() - trimmed.len();
        rest = trimmed;
        let after = rest.strip_prefix('-').filter(|it| it.is_empty() || it.starts_with(' '));
        let Some(after) = after else { break };
        dashes.push(column);
        column += 1;
        rest = after;
    }
    let plain = rest.split(" #").next().unwrap_or_default();
    let colon = plain.find(": ").or_else(|| plain.ends_with(':').then(|| plain.len() - 1));
    let (key, rest) = match colon.and_then(|at| rest.split_at_checked(at)) {
        Some((key, value)) => {
            (Some(key.trim_matches(['"', '\''])), value.strip_prefix(':').unwrap_or(value))
        }
        None => (None, rest),
    };
    Line { dashes, column, key, rest }
}

fn is_content(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

/// The lines of the same document above a line, from near to far.
fn above<'t>(lines: &'t Lines<'_>, line: u32) -> impl Iterator<Item = &'t str> {
    let first = line.saturating_sub(LINES_MAX).max(1);
    let numbers = (first..line).rev();
    let texts = numbers.filter_map(|number| lines.line(number));
    texts.take_while(|text| !text.starts_with("---"))
}

fn below<'t>(lines: &'t Lines<'_>, line: u32) -> impl Iterator<Item = &'t str> {
    let numbers = line.saturating_add(1)..line.saturating_add(LINES_MAX);
    let texts = numbers.map_while(|number| lines.line(number));
    texts.take_while(|text| !text.starts_with("---"))
}

/// The way from the object to the mapping or list that a line stands in.
fn parents(lines: &Lines<'_>, line: u32, own: &Line<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    // A parent starts left of this column; a list may start at the column of its key.
    let mut limit = own.column;
    let mut may_equal = false;
    climb_dashes(&own.dashes, &mut steps, &mut limit, &mut may_equal);
    for text in above(lines, line).filter(|text| is_content(text)) {
        if limit == 0 && !may_equal {
            break;
        }
        let other = take_apart(text);
        let is_parent = other.column < limit || (may_equal && other.column == limit);
        match other.key {
            Some(key) if is_parent && (may_equal || other.column < limit) => {
                steps.push(Step::Key(key.to_owned()));
                limit = other.column;
                may_equal = false;
                climb_dashes(&other.dashes, &mut steps, &mut limit, &mut may_equal);
            }
            // The first line of the element that this line belongs to.
            _ if !may_equal && starts_element(&other, limit) => {
                climb_dashes(&other.dashes, &mut steps, &mut limit, &mut may_equal);
            }
            _ => {}
        }
    }
    steps.reverse();
    steps
}

fn starts_element(line: &Line<'_>, column: usize) -> bool {
    line.column == column && line.dashes.last().is_some_and(|dash| *dash < column)
}

fn climb_dashes(dashes: &[usize], steps: &mut Vec<Step>, limit: &mut usize, may_equal: &mut bool) {
    for dash in dashes.iter().rev() {
        steps.push(Step::Item);
        *limit = *dash;
        *may_equal = true;
    }
}

/// The pairs of the mapping that a line stands in.
fn siblings(lines: &Lines<'_>, line: u32, own: &Line<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let pair = |other: &Line<'_>| {
        let value = other.rest.trim().trim_matches(['"', '\'']).to_owned();
        Some((other.key?.to_owned(), value))
    };
    if own.dashes.is_empty() {
        for text in above(lines, line).filter(|text| is_content(text)) {
            let other = take_apart(text);
            if other.column < own.column || other.dashes.iter().any(|dash| *dash >= own.column) {
                if other.column < own.column {
                    break;
                }
                continue;
            }
            if other.column == own.column {
                found.extend(pair(&other));
                if !other.dashes.is_empty() {
                    break;
                }
            }
        }
    }
    for text in below(lines, line).filter(|text| is_content(text)) {
        let other = take_apart(text);
        let start = other.dashes.first().copied().unwrap_or(other.column);
        if start < own.column {
            break;
        }
        if other.column == own.column && other.dashes.is_empty() {
            found.extend(pair(&other));
        }
    }
    found
}

/// What the document of a line is.
fn header(lines: &Lines<'_>, line: u32, default_namespace: &str) -> Spot {
    let (mut api_version, mut kind, mut namespace) = ("", "", default_namespace);
    let own = lines.line(line).into_iter();
    for text in above(lines, line).chain(own).chain(below(lines, line)) {
        let found = take_apart(text);
        let value = found.rest.trim().trim_matches(['"', '\'']);
        match found.key {
            Some("apiVersion") if found.column == 0 => api_version = value,
            Some("kind") if found.column == 0 => kind = value,
            Some("metadata") if found.column == 0 && value.contains("namespace:") => {
                let after = value.split("namespace:").nth(1).unwrap_or_default();
                namespace = after.split([',', '}']).next().unwrap_or_default().trim();
            }
            Some("namespace") if found.column == 2 && !value.is_empty() => namespace = value,
            _ => {}
        }
    }
    let (group, version) = split_api_version(api_version);
    let nowhere = Position { line, column: 1 };
    Spot {
        group,
        version,
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        path: Vec::new(),
        at: At::Key,
        word: String::new(),
        span: (nowhere, nowhere),
        siblings: Vec::new(),
    }
}
