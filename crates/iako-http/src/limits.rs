//! What a decoder accepts: bounds and the few choices that configuration has.

/// Bounds and choices of one decoder. The default is Envoy's default for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest head in bytes, start line included. Envoy `max_request_headers_kb`, default 60 KiB.
    pub head_bytes_max: usize,
    /// Most fields in a head, and most in trailers. Envoy `max_headers_count`, default 100.
    pub fields_max: usize,
    /// Most interim responses (1xx) to one request. Envoy has no bound. Default 64.
    pub interim_responses_max: u32,
    /// Longest chunk extension in bytes. Nobody sends any; a bound stops an endless chunk line.
    pub chunk_extension_bytes_max: usize,
    /// Whether HTTP/1.0 requests are taken. Envoy `accept_http_10`, default no (426).
    pub http_10: Http10,
    /// Whether methods outside the registry are taken. Envoy `allow_custom_methods`, default no (400).
    pub methods: Methods,
    /// What happens to names with an underscore. Envoy `headers_with_underscores_action`, default allow.
    pub underscores: Underscores,
    /// Whether names keep their letters' case beside the lower-case view. Default no.
    pub name_case: NameCase,
}

/// What is done with HTTP/1.0 requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http10 {
    /// Answer 426.
    Refuse,
    /// Serve them; a missing `Host` leaves the authority empty for the caller to fill.
    Accept,
}

/// Which methods are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Only registered methods; others are answered 400.
    Registered,
    /// Any token.
    Any,
}

/// What is done with a field whose name holds an underscore, which some servers read as a hyphen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underscores {
    /// Forward it.
    Allow,
    /// Refuse the message.
    Reject,
    /// Drop the field.
    Drop,
}

/// Whether the letters' case of names survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameCase {
    /// Names are lower-cased in place, which costs nothing.
    Lower,
    /// A copy of the head keeps the original names for a peer that insists on them.
    Preserve,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 60 * 1024,
            fields_max: 100,
            interim_responses_max: 64,
            chunk_extension_bytes_max: 1024,
            http_10: Http10::Refuse,
            methods: Methods::Registered,
            underscores: Underscores::Allow,
            name_case: NameCase::Lower,
        }
    }
}
