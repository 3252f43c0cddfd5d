//! Reading: the sink that both kinds of heads and trailers share.

use bytes::BytesMut;

use super::error::SectionError;
use super::request::RequestPseudo;
use super::response;
use crate::field::Sensitivity;
use crate::h2::{ConnectProtocol, Ends};
use crate::head::{BodyLength, Fields, RequestHead, ResponseHead};
use crate::hpack::{
    DecodedField, Decoder, Discard, FieldSink, HpackError, Pseudo, Token, ValueKind,
};
use crate::join::{self, copy_within};
use crate::known::{Known, KnownSet};
use crate::limits::{Limits, Underscores};
use crate::parse::{ResponseTo, decimal};
use crate::scan::{Entries, Entry, Span, Travels, narrow};

/// Room that is asked for at once. Heads that are short-lived share it one after the other, so that most
/// need no allocation; a head that lives long holds it for as long.
const ARENA_BYTES: usize = 2048;

/// Reads the field sections of one direction of one connection, in the order in which they came.
#[derive(Debug)]
pub struct SectionReader {
    decoder: Decoder,
    limits: Limits,
    arena: BytesMut,
}

impl SectionReader {
    /// A reader within these limits, whose compression table holds at most so many bytes.
    #[must_use]
    pub fn new(limits: Limits, table_bytes_max: usize) -> Self {
        Self { decoder: Decoder::new(table_bytes_max), limits, arena: BytesMut::new() }
    }

    /// See [`Decoder::set_table_bytes_max`].
    pub fn set_table_bytes_max(&mut self, table_bytes_max: usize) {
        self.decoder.set_table_bytes_max(table_bytes_max);
    }

    /// Gives back the room that waits for the next head: for connections that are idle.
    pub fn release_room(&mut self) {
        self.arena = BytesMut::new();
    }

    /// Reads a whole block as the head of a request.
    ///
    /// # Errors
    /// When the block cannot be read, or is no head, or is too large.
    pub fn request(
        &mut self,
        block: &[u8],
        ends: Ends,
        connect: ConnectProtocol,
    ) -> Result<RequestHead, SectionError> {
        let mut pseudo = RequestPseudo::default();
        let mut section = self.read(block, &mut pseudo)?;
        section.join(KnownSet::JOINED_IN_REQUESTS);
        pseudo.head(section, ends, connect)
    }

    /// Reads a whole block as the head of a response to such a request.
    ///
    /// # Errors
    /// When the block cannot be read, or is no head, or is too large.
    pub fn response(
        &mut self,
        block: &[u8],
        ends: Ends,
        to: ResponseTo,
    ) -> Result<ResponseHead, SectionError> {
        let mut status = response::Status::default();
        let mut section = self.read(block, &mut status)?;
        section.join(KnownSet::JOINED_IN_RESPONSES);
        status.head(section, ends, to)
    }

    /// Reads a whole block as trailers. Fields that belong into heads are left out (RFC 9110 §6.5.1).
    ///
    /// # Errors
    /// When the block cannot be read, or holds pseudo-header fields, or is too large.
    pub fn trailers(&mut self, block: &[u8]) -> Result<Fields, SectionError> {
        let mut section = self.read(block, &mut NoPseudo)?;
        section.join(KnownSet::JOINED_IN_TRAILERS);
        let Section { buffer, entries, .. } = &mut section;
        entries.retain(|entry| Known::may_trail(entry.known, entry.name_span().of(buffer)));
        Ok(section.fields())
    }

    /// Reads a block of a stream that nobody wants, for what it does to the compression's table.
    ///
    /// # Errors
    /// When the block cannot be read.
    pub fn skip(&mut self, block: &[u8]) -> Result<(), HpackError> {
        self.decoder.decode(block, &mut Discard)
    }

    fn read(
        &mut self,
        block: &[u8],
        pseudo: &mut impl PseudoFields,
    ) -> Result<Section<'_>, SectionError> {
        self.arena.clear();
        let likely = block.len().min(self.limits.head_bytes_max) * 2 + 128;
        if self.arena.capacity() < likely {
            self.arena.reserve(likely.max(ARENA_BYTES));
        }
        let mut collect = Collect {
            section: Section {
                buffer: &mut self.arena,
                entries: Entries::new(),
                present: KnownSet::default(),
                repeated: KnownSet::default(),
                crumbs: Vec::new(),
            },
            pseudo,
            limits: &self.limits,
            seen_regular: false,
            fields_left: self.limits.fields_max,
            bytes_left: self.limits.head_bytes_max,
            error: None,
        };
        self.decoder.decode(block, &mut collect)?;
        if let Some(error) = collect.error {
            return Err(error);
        }
        let mut section = collect.section;
        section.join_crumbs();
        section.trim_crumbs();
        Ok(section)
    }
}

