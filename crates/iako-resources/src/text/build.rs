//! Builds the tree from the parser's events.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag};

use super::{Documents, Entry, Limits, Node, TextProblem, Value, scalar};
use crate::{Code, Position, Span};

/// Reads every document of a text.
///
/// A fault of syntax ends its document, and the reading goes on with the next one; a limit ends the
/// reading. What came before is kept.
#[must_use]
pub fn parse_documents(text: &str, limits: Limits) -> Documents {
    let mut found = Documents::default();
    if text.len() > limits.bytes_max {
        let message = format!(
            "the text has {} bytes, more than the {} allowed",
            text.len(),
            limits.bytes_max
        );
        found.failures.push(problem(Code::DocumentLimit, Span::default(), message));
        return found;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = granit_parser::options! {
        block_nesting_limit: limits.depth_max,
        flow_nesting_limit: limits.depth_max,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::new(limits);
    let mut parser = Parser::new_from_str_with_options(text, options);
    while let Some(next) = parser.next_event() {
        let step = match next {
            Ok((event, span)) => builder.event(event, &span, &mut found),
            Err(error) => Err(syntax_problem(&error, limits)),
        };
        let Err(failure) = step else { continue };
        let ends_all = failure.code == Code::DocumentLimit;
        found.failures.push(failure);
        if ends_all || found.failures.len() >= FAILURES_MAX {
            break;
        }
        builder.start_over();
        if !matches!(parser.proceed_next_document(), Ok(true)) {
            break;
        }
    }
    found
}

/// Documents of one text that may be broken before the reading ends.
const FAILURES_MAX: usize = 100;

fn problem(code: Code, span: Span, message: String) -> TextProblem {
    TextProblem { code, span, message }
}

fn syntax_problem(error: &ScanError, limits: Limits) -> TextProblem {
    let marker = error.marker();
    let span = Span { line: number(marker.line()), column: number(marker.col() + 1), length: 1 };
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        let message = format!("values are nested more than {} deep", limits.depth_max);
        return problem(Code::DocumentLimit, span, message);
    }
    problem(Code::BrokenYaml, span, error.info())
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn to_span(span: &granit_parser::Span) -> Span {
    let (start, end) = (&span.start, &span.end);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Span { line: number(start.line()), column: number(start.col() + 1), length: number(length) }
}

fn to_end(span: &granit_parser::Span) -> Position {
    Position { line: number(span.end.line()), column: number(span.end.col() + 1) }
}

/// A mapping or list that is not finished.
struct Open {
    span: Span,
    style: StructureStyle,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Span)> },
}

struct Builder {
    limits: Limits,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<TextProblem>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    aliases: usize,
}

