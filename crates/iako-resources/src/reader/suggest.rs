//! "Did you mean".

/// The candidate that a mistyped word most likely means, if one is near enough.
pub(crate) fn closest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let lower = word.to_lowercase();
    let near = candidates
        .iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate));
    let (steps, found) = near.min_by_key(|(steps, _)| *steps)?;
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    (steps <= allowed).then_some(found)
}

/// The same, when no other candidate is as near: what may be written unseen.
pub(crate) fn only_near<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let found = closest(word, candidates)?;
    let steps = |name: &str| distance(&word.to_lowercase(), &name.to_lowercase());
    let rivals = candidates.iter().filter(|other| **other != found && steps(other) <= steps(found));
    (rivals.count() == 0).then_some(found)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut last: Option<char> = None;
    for (row, a) in from.chars().enumerate() {
        let mut line = vec![row + 1];
        for (column, &b) in to.iter().enumerate() {
            let at =
                |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX - 1);
            let replace = at(&above, column) + usize::from(a != b);
            let mut best = replace.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = column > 0 && last == Some(b) && to.get(column - 1) == Some(&a);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
        last = Some(a);
    }
    above.last().copied().unwrap_or(usize::MAX)
}
