//! Field names that the mesh itself reads or writes, as numbers: a lookup of one is an integer compare.

/// Declares [`Known`] and the tables beside it from one list.
macro_rules! known {
    ($($variant:ident = $text:literal,)*) => {
        /// A field name that the mesh knows. The discriminant is its place in a 128-bit set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Known {
            $(
                #[doc = concat!("`", $text, "`")]
                $variant,
            )*
        }

        const NAMES: &[&str] = &[$($text),*];
        const ALL: &[Known] = &[$(Known::$variant),*];
    };
}

known! {
    // Framing and hop-by-hop (RFC 9110, RFC 9112).
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    Http2Settings = "http2-settings",
    Expect = "expect",
    // Common request and response fields.
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    Authorization = "authorization",
    Age = "age",
    Authentication = "authentication",
    CacheControl = "cache-control",
    ContentEncoding = "content-encoding",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    ETag = "etag",
    Expires = "expires",
    Forwarded = "forwarded",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    LastModified = "last-modified",
    Location = "location",
    Origin = "origin",
    Pragma = "pragma",
    ProxyStatus = "proxy-status",
    Range = "range",
    Referer = "referer",
    RetryAfter = "retry-after",
    Server = "server",
    SetCookie = "set-cookie",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    SecWebsocketKey = "sec-websocket-key",
    SecWebsocketAccept = "sec-websocket-accept",
    SecWebsocketProtocol = "sec-websocket-protocol",
    SecWebsocketVersion = "sec-websocket-version",
    // CORS.
    AccessControlAllowCredentials = "access-control-allow-credentials",
    AccessControlAllowHeaders = "access-control-allow-headers",
    AccessControlAllowMethods = "access-control-allow-methods",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlAllowPrivateNetwork = "access-control-allow-private-network",
    AccessControlExposeHeaders = "access-control-expose-headers",
    AccessControlMaxAge = "access-control-max-age",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestPrivateNetwork = "access-control-request-private-network",
    // gRPC.
    GrpcAcceptEncoding = "grpc-accept-encoding",
    GrpcStatus = "grpc-status",
    GrpcMessage = "grpc-message",
    GrpcTimeout = "grpc-timeout",
    GrpcRetryPushback = "grpc-retry-pushback-ms",
    // What proxies tell each other about the client.
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedClientCert = "x-forwarded-client-cert",
    XRequestId = "x-request-id",
    XClientTraceId = "x-client-trace-id",
    // Envoy's own, honoured because users and istiod rely on them.
    XEnvoyAttemptCount = "x-envoy-attempt-count",
    XEnvoyDecoratorOperation = "x-envoy-decorator-operation",
    XEnvoyDegraded = "x-envoy-degraded",
    XEnvoyDownstreamServiceCluster = "x-envoy-downstream-service-cluster",
    XEnvoyDownstreamServiceNode = "x-envoy-downstream-service-node",
    XEnvoyExpectedRequestTimeout = "x-envoy-expected-rq-timeout-ms",
    XEnvoyExternalAddress = "x-envoy-external-address",
    XEnvoyForceTrace = "x-envoy-force-trace",
    XEnvoyHedgeOnPerTryTimeout = "x-envoy-hedge-on-per-try-timeout",
    XEnvoyImmediateHealthCheckFail = "x-envoy-immediate-health-check-fail",
    XEnvoyInternal = "x-envoy-internal",
    XEnvoyIpTags = "x-envoy-ip-tags",
    XEnvoyIsTimeoutRetry = "x-envoy-is-timeout-retry",
    XEnvoyMaxRetries = "x-envoy-max-retries",
    XEnvoyOriginalHost = "x-envoy-original-host",
    XEnvoyOriginalPath = "x-envoy-original-path",
    XEnvoyOriginalUrl = "x-envoy-original-url",
    XEnvoyOverloaded = "x-envoy-overloaded",
    XEnvoyPeerMetadata = "x-envoy-peer-metadata",
    XEnvoyPeerMetadataId = "x-envoy-peer-metadata-id",
    XEnvoyRateLimited = "x-envoy-ratelimited",
    XEnvoyRetriableHeaderNames = "x-envoy-retriable-header-names",
    XEnvoyRetriableStatusCodes = "x-envoy-retriable-status-codes",
    XEnvoyRetryGrpcOn = "x-envoy-retry-grpc-on",
    XEnvoyRetryOn = "x-envoy-retry-on",
    XEnvoyUpstreamAltStatName = "x-envoy-upstream-alt-stat-name",
    XEnvoyUpstreamCanary = "x-envoy-upstream-canary",
    XEnvoyUpstreamHealthCheckedCluster = "x-envoy-upstream-healthchecked-cluster",
    XEnvoyUpstreamRequestPerTryTimeout = "x-envoy-upstream-rq-per-try-timeout-ms",
    XEnvoyUpstreamRequestTimeout = "x-envoy-upstream-rq-timeout-ms",
    XEnvoyUpstreamRequestTimeoutAltResponse = "x-envoy-upstream-rq-timeout-alt-response",
    XEnvoyUpstreamServiceTime = "x-envoy-upstream-service-time",
    XEnvoyUpstreamStreamDuration = "x-envoy-upstream-stream-duration-ms",
    XEnvoyFaultAbortRequest = "x-envoy-fault-abort-request",
    XEnvoyFaultAbortRequestPercentage = "x-envoy-fault-abort-request-percentage",
    XEnvoyFaultAbortGrpcRequest = "x-envoy-fault-abort-grpc-request",
    XEnvoyFaultDelayRequest = "x-envoy-fault-delay-request",
    XEnvoyFaultDelayRequestPercentage = "x-envoy-fault-delay-request-percentage",
    XRateLimitLimit = "x-ratelimit-limit",
    XRateLimitRemaining = "x-ratelimit-remaining",
    XRateLimitReset = "x-ratelimit-reset",
    // Trace context.
    TraceParent = "traceparent",
    TraceState = "tracestate",
    B3 = "b3",
    XB3TraceId = "x-b3-traceid",
    XB3SpanId = "x-b3-spanid",
    XB3ParentSpanId = "x-b3-parentspanid",
    XB3Sampled = "x-b3-sampled",
    XB3Flags = "x-b3-flags",
    XOtSpanContext = "x-ot-span-context",
}

