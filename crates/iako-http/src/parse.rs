//! From a scanned block to a head: start lines, framing, and what `Connection` says.

mod framing;
mod target;

use bytes::BytesMut;
use smallvec::SmallVec;

use crate::error::ParseError;
use crate::head::{
    BodyLength, Fields, Persistence, RequestHead, ResponseHead, TargetForm, TargetText, Version,
    list_members,
};
use crate::join;
use crate::known::{Known, KnownSet};
use crate::limits::{Http10, Limits, Methods, NameCase};
use crate::method::Method;
use crate::scan::{BlockScanner, Entries, Span, Travels, name_byte};
use framing::Framing;
pub(crate) use framing::decimal;
pub(crate) use target::{is_authority, is_target};

/// What a response answers; it decides whether content follows (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseTo {
    /// Any request without a rule of its own.
    Plain,
    /// HEAD: no content, whatever the head announces.
    Head,
    /// CONNECT: a 2xx turns the connection into a tunnel.
    Connect,
    /// A request that asked for another protocol: 101 turns the connection into a tunnel.
    Upgrade,
}

impl ResponseTo {
    /// The kind of a request.
    #[must_use]
    pub fn request(head: &RequestHead) -> Self {
        if head.method == Method::Head {
            Self::Head
        } else if head.method == Method::Connect {
            Self::Connect
        } else if head.upgrade().is_some() {
            Self::Upgrade
        } else {
            Self::Plain
        }
    }
}

pub(crate) fn request(
    scanner: &mut BlockScanner,
    mut block: BytesMut,
    limits: &Limits,
) -> Result<RequestHead, ParseError> {
    let start_line = scanner.start_line.take().unwrap_or_default();
    let line = RequestLine::parse(start_line, &mut block, limits)?;
    let mut entries = std::mem::take(&mut scanner.entries);
    let (present, original) =
        name_fields(&mut entries, &mut block, KnownSet::JOINED_IN_REQUESTS, limits);
    let framing = Framing::read(&entries, &block, present)?;
    let length = framing.request_length(&line.method, line.version)?;
    let persistence = connection(&mut entries, &block, present, line.version)?;
    let host_name = host_name(&entries, original.as_ref());
    let host = take_host(&mut entries, &block, present)?;
    let authority = match (line.authority, host) {
        (Some(authority), _) => authority,
        // An empty host is none: nobody behind us could be asked for it by HTTP/2.
        (None, Some(host)) if host.len > 0 => host,
        (None, None) if line.version == Version::Http10 => Span::default(),
        (None, Some(_) | None) => return Err(ParseError::MissingHost),
    };
    let target = TargetText::new(authority.of(&block), line.path.of(&block));
    let fields = Fields { bytes: block.freeze(), original, present, entries };
    Ok(RequestHead {
        method: line.method,
        version: line.version,
        scheme: line.scheme,
        form: line.form,
        target,
        protocol: Span::default(),
        length,
        persistence,
        host_name,
        fields,
    })
}

/// `Host` in the client's letters, where those are kept.
fn host_name(entries: &Entries, original: Option<&bytes::Bytes>) -> Option<[u8; 4]> {
    let entry = entries.iter().find(|entry| entry.known == Some(Known::Host))?;
    entry.name_span().of(original?).try_into().ok()
}

pub(crate) fn response(
    scanner: &mut BlockScanner,
    mut block: BytesMut,
    to: ResponseTo,
    limits: &Limits,
) -> Result<ResponseHead, ParseError> {
    let start_line = scanner.start_line.take().unwrap_or_default();
    let (status, version) = status_line(start_line.of(&block))?;
    let mut entries = std::mem::take(&mut scanner.entries);
    let (present, original) =
        name_fields(&mut entries, &mut block, KnownSet::JOINED_IN_RESPONSES, limits);
    let framing = Framing::read(&entries, &block, present)?;
    let length = framing.response_length(status, version, to)?;
    let mut persistence = connection(&mut entries, &block, present, version)?;
    if matches!(length, BodyLength::UntilClose | BodyLength::Tunnel) {
        persistence = Persistence::Close;
    }
    let fields = Fields { bytes: block.freeze(), original, present, entries };
    Ok(ResponseHead { status, version, length, persistence, fields })
}

/// Trailers: fields that belong into heads are left out (RFC 9110 §6.5.1).
pub(crate) fn trailers(scanner: &mut BlockScanner, mut block: BytesMut, limits: &Limits) -> Fields {
    let joined = KnownSet::JOINED_IN_TRAILERS;
    let mut entries = std::mem::take(&mut scanner.entries);
    let (present, original) = name_fields(&mut entries, &mut block, joined, limits);
    entries.retain(|entry| Known::may_trail(entry.known, entry.name_span().of(&block)));
    Fields { bytes: block.freeze(), original, present, entries }
}

