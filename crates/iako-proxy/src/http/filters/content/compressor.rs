//! Compressing requests and responses, decided.

use iako_http::{FieldName, FieldValue, Fields, HeaderEdits, Known};
use iako_proxy_config::{Coding, CompressedContent, Compression, Compressor, CompressorOverride};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{CodingChoice, Offer, forbids_transforms, type_is_compressed, varies_also};

use crate::http::content::{Compress, CompressedBytes};
use crate::http::downstream::Content;

/// A compressor, compiled.
#[derive(Debug)]
pub(crate) struct CompressorStep {
    pub(crate) settings: Compressor,
    request: DirectionStats,
    response: DirectionStats,
    stats: CompressorStats,
}

#[derive(Debug)]
struct DirectionStats {
    compressed: Counter,
    not_compressed: Counter,
    too_small: Counter,
    bytes: CompressedBytes,
}

#[derive(Debug)]
struct CompressorStats {
    no_accept_header: Counter,
    header_identity: Counter,
    header_compressor_used: Counter,
    header_compressor_overshadowed: Counter,
    header_wildcard: Counter,
    header_not_valid: Counter,
    not_compressed_etag: Counter,
}

impl DirectionStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            compressed: scope.counter("compressed"),
            not_compressed: scope.counter("not_compressed"),
            too_small: scope.counter("content_length_too_small"),
            bytes: CompressedBytes {
                before: scope.counter("total_uncompressed_bytes"),
                after: scope.counter("total_compressed_bytes"),
            },
        }
    }

    fn long_enough(&self, rules: &CompressedContent, length: Option<u64>) -> bool {
        let long = length.is_none_or(|length| length >= u64::from(rules.bytes_min));
        if !long {
            self.too_small.inc();
        }
        long
    }
}

/// A message that may be compressed: its fields after the changes so far, and what follows the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) sent: &'a Fields,
    pub(crate) content: Content,
}

impl Message<'_> {
    fn text(&self, edits: &HeaderEdits, name: Known) -> Option<String> {
        joined(edits, self.sent, name)
    }

    /// How much content was announced.
    fn length(&self) -> Option<u64> {
        match self.content {
            Content::None => {
                self.sent.text(Known::ContentLength).and_then(|length| length.parse().ok())
            }
            Content::Exact(length) => Some(length),
            Content::Described(length) => length,
            Content::Streamed | Content::Tunnel => None,
        }
    }

    pub(super) fn has_content(&self) -> bool {
        matches!(self.content, Content::Exact(1..) | Content::Streamed)
    }
}