const _: () = assert!(ALL.len() <= 128, "the set of known names is a u128");

/// Slots of the open-addressed table that finds a name; four times the names keeps probes short.
const SLOTS: usize = 512;
const FREE: u8 = u8::MAX;

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time; a wrong index fails the build"
)]
#[expect(clippy::cast_possible_truncation, reason = "at most 128 names, asserted above")]
const TABLE: [u8; SLOTS] = {
    let mut table = [FREE; SLOTS];
    let mut place = 0;
    while place < NAMES.len() {
        let name = NAMES[place].as_bytes();
        let mut slot = slot_of(name.len(), name[0], name[name.len() / 2], name[name.len() - 1]);
        while table[slot] != FREE {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = place as u8;
        place += 1;
    }
    table
};

const fn slot_of(len: usize, first: u8, middle: u8, last: u8) -> usize {
    (len * 47 + first as usize * 7 + middle as usize * 29 + last as usize * 13) % SLOTS
}

impl Known {
    /// Finds a name that is already in lower case; `None` for a name the mesh has no interest in.
    #[must_use]
    pub fn lookup(lower: &[u8]) -> Option<Self> {
        let (first, last) = (lower.first()?, lower.last()?);
        let middle = lower.get(lower.len() / 2)?;
        let mut slot = slot_of(lower.len(), *first, *middle, *last);
        loop {
            let place = *TABLE.get(slot)?;
            if place == FREE {
                return None;
            }
            if NAMES.get(usize::from(place))?.as_bytes() == lower {
                return ALL.get(usize::from(place)).copied();
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The name in lower case, as HTTP/2 and our HTTP/1.1 writer send it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.text()
    }

    /// Whether this field speaks about one connection only and is never forwarded as it came.
    ///
    /// Source: RFC 9110 §7.6.1, RFC 9113 §8.2.2. `te: trailers` is the one exception and is decided
    /// by value, see [`crate::Fields::iter`].
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        HOP_BY_HOP.contains(self)
    }

    /// Whether a field may come after the content (RFC 9110 §6.5.1): not one that says how a message is
    /// read, where it goes, who sent it, or under which conditions. Whoever merges trailers into heads
    /// would believe it, though nobody on the way has looked at it.
    pub(crate) fn may_trail(known: Option<Self>, name: &[u8]) -> bool {
        const PREFIXES: [&[u8]; 3] = [b"x-forwarded-", b"x-envoy-", b"if-"];
        const NAMES: [&[u8]; 3] = [b"content-range", b"max-forwards", b"x-real-ip"];
        match known {
            Some(known) => !IN_HEADS_ONLY.contains(known) && !known.is_hop_by_hop(),
            None => {
                !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !NAMES.contains(&name)
            }
        }
    }

    /// The name, also at compile time.
    #[expect(clippy::indexing_slicing, reason = "every variant has its name")]
    pub(crate) const fn text(self) -> &'static str {
        NAMES[self as usize]
    }

    pub(crate) const fn bit(self) -> u128 {
        1 << self as u32
    }
}

const HOP_BY_HOP: KnownSet = KnownSet(
    Known::Connection.bit()
        | Known::TransferEncoding.bit()
        | Known::Upgrade.bit()
        | Known::KeepAlive.bit()
        | Known::ProxyConnection.bit()
        | Known::Http2Settings.bit(),
);

/// Every `x-forwarded-…` and `x-envoy-…` that is known, and what else decides about a message.
const IN_HEADS_ONLY: KnownSet = {
    let mut set = KnownSet::of(&[
        Known::Host,
        Known::ContentLength,
        Known::ContentEncoding,
        Known::ContentType,
        Known::Te,
        Known::Trailer,
        Known::Expect,
        Known::Range,
        Known::Authorization,
        Known::ProxyAuthenticate,
        Known::ProxyAuthorization,
        Known::WwwAuthenticate,
        Known::Cookie,
        Known::SetCookie,
        Known::Forwarded,
        Known::IfMatch,
        Known::IfModifiedSince,
        Known::IfNoneMatch,
        Known::Location,
        Known::Origin,
        Known::CacheControl,
    ])
    .0;
    let mut rest = ALL;
    while let [known, others @ ..] = rest {
        let is_of_proxies = matches!(
            known.text().as_bytes(),
            [b'x', b'-', b'e', b'n', b'v', b'o', b'y', b'-', ..]
                | [b'x', b'-', b'f', b'o', b'r', b'w', b'a', b'r', b'd', b'e', b'd', b'-', ..]
        );
        if is_of_proxies {
            set |= known.bit();
        }
        rest = others;
    }
    KnownSet(set)
};

/// A set of known names in one number: asking for any of many names costs as much as for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u128);

impl KnownSet {
    /// The set of these names.
    #[must_use]
    pub const fn of(names: &[Known]) -> Self {
        let mut set = 0;
        let mut rest = names;
        while let [first, others @ ..] = rest {
            set |= first.bit();
            rest = others;
        }
        Self(set)
    }

    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn insert(&mut self, known: Known) {
        self.0 |= known.bit();
    }

    /// Adds a name; `repeated` gets it when it was there before.
    pub(crate) fn note(&mut self, known: Known, repeated: &mut Self) {
        repeated.0 |= self.0 & known.bit();
        self.0 |= known.bit();
    }

    pub(crate) fn remove(&mut self, known: Known) {
        self.0 &= !known.bit();
    }

    pub(crate) const fn contains(self, known: Known) -> bool {
        self.0 & known.bit() != 0
    }
}

impl KnownSet {
    /// Fields of requests that become one when they stand there more than once, their values joined
    /// by commas. Whoever decides by such a field sees all that was sent, and so does everybody
    /// behind us: two proxies that each look at another of two `authorization` fields disagree about
    /// who asks.
    ///
    /// Source: RFC 9110 §5.3; the names are those that Envoy joins.
    pub const JOINED_IN_REQUESTS: Self = Self::of(&[
        Known::Accept,
        Known::AcceptEncoding,
        Known::AccessControlRequestHeaders,
        Known::AccessControlRequestMethod,
        Known::Authentication,
        Known::Authorization,
        Known::CacheControl,
        Known::ContentEncoding,
        Known::ContentType,
        Known::Expect,
        Known::GrpcAcceptEncoding,
        Known::GrpcTimeout,
        Known::IfMatch,
        Known::IfModifiedSince,
        Known::IfNoneMatch,
        Known::Origin,
        Known::Pragma,
        Known::ProxyStatus,
        Known::Referer,
        Known::UserAgent,
        Known::Via,
        Known::XEnvoyAttemptCount,
        Known::XEnvoyDecoratorOperation,
        Known::XEnvoyDownstreamServiceCluster,
        Known::XEnvoyDownstreamServiceNode,
        Known::XEnvoyExternalAddress,
        Known::XEnvoyIsTimeoutRetry,
        Known::XEnvoyOriginalHost,
        Known::XEnvoyOriginalPath,
        Known::XForwardedFor,
        Known::XForwardedHost,
        Known::XForwardedPort,
        Known::XForwardedProto,
        Known::XRequestId,
    ]);

    /// The same in responses.
    pub const JOINED_IN_RESPONSES: Self = Self::of(&[
        Known::AccessControlAllowCredentials,
        Known::AccessControlAllowHeaders,
        Known::AccessControlAllowMethods,
        Known::AccessControlAllowOrigin,
        Known::AccessControlAllowPrivateNetwork,
        Known::AccessControlExposeHeaders,
        Known::AccessControlMaxAge,
        Known::Age,
        Known::CacheControl,
        Known::ContentEncoding,
        Known::ContentType,
        Known::Date,
        Known::ETag,
        Known::Expires,
        Known::GrpcMessage,
        Known::GrpcStatus,
        Known::LastModified,
        Known::Location,
        Known::ProxyStatus,
        Known::Vary,
        Known::Via,
        Known::XEnvoyAttemptCount,
        Known::XEnvoyDecoratorOperation,
        Known::XEnvoyDegraded,
        Known::XEnvoyImmediateHealthCheckFail,
        Known::XEnvoyRateLimited,
        Known::XEnvoyUpstreamCanary,
        Known::XEnvoyUpstreamHealthCheckedCluster,
        Known::XRequestId,
    ]);

    /// The same in trailers.
    pub(crate) const JOINED_IN_TRAILERS: Self = Self::of(&[Known::GrpcMessage, Known::GrpcStatus]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_decide_do_not_trail() {
        let may = |name: &str| Known::may_trail(Known::lookup(name.as_bytes()), name.as_bytes());
        for name in
            ["x-t", "grpc-status", "grpc-message", "content-digest", "server-timing", "etag"]
        {
            assert!(may(name), "{name}");
        }
        for name in [
            "authorization",
            "cookie",
            "host",
            "transfer-encoding",
            "content-range",
            "if-match",
            "if-range",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "x-forwarded-prefix",
            "x-envoy-original-path",
            "x-envoy-anything",
        ] {
            assert!(!may(name), "{name}");
        }
    }

    #[test]
    fn every_name_finds_itself_and_strangers_find_nothing() {
        for (name, known) in NAMES.iter().zip(ALL) {
            assert_eq!(Known::lookup(name.as_bytes()), Some(*known), "{name}");
            assert_eq!(known.as_str(), *name);
            assert_eq!(name.to_ascii_lowercase(), *name);
        }
        for stranger in ["", "x", "hosts", "Host", "x-custom", "content-lengtg"] {
            assert_eq!(Known::lookup(stranger.as_bytes()), None, "{stranger}");
        }
    }
}