/// Recognizes names, makes one of fields that join, and finishes their lower-casing where the original letters are kept aside.
fn name_fields(
    entries: &mut Entries,
    block: &mut BytesMut,
    joined: KnownSet,
    limits: &Limits,
) -> (KnownSet, Option<bytes::Bytes>) {
    let mut original = None;
    if limits.name_case == NameCase::Preserve {
        original = Some(bytes::Bytes::copy_from_slice(block));
        for entry in entries.iter() {
            for byte in block.get_mut(entry.name_span().range()).unwrap_or_default() {
                *byte = name_byte(*byte);
            }
        }
    }
    let (mut present, mut repeated) = (KnownSet::default(), KnownSet::default());
    for entry in entries.iter_mut() {
        entry.known = Known::lookup(entry.name_span().of(block));
        if let Some(known) = entry.known {
            present.note(known, &mut repeated);
            if known.is_hop_by_hop() {
                entry.travels = Travels::EndsHere;
            }
        }
    }
    join::join(entries, block, repeated, joined);
    (present, original)
}

/// Takes `Host` out of the fields: it is the authority.
fn take_host(
    entries: &mut Entries,
    block: &[u8],
    present: KnownSet,
) -> Result<Option<Span>, ParseError> {
    if !present.contains(Known::Host) {
        return Ok(None);
    }
    let mut host = None;
    for entry in entries.iter().filter(|entry| entry.known == Some(Known::Host)) {
        if host.is_some() || !is_authority(entry.value_span().of(block)) {
            return Err(ParseError::Host);
        }
        host = Some(entry.value_span());
    }
    entries.retain(|entry| entry.known != Some(Known::Host));
    Ok(host)
}

/// Most fields that `Connection` may nominate. Each costs a walk over the head; nobody needs many.
/// Envoy's bound for the same.
const NOMINATED_MAX: usize = 10;

/// Reads `Connection` and `TE`: whether the connection stays, and which fields end here.
fn connection(
    entries: &mut Entries,
    block: &[u8],
    present: KnownSet,
    version: Version,
) -> Result<Persistence, ParseError> {
    if present.contains(Known::Te) {
        keep_te_trailers(entries, block);
    }
    let (mut close, mut keep_alive) = (false, false);
    if present.contains(Known::Connection) {
        let values: SmallVec<[Span; 4]> = entries
            .iter()
            .filter(|entry| entry.known == Some(Known::Connection))
            .map(crate::scan::Entry::value_span)
            .collect();
        let mut nominated = 0;
        for member in values.iter().flat_map(|value| list_members(value.of(block))) {
            if member.eq_ignore_ascii_case(b"close") {
                close = true;
            } else if member.eq_ignore_ascii_case(b"keep-alive") {
                keep_alive = true;
            } else if !member.eq_ignore_ascii_case(b"upgrade") {
                nominated += 1;
                check_nominated(member)?;
                nominate(entries, block, member);
            }
        }
        if nominated > NOMINATED_MAX {
            return Err(ParseError::ConnectionField);
        }
    }
    let stays = !close && (version != Version::Http10 || keep_alive);
    Ok(if stays { Persistence::KeepAlive } else { Persistence::Close })
}