/// What a kind of message does with pseudo-header fields.
pub(super) trait PseudoFields {
    /// Takes one.
    fn take(
        &mut self,
        pseudo: Pseudo,
        value: &[u8],
        section: &mut Section<'_>,
    ) -> Result<(), SectionError>;
}

/// Trailers have none (RFC 9113 §8.1).
struct NoPseudo;

impl PseudoFields for NoPseudo {
    fn take(&mut self, pseudo: Pseudo, _: &[u8], _: &mut Section<'_>) -> Result<(), SectionError> {
        Err(SectionError::UnexpectedPseudo(pseudo))
    }
}

/// Fields as they are collected, in the buffer that their head will share.
#[derive(Debug)]
pub(super) struct Section<'a> {
    buffer: &'a mut BytesMut,
    pub(super) entries: Entries,
    pub(super) present: KnownSet,
    /// Names that join and stand there more than once.
    repeated: KnownSet,
    /// Crumbs of `cookie` that do not stand behind the first one (RFC 9113 §8.2.3).
    crumbs: Vec<Span>,
}

impl Section<'_> {
    /// Copies a text to the end of the buffer.
    pub(super) fn append(&mut self, text: &[u8]) -> Span {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(text);
        Span::new(start, text.len())
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        span.of(self.buffer)
    }

    /// Ends the collection.
    pub(super) fn fields(self) -> Fields {
        Fields {
            bytes: self.buffer.split().freeze(),
            original: None,
            present: self.present,
            entries: self.entries,
        }
    }

    /// Takes `host` out of the fields: it is the authority when there is no other.
    pub(super) fn take_host(&mut self) -> Result<Option<Span>, SectionError> {
        if !self.present.contains(Known::Host) {
            return Ok(None);
        }
        let mut hosts = self.entries.iter().filter(|entry| entry.known == Some(Known::Host));
        let host = hosts.next().map(Entry::value_span);
        if hosts.next().is_some() {
            return Err(SectionError::Host);
        }
        self.entries.retain(|entry| entry.known != Some(Known::Host));
        self.present.remove(Known::Host);
        Ok(host)
    }

    /// `content-length`, which stands there once at most: RFC 9110 §8.6 lets a recipient take equal ones
    /// for one, and Envoy does not.
    pub(super) fn content_length(&self) -> Result<Option<u64>, SectionError> {
        if !self.present.contains(Known::ContentLength) {
            return Ok(None);
        }
        let mut lengths =
            self.entries.iter().filter(|entry| entry.known == Some(Known::ContentLength));
        let only = lengths.next().and_then(|entry| decimal(self.text(entry.value_span())));
        if lengths.next().is_some() {
            return Err(SectionError::ContentLengthRepeated);
        }
        only.map(Some).ok_or(SectionError::ContentLength)
    }

    /// Leaves `content-length` out.
    pub(super) fn drop_content_length(&mut self) {
        if self.present.contains(Known::ContentLength) {
            self.entries.retain(|entry| entry.known != Some(Known::ContentLength));
            self.present.remove(Known::ContentLength);
        }
    }

    fn push(&mut self, field: &DecodedField<'_>, known: Option<Known>) {
        // A known name is a number; only others are copied.
        let name = match known {
            Some(known) => {
                self.present.note(known, &mut self.repeated);
                Span::default()
            }
            None => self.append(field.name),
        };
        let value = self.append(field.value);
        crate::scan::push_entry(
            &mut self.entries,
            Entry {
                name: name.start,
                value: value.start,
                value_len: value.len,
                name_len: u16::try_from(name.len).unwrap_or_default(),
                known,
                travels: match field.sensitivity {
                    Sensitivity::Plain => Travels::On,
                    Sensitivity::Sensitive => Travels::Unindexed,
                },
            },
        );
    }

    /// Makes one field of those of each of these names.
    fn join(&mut self, joined: KnownSet) {
        join::join(&mut self.entries, self.buffer, self.repeated, joined);
    }

    /// A crumb of `cookie`. Usually all stand side by side, and so do their copies.
    fn push_crumb(&mut self, field: &DecodedField<'_>) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.known == Some(Known::Cookie))
        else {
            return self.push(field, Some(Known::Cookie));
        };
        if field.sensitivity == Sensitivity::Sensitive {
            entry.travels = Travels::Unindexed;
        }
        if entry.value_span().range().end == self.buffer.len() && self.crumbs.is_empty() {
            let separator: &[u8] = if entry.value_len == 0 { b"" } else { b"; " };
            entry.value_len += narrow(field.value.len() + separator.len());
            self.buffer.extend_from_slice(separator);
            self.buffer.extend_from_slice(field.value);
        } else {
            let crumb = self.append(field.value);
            self.crumbs.push(crumb);
        }
    }

    /// An empty crumb at the end leaves a blank there, which no value may have.
    fn trim_crumbs(&mut self) {
        if !self.present.contains(Known::Cookie) {
            return;
        }
        let cookie = self.entries.iter_mut().find(|entry| entry.known == Some(Known::Cookie));
        if let Some(entry) = cookie
            && entry.value_span().of(self.buffer).ends_with(b" ")
        {
            entry.value_len -= 1;
        }
    }

    /// Copies the crumbs that were scattered once more, to where they are one text.
    fn join_crumbs(&mut self) {
        if self.crumbs.is_empty() {
            return;
        }
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.known == Some(Known::Cookie))
        else {
            return;
        };
        let start = self.buffer.len();
        copy_within(self.buffer, entry.value_span());
        for crumb in &self.crumbs {
            if self.buffer.len() > start {
                self.buffer.extend_from_slice(b"; ");
            }
            copy_within(self.buffer, *crumb);
        }
        entry.value = narrow(start);
        entry.value_len = narrow(self.buffer.len() - start);
    }
}