/// All values of a name as one list; none when there is none.
pub(crate) fn joined(edits: &HeaderEdits, sent: &Fields, name: Known) -> Option<String> {
    let values: Vec<_> = edits.values(sent, name).map(String::from_utf8_lossy).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// What is decided about a response before the client is asked.
enum Verdict {
    Compressible,
    /// Why not, as the response tells; nothing for the reasons that are not told.
    Spared(Option<&'static str>),
}

impl CompressorStep {
    pub(crate) fn compile(settings: &Compressor, http: &StatsScope) -> Self {
        let prefix = settings.library.coding.coding().stat_prefix();
        let scope = http.part("compressor").part(&settings.library.name).part(prefix);
        let request = DirectionStats::new(&scope.part("request"));
        let response = if settings.names_direction {
            DirectionStats::new(&scope.part("response"))
        } else {
            DirectionStats::new(&scope)
        };
        Self {
            settings: settings.clone(),
            request,
            response,
            stats: CompressorStats {
                no_accept_header: scope.counter("no_accept_header"),
                header_identity: scope.counter("header_identity"),
                header_compressor_used: scope.counter("header_compressor_used"),
                header_compressor_overshadowed: scope.counter("header_compressor_overshadowed"),
                header_wildcard: scope.counter("header_wildcard"),
                header_not_valid: scope.counter("header_not_valid"),
                not_compressed_etag: scope.counter("not_compressed_etag"),
            },
        }
    }

    fn compression(&self, route: Option<&CompressorOverride>) -> Compression {
        let own = route.and_then(|route| route.library.as_ref());
        own.unwrap_or(&self.settings.library).coding
    }

    fn coding(&self, route: Option<&CompressorOverride>) -> Coding {
        self.compression(route).coding()
    }

    fn compresses_responses(&self, route: Option<&CompressorOverride>) -> bool {
        match route {
            Some(route) if route.disabled => false,
            Some(route) if route.responses => true,
            Some(_) | None => self.settings.response.content.enabled.value,
        }
    }

    /// Whether the server is not told what the client accepts.
    pub(crate) fn hides_accept_encoding(&self, route: Option<&CompressorOverride>) -> bool {
        let own = route.and_then(|route| route.hides_accept_encoding);
        self.compresses_responses(route)
            && own.unwrap_or(self.settings.response.hides_accept_encoding)
    }

    /// Decides about the content of a request and changes its head.
    pub(crate) fn request(
        &self,
        route: Option<&CompressorOverride>,
        message: Message<'_>,
        edits: &mut HeaderEdits,
    ) -> Option<Compress> {
        let on = !route.is_some_and(|route| route.disabled);
        let rules = self.settings.request.as_ref().filter(|rules| rules.enabled.value && on);
        let compressed = rules.filter(|rules| {
            message.has_content()
                && self.request.long_enough(rules, message.length())
                && type_is_compressed(rules, message.text(edits, Known::ContentType).as_deref())
                && edits.get(message.sent, Known::ContentEncoding).is_none()
        });
        let step = compressed.and_then(|_| {
            Compress::new(self.compression(route), Some(self.request.bytes.clone())).ok()
        });
        if step.is_none() {
            self.request.not_compressed.inc();
            return None;
        }
        self.request.compressed.inc();
        let token = FieldValue::from_static(self.coding(route).token());
        edits.set(Known::ContentEncoding, token);
        step
    }

    /// What it offers a client for a response, if it would take it by its type.
    pub(crate) fn offer(
        &self,
        route: Option<&CompressorOverride>,
        content_type: Option<&str>,
    ) -> Option<Offer> {
        type_is_compressed(&self.settings.response.content, content_type)
            .then(|| Offer { token: self.coding(route).token(), first: self.settings.choose_first })
    }

    /// Decides about the content of a response and changes its head. `choose` asks what the client
    /// wants; none when it said nothing.
    #[expect(clippy::too_many_arguments, reason = "a response is its status, fields and content")]
    pub(crate) fn response(
        &self,
        route: Option<&CompressorOverride>,
        status: u16,
        message: Message<'_>,
        edits: &mut HeaderEdits,
        choose: &mut dyn FnMut(Option<&str>) -> Option<CodingChoice>,
    ) -> Option<Compress> {
        let content_type = message.text(edits, Known::ContentType);
        let verdict = if self.compresses_responses(route) {
            self.verdict(status, message, edits, content_type.as_deref())
        } else {
            Verdict::Spared(None)
        };
        let coding = self.coding(route);
        if let Verdict::Spared(reason) = verdict {
            self.response.not_compressed.inc();
            if let Some(reason) = reason.filter(|_| message.has_content()) {
                self.tell(coding, reason, edits);
            }
            return None;
        }
        let vary = varies_also(message.text(edits, Known::Vary).as_deref(), "Accept-Encoding");
        let wanted =
            message.has_content() && self.is_wanted(coding, choose(content_type.as_deref()));
        let step = wanted.then(|| {
            Compress::new(self.compression(route), Some(self.response.bytes.clone())).ok()
        });
        let step = step.flatten();
        if step.is_some() {
            self.response.compressed.inc();
            self.change(coding, message, edits);
        } else {
            self.response.not_compressed.inc();
        }
        if let Some(vary) = vary {
            edits.set(Known::Vary, FieldValue::sanitized(vary));
        }
        step
    }

    fn verdict(
        &self,
        status: u16,
        message: Message<'_>,
        edits: &HeaderEdits,
        content_type: Option<&str>,
    ) -> Verdict {
        let rules = &self.settings.response;
        if !self.response.long_enough(&rules.content, message.length()) {
            return Verdict::Spared(Some("ContentLengthTooSmall"));
        }
        if !type_is_compressed(&rules.content, content_type) {
            return Verdict::Spared(Some("ContentTypeNotAllowed"));
        }
        let control = message.text(edits, Known::CacheControl);
        if control.is_some_and(|control| forbids_transforms(&control)) {
            return Verdict::Spared(None);
        }
        if rules.skips_etag && edits.get(message.sent, Known::ETag).is_some() {
            self.stats.not_compressed_etag.inc();
            return Verdict::Spared(Some("EtagNotAllowed"));
        }
        if edits.get(message.sent, Known::ContentEncoding).is_some() {
            return Verdict::Spared(None);
        }
        if rules.spared_statuses.contains(&status) {
            return Verdict::Spared(Some("StatusCodeNotAllowed"));
        }
        Verdict::Compressible
    }

    /// Counts what the client wants; whether it is this.
    fn is_wanted(&self, coding: Coding, choice: Option<CodingChoice>) -> bool {
        let Some(choice) = choice else {
            self.stats.no_accept_header.inc();
            return false;
        };
        let wanted = choice.token() == Some(coding.token());
        let counter = match choice {
            CodingChoice::Named(_) if wanted => &self.stats.header_compressor_used,
            CodingChoice::Named(_) => &self.stats.header_compressor_overshadowed,
            CodingChoice::Any(_) => &self.stats.header_wildcard,
            CodingChoice::Identity => &self.stats.header_identity,
            CodingChoice::Nothing => &self.stats.header_not_valid,
        };
        counter.inc();
        wanted
    }

    /// The head of a compressed response. A strong validator speaks of other bytes than these
    /// (RFC 9110 §8.8.1).
    fn change(&self, coding: Coding, message: Message<'_>, edits: &mut HeaderEdits) {
        let etag = message.text(edits, Known::ETag);
        if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/") && !etag.starts_with("w/")) {
            if self.settings.response.weakens_etag {
                edits.set(Known::ETag, FieldValue::sanitized(format!("W/{etag}")));
            } else {
                edits.remove(Known::ETag);
            }
        }
        edits.set(Known::ContentEncoding, FieldValue::from_static(coding.token()));
        let length = message.length().map_or_else(String::new, |length| length.to_string());
        self.tell(coding, &format!("Compressed;OriginalLength={length}"), edits);
    }

    fn tell(&self, coding: Coding, what: &str, edits: &mut HeaderEdits) {
        if !self.settings.response.tells_status {
            return;
        }
        if let Ok(name) = FieldName::parse(b"x-envoy-compression-status") {
            let value = format!("{};{what}", coding.token());
            edits.set(name, FieldValue::sanitized(value));
        }
    }
}