/// Refuses a client that would strip what the next hop decides by. A request whose `Host` ends here has
/// none.
fn check_nominated(member: &[u8]) -> Result<(), ParseError> {
    const REFUSED: [&[u8]; 3] = [b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"];
    if member.eq_ignore_ascii_case(b"host") {
        return Err(ParseError::MissingHost);
    }
    let is_refused = |name: &&[u8]| member.eq_ignore_ascii_case(name);
    if member.first() == Some(&b':') || REFUSED.iter().any(is_refused) {
        return Err(ParseError::ConnectionField);
    }
    Ok(())
}

/// Ends a field here because `Connection` names it.
///
/// Content-Length and the fields by which proxies know the client are left alone: a client must not be
/// able to strip what the next hop decides by.
fn nominate(entries: &mut Entries, block: &[u8], member: &[u8]) {
    for entry in entries.iter_mut() {
        let protected = matches!(
            entry.known,
            Some(
                Known::Host
                    | Known::ContentLength
                    | Known::Te
                    | Known::XForwardedFor
                    | Known::XForwardedHost
                    | Known::XForwardedProto
                    | Known::XForwardedClientCert
            )
        );
        if !protected && entry.name_span().of(block).eq_ignore_ascii_case(member) {
            entry.travels = Travels::EndsHere;
        }
    }
}

/// Of `TE` only the member `trailers` travels on: gRPC needs it, HTTP/2 forbids the rest.
fn keep_te_trailers(entries: &mut Entries, block: &[u8]) {
    for entry in entries.iter_mut().filter(|entry| entry.known == Some(Known::Te)) {
        let value = entry.value_span().of(block);
        if value.eq_ignore_ascii_case(b"trailers") {
            continue;
        }
        entry.travels = Travels::EndsHere;
        let mut offset = 0;
        for part in value.split(|byte| *byte == b',') {
            let (start, end) = crate::scan::trim(part);
            if part.get(start..end).is_some_and(|text| text.eq_ignore_ascii_case(b"trailers")) {
                let value_start = entry.value as usize + offset + start;
                entry.value = crate::scan::narrow(value_start);
                entry.value_len = crate::scan::narrow(end - start);
                entry.travels = Travels::On;
                break;
            }
            offset += part.len() + 1;
        }
    }
}

struct RequestLine {
    method: Method,
    version: Version,
    scheme: Option<crate::head::Scheme>,
    form: TargetForm,
    authority: Option<Span>,
    path: Span,
}

impl RequestLine {
    /// Exactly one space between the three parts; a lenient reader here and a strict one behind us
    /// would see different requests.
    fn parse(line: Span, block: &mut BytesMut, limits: &Limits) -> Result<Self, ParseError> {
        let text = line.of(block);
        let method_len = crate::scan::find(b' ', text).ok_or(ParseError::RequestLine)?;
        let target_and_version = text.get(method_len + 1..).unwrap_or_default();
        let token = text.get(..method_len).unwrap_or_default();
        let method = match Method::common(token) {
            Some(method) => method,
            None if is_of_another_protocol(target_and_version) => return Err(ParseError::NotHttp),
            None => uncommon_method(token, limits)?,
        };
        let Some(target_len) = crate::scan::find(b' ', target_and_version) else {
            // HTTP/0.9, whose requests had no version.
            return Err(match target_and_version {
                [b'/', ..] => ParseError::LowVersion,
                _ => ParseError::RequestLine,
            });
        };
        let version = match target_and_version.get(target_len + 1..).unwrap_or_default() {
            // Whoever speaks a later 1.x understands this one (RFC 9110 §2.5).
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
            b"HTTP/1.0" if limits.http_10 == Http10::Accept => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(ParseError::LowVersion);
            }
            _ if is_of_another_protocol(target_and_version) => return Err(ParseError::NotHttp),
            _ => return Err(ParseError::RequestLine),
        };
        let target = Span::new(line.start as usize + method_len + 1, target_len);
        let target = target::parse(target, block, &method)?;
        Ok(Self {
            method,
            version,
            scheme: target.scheme,
            form: target.form,
            authority: target.authority,
            path: target.path,
        })
    }
}

/// Whether what follows the first word of a line ends in a word where a version of HTTP would stand,
/// and that does not even try to be one.
fn is_of_another_protocol(target_and_version: &[u8]) -> bool {
    let Some(space) = crate::scan::find(b' ', target_and_version) else { return false };
    let begins_with_letter = target_and_version.get(space + 1).is_some_and(u8::is_ascii_alphabetic);
    let word = target_and_version.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let tries = word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"));
    begins_with_letter && !tries
}

fn uncommon_method(token: &[u8], limits: &Limits) -> Result<Method, ParseError> {
    let method = Method::parse(token).ok_or(ParseError::RequestLine)?;
    if limits.methods == Methods::Registered && !Method::is_registered(token) {
        return Err(ParseError::UnknownMethod);
    }
    Ok(method)
}

fn status_line(line: &[u8]) -> Result<(u16, Version), ParseError> {
    let version = match line.get(..8) {
        Some(b"HTTP/1.1") => Version::Http11,
        Some(b"HTTP/1.0") => Version::Http10,
        Some(other) if other.starts_with(b"HTTP/") => return Err(ParseError::Version),
        _ => return Err(ParseError::StatusLine),
    };
    let Some([b' ', hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..]) =
        line.get(8..)
    else {
        return Err(ParseError::StatusLine);
    };
    // The space before an empty reason is often forgotten, so it may be missing.
    if !matches!(rest.first(), None | Some(b' ')) || !crate::scan::is_value(rest) {
        return Err(ParseError::StatusLine);
    }
    let digit = |byte: &u8| u16::from(byte - b'0');
    Ok((digit(hundreds) * 100 + digit(tens) * 10 + digit(ones), version))
}