impl Builder {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Vec::new(),
            root: None,
            problems: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            aliases: 0,
        }
    }

    /// Forgets a document that broke; what it counted against the limits stays counted.
    fn start_over(&mut self) {
        self.open.clear();
        self.root = None;
        self.problems.clear();
        self.anchors.clear();
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser's events may grow; what is not data is presentation"
    )]
    fn event(
        &mut self,
        event: Event<'_>,
        place: &granit_parser::Span,
        found: &mut Documents,
    ) -> Result<(), TextProblem> {
        let (span, end) = (to_span(place), to_end(place));
        match event {
            Event::DocumentStart(..) => self.start_over(),
            Event::DocumentEnd => {
                let problems = std::mem::take(&mut self.problems);
                found.documents.extend(self.root.take().map(|root| (root, problems)));
            }
            Event::Alias(id) => self.alias(id, span)?,
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), span);
                self.finish(Node { value, span, end }, anchor, 1)?;
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open.push(Open { span, style, anchor, content: Content::List(Vec::new()) });
            }
            Event::MappingStart(style, anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: None };
                self.open.push(Open { span, style, anchor, content });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end)?,
            // Start and end of the text, comments and other presentation.
            _ => {}
        }
        Ok(())
    }

    /// What a scalar means: its tag decides, else its quotes, else its looks.
    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Value {
        let as_text = || Value::Text(text.to_owned());
        match tag.map(Tag::core_suffix) {
            None if style != ScalarStyle::Plain => as_text(),
            None => {
                let value = scalar::resolve(text);
                if let Some(message) = scalar::surprise(text, &value) {
                    self.problems.push(problem(Code::SurprisingScalar, span, message));
                }
                value
            }
            Some(Some("bool" | "int" | "float" | "null")) => scalar::resolve(text),
            Some(_) => as_text(),
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), TextProblem> {
        self.aliases += 1;
        if self.aliases > self.limits.aliases_max {
            let message = format!("more than {} aliases are used", self.limits.aliases_max);
            return Err(problem(Code::DocumentLimit, span, message));
        }
        let Some((node, size)) = self.anchors.get(&id).cloned() else {
            let message = "the alias stands inside the value that it names".to_owned();
            return Err(problem(Code::BrokenYaml, span, message));
        };
        self.charge(size, span)?;
        // The depth of a repeated value adds to that of its place.
        let depth = self.open.len() + depth(&node);
        if depth > self.limits.depth_max {
            let message = format!("values are nested more than {} deep", self.limits.depth_max);
            return Err(problem(Code::DocumentLimit, span, message));
        }
        self.place(node)
    }

    fn charge(&mut self, count: usize, span: Span) -> Result<(), TextProblem> {
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes <= self.limits.nodes_max {
            return Ok(());
        }
        let message = format!("the text has more than {} values", self.limits.nodes_max);
        Err(problem(Code::DocumentLimit, span, message))
    }

    /// A value is whole: remember it if it has an anchor, put it where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), TextProblem> {
        self.charge(1, node.span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), count));
        }
        self.place(node)
    }

    fn close(&mut self, end: Position) -> Result<(), TextProblem> {
        let Some(Open { span, style, anchor, content }) = self.open.pop() else { return Ok(()) };
        // The parser learns of the end of a block when the next thing begins.
        let last = match &content {
            Content::List(nodes) => nodes.last().map(|node| node.end),
            Content::Map { entries, .. } => {
                entries.last().map(|entry| entry.node.end.max(entry.key_span.end()))
            }
        };
        let end = match (style, last) {
            (StructureStyle::Block, Some(last)) => last,
            (StructureStyle::Block | StructureStyle::Flow, _) => end,
        };
        let value = match content {
            Content::List(nodes) => Value::List(nodes),
            Content::Map { entries, .. } => Value::Map(self.merged(entries)),
        };
        let node = Node { value, span, end };
        let count = if anchor == 0 { 1 } else { size(&node) };
        self.finish(node, anchor, count)
    }

    fn place(&mut self, node: Node) -> Result<(), TextProblem> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(nodes)) => nodes.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                None => *key = Some(key_of(node)?),
                Some((key, key_span)) => {
                    if let Some(first) = entries.iter().find(|e| e.key == key && key != "<<") {
                        let message = format!(
                            "the key {key:?} stands here a second time; first on line {}",
                            first.key_span.line
                        );
                        self.problems.push(problem(Code::DuplicateKey, key_span, message));
                    }
                    entries.push(Entry { key, key_span, node });
                }
            },
        }
        Ok(())
    }

    /// Applies merge keys: what the mapping says itself comes first.
    fn merged(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        if !entries.iter().any(|entry| entry.key == "<<") {
            return entries;
        }
        let (merges, mut own): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.key == "<<");
        let mut sources = Vec::new();
        for merge in merges {
            match merge.node.value {
                Value::List(nodes) => sources.extend(nodes),
                Value::Null
                | Value::Bool(_)
                | Value::Int(..)
                | Value::Float(..)
                | Value::Text(_)
                | Value::Map(_) => sources.push(merge.node),
            }
        }
        for source in sources {
            let Value::Map(entries) = source.value else {
                let message = "a merge key takes a mapping, or a list of them".to_owned();
                self.problems.push(problem(Code::WrongType, source.span, message));
                continue;
            };
            for entry in entries {
                if !own.iter().any(|known| known.key == entry.key) {
                    own.push(entry);
                }
            }
        }
        own
    }
}

fn key_of(node: Node) -> Result<(String, Span), TextProblem> {
    match node.value {
        Value::Text(text) | Value::Int(_, text) | Value::Float(_, text) => Ok((text, node.span)),
        Value::Bool(value) => Ok((value.to_string(), node.span)),
        Value::Null => Ok(("null".to_owned(), node.span)),
        Value::List(_) | Value::Map(_) => {
            let message = "a key is a text, not a list or a mapping".to_owned();
            Err(problem(Code::BrokenYaml, node.span, message))
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(nodes) => nodes.iter().fold(1, |sum, node| sum + size(node)),
        Value::Map(entries) => entries.iter().fold(1, |sum, entry| sum + size(&entry.node)),
        Value::Null | Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => 1,
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|e| depth(&e.node)).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => 0,
    }
}