/// Takes fields as they are decoded.
struct Collect<'a, 'p, P> {
    section: Section<'a>,
    pseudo: &'p mut P,
    limits: &'p Limits,
    seen_regular: bool,
    fields_left: usize,
    bytes_left: usize,
    /// The first thing that was wrong. What comes behind it is read and thrown away.
    error: Option<SectionError>,
}

impl<P: PseudoFields> FieldSink for Collect<'_, '_, P> {
    fn field(&mut self, field: DecodedField<'_>) {
        if self.error.is_none() {
            self.error = self.take(&field).err();
        }
    }
}

impl<P: PseudoFields> Collect<'_, '_, P> {
    fn take(&mut self, field: &DecodedField<'_>) -> Result<(), SectionError> {
        self.fields_left = self.fields_left.checked_sub(1).ok_or(SectionError::TooManyFields)?;
        let bytes = field.name.len() + field.value.len();
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(SectionError::TooLarge)?;
        if field.kind == ValueKind::Forbidden {
            return Err(SectionError::Value);
        }
        let known = match field.token {
            Token::Pseudo(_) if self.seen_regular => return Err(SectionError::LatePseudo),
            Token::Pseudo(pseudo) => {
                return self.pseudo.take(pseudo, field.value, &mut self.section);
            }
            Token::Known(known) => Some(known),
            Token::Other => None,
            Token::Underscored => match self.limits.underscores {
                Underscores::Allow => None,
                Underscores::Drop => {
                    self.seen_regular = true;
                    return Ok(());
                }
                Underscores::Reject => return Err(SectionError::Underscore),
            },
            Token::UpperCase => return Err(SectionError::UpperCase),
            Token::UnknownPseudo => return Err(SectionError::UnknownPseudo),
            Token::Invalid => return Err(SectionError::Name),
        };
        self.seen_regular = true;
        if field.kind == ValueKind::Blank {
            return Err(SectionError::Blank);
        }
        self.regular(field, known)
    }

    fn regular(
        &mut self,
        field: &DecodedField<'_>,
        known: Option<Known>,
    ) -> Result<(), SectionError> {
        match known {
            Some(
                Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::TransferEncoding
                | Known::Upgrade,
            ) => return Err(SectionError::ConnectionField),
            // It speaks about a connection too, but nobody forbids it: it ends here.
            Some(Known::Http2Settings) => {}
            Some(Known::Te) if !field.value.eq_ignore_ascii_case(b"trailers") => {
                return Err(SectionError::Te);
            }
            Some(Known::Cookie) => self.section.push_crumb(field),
            _ => self.section.push(field, known),
        }
        Ok(())
    }
}

/// How much content a message announces.
pub(super) fn body_length(ends: Ends, announced: Option<u64>) -> Result<BodyLength, SectionError> {
    match (ends, announced) {
        (Ends::Here, None) => Ok(BodyLength::Empty),
        (Ends::Here, Some(1..)) => Err(SectionError::MissingContent),
        (Ends::Here | Ends::Later, Some(length)) => Ok(BodyLength::Exact(length)),
        (Ends::Later, None) => Ok(BodyLength::Chunked),
    }
}
