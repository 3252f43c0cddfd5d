//! The terminal while a mesh runs.

use std::io::{IsTerminal, Write};

use crate::demo::{MeshSummary, Window};

/// Draws the summary over and over in the same place, or nothing when nobody looks.
#[derive(Debug)]
pub(crate) struct Screen {
    live: bool,
    lines: usize,
}

impl Screen {
    /// A screen on standard error, which stays free for it when results go to standard output.
    pub(crate) fn new() -> Self {
        Self { live: std::io::stderr().is_terminal(), lines: 0 }
    }

    /// Draws.
    pub(crate) fn draw(&mut self, summary: &MeshSummary) {
        if !self.live {
            return;
        }
        let table = summary.to_table(Window::Lately);
        let mut text = self.erase();
        text.push('\n');
        text.push_str(&table);
        self.lines = text.matches('\n').count();
        write(&text);
    }

    /// Writes a line that stays, above the summary.
    pub(crate) fn say(&mut self, line: &str) {
        let text = format!("{}{line}\n", self.erase());
        self.lines = 0;
        write(&text);
    }

    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.lines) {
            0 => String::new(),
            // Up by so many lines, then clear to the end of the screen.
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

fn write(text: &str) {
    if let Err(error) = std::io::stderr().write_all(text.as_bytes()) {
        tracing::trace!(%error, "nobody looks at the terminal any more");
    }
}
