//! Two texts as a unified diff.

use std::fmt::Write as _;

/// Lines shown around a change.
const CONTEXT: usize = 3;
/// Lines that a search for equal lines looks ahead.
const LOOK_AHEAD_MAX: usize = 400;

/// One line of a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'t> {
    Same(&'t str),
    Gone(&'t str),
    New(&'t str),
}

/// The changes from one text to another; empty when there are none.
pub(super) fn unified(name: &str, before: &str, after: &str) -> String {
    let lines = compare(before, after);
    let changed: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Same(_)))
        .map(|(at, _)| at)
        .collect();
    let mut text = String::new();
    let mut rest = changed.as_slice();
    while let Some((&first, _)) = rest.split_first() {
        let mut last = first;
        while let Some((&next, after)) = rest.split_first() {
            if next > last + 2 * CONTEXT {
                break;
            }
            last = next;
            rest = after;
        }
        if text.is_empty() {
            text = format!("--- a/{name}\n+++ b/{name}\n");
        }
        let start = first.saturating_sub(CONTEXT);
        let end = (last + CONTEXT + 1).min(lines.len());
        hunk(&lines, start, end, &mut text);
    }
    text
}

fn hunk(lines: &[Line<'_>], start: usize, end: usize, text: &mut String) {
    let count = |lines: &[Line<'_>], wanted: fn(&Line<'_>) -> bool| {
        lines.iter().filter(|line| wanted(line)).count()
    };
    let is_old: fn(&Line<'_>) -> bool = |line| !matches!(line, Line::New(_));
    let is_new: fn(&Line<'_>) -> bool = |line| !matches!(line, Line::Gone(_));
    let (before, own) = (lines.get(..start).unwrap_or_default(), lines.get(start..end));
    let own = own.unwrap_or_default();
    let place = |wanted| {
        let (first, length) = (count(before, wanted), count(own, wanted));
        // An empty range is named by the line before it.
        format!("{},{length}", if length == 0 { first } else { first + 1 })
    };
    // Writing into a String does not fail.
    let _infallible = writeln!(text, "@@ -{} +{} @@", place(is_old), place(is_new));
    for line in own {
        let (mark, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Gone(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        let _infallible = match line.strip_suffix('\n') {
            Some(line) => writeln!(text, "{mark}{line}"),
            None => writeln!(text, "{mark}{line}\n\\ No newline at end of file"),
        };
    }
}

/// Walks both texts; where they part, goes on at the nearest line that both have.
fn compare<'t>(before: &'t str, after: &'t str) -> Vec<Line<'t>> {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let (mut old, mut new) = (old.as_slice(), new.as_slice());
    let mut lines = Vec::new();
    while let (Some((first, old_rest)), Some((other, new_rest))) =
        (old.split_first(), new.split_first())
    {
        if first == other {
            lines.push(Line::Same(first));
            (old, new) = (old_rest, new_rest);
            continue;
        }
        let (gone, come) = parting(old, new);
        lines.extend(old.iter().take(gone).map(|line| Line::Gone(line)));
        lines.extend(new.iter().take(come).map(|line| Line::New(line)));
        old = old.get(gone..).unwrap_or_default();
        new = new.get(come..).unwrap_or_default();
    }
    lines.extend(old.iter().map(|line| Line::Gone(line)));
    lines.extend(new.iter().map(|line| Line::New(line)));
    lines
}

/// How many lines to pass over in each until both go on alike.
fn parting(old: &[&str], new: &[&str]) -> (usize, usize) {
    for distance in 1..=LOOK_AHEAD_MAX {
        for gone in 0..=distance {
            let come = distance - gone;
            if let (Some(a), Some(b)) = (old.get(gone), new.get(come))
                && a == b
                && old.get(gone + 1) == new.get(come + 1)
            {
                return (gone, come);
            }
        }
    }
    (old.len(), new.len())
}

#[cfg(test)]
mod tests {
    use super::unified;
    use expect_test::expect;

    #[test]
    fn changes_far_from_each_other_are_hunks_of_their_own() {
        let before: String = (1..=20).map(|line| format!("line {line}\n")).collect();
        let after = before.replace("line 2\n", "two\n").replace("line 18\nline 19\n", "");
        expect![[r#"
            --- a/a.yaml
            +++ b/a.yaml
            @@ -1,5 +1,5 @@
             line 1
            -line 2
            +two
             line 3
             line 4
             line 5
            @@ -15,6 +15,4 @@
             line 15
             line 16
             line 17
            -line 18
            -line 19
             line 20
        "#]]
        .assert_eq(&unified("a.yaml", &before, &after));
        assert_eq!(unified("a.yaml", &before, &before), "");
    }

    #[test]
    fn a_missing_line_break_at_the_end_is_told() {
        expect![[r#"
            --- a/a
            +++ b/a
            @@ -1,1 +1,1 @@
            -x
            \ No newline at end of file
            +y
            \ No newline at end of file
        "#]]
        .assert_eq(&unified("a", "x", "y"));
    }
}
