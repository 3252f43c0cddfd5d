//! Where the lines of a text start.

use crate::Position;

/// A text and the places of its lines.
#[derive(Debug, Clone)]
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Looks for the lines of a text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// How many lines there are; an empty one after the last line break counts.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// A line without its break, by its number from 1.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&'t str> {
        let (start, end) = self.bounds(number)?;
        let line = self.text.get(start..end)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    fn bounds(&self, number: u32) -> Option<(usize, usize)> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let start = *self.starts.get(index)?;
        Some((start, self.starts.get(index + 1).copied().unwrap_or(self.text.len())))
    }

    /// The byte at which a place is; the end of the text for the line after the last.
    #[must_use]
    pub fn offset(&self, position: Position) -> Option<usize> {
        let characters = usize::try_from(position.column.checked_sub(1)?).ok()?;
        let Some((start, end)) = self.bounds(position.line) else {
            let lines = u32::try_from(self.starts.len()).ok()?;
            return (position.line == lines.checked_add(1)?).then_some(self.text.len());
        };
        let mut line = self.text.get(start..end)?.char_indices();
        match line.nth(characters) {
            Some((at, _)) => Some(start + at),
            None => Some(end),
        }
    }

    /// The place of a byte.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied();
        let before = self.text.get(start.unwrap_or_default()..offset).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Position { line: number(line), column: number(before.chars().count() + 1) }
    }

    /// The text between two places.
    #[must_use]
    pub fn between(&self, start: Position, end: Position) -> Option<&'t str> {
        self.text.get(self.offset(start)?..self.offset(end)?)
    }

    /// The text from a place on.
    #[must_use]
    pub fn after(&self, start: Position) -> Option<&'t str> {
        self.text.get(self.offset(start)?..)
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use crate::Position;

    #[test]
    fn places_count_characters_and_bytes_count_bytes() {
        let lines = Lines::new("a\nöäx\r\nend");
        let at = |line, column| Position { line, column };
        assert_eq!(lines.offset(at(2, 3)), Some(6));
        assert_eq!(lines.position(6), at(2, 3));
        assert_eq!(lines.line(2), Some("öäx"));
        assert_eq!(lines.between(at(2, 2), at(3, 2)), Some("äx\r\ne"));
        assert_eq!(lines.offset(at(4, 1)), Some(12));
        assert_eq!(lines.offset(at(5, 1)), None);
    }
}
