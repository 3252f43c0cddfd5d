//! Rows of the security and telemetry kinds.

use super::{
    Support::{Checked, Honoured},
    SupportTable,
};

const SPANS: &str =
    "spans are not sent yet; trace context and the decision to sample are passed on";
const TARGETS: &str = "it names gateways of the Gateway API and waypoints";

pub(super) static PEER_AUTHENTICATION: SupportTable = SupportTable {
    name: "PeerAuthentication",
    rows: &[("selector", Honoured), ("mtls", Honoured), ("portLevelMtls", Honoured)],
    repeats: &[],
};

pub(super) static REQUEST_AUTHENTICATION: SupportTable = SupportTable {
    name: "RequestAuthentication",
    rows: &[
        ("selector", Honoured),
        ("targetRef", Checked(TARGETS)),
        ("targetRefs", Checked(TARGETS)),
        ("jwtRules", Honoured),
        ("jwtRules[].issuer", Honoured),
        ("jwtRules[].audiences", Honoured),
        ("jwtRules[].jwksUri", Honoured),
        ("jwtRules[].jwks_uri", Honoured),
        ("jwtRules[].jwks", Honoured),
        ("jwtRules[].fromHeaders", Honoured),
        ("jwtRules[].fromParams", Honoured),
        ("jwtRules[].fromCookies", Honoured),
        ("jwtRules[].forwardOriginalToken", Honoured),
        ("jwtRules[].outputPayloadToHeader", Honoured),
        ("jwtRules[].outputClaimToHeaders", Honoured),
        ("jwtRules[].timeout", Honoured),
        ("jwtRules[].spaceDelimitedClaims", Honoured),
    ],
    repeats: &[],
};

pub(super) static AUTHORIZATION_POLICY: SupportTable = SupportTable {
    name: "AuthorizationPolicy",
    rows: &[
        ("selector", Honoured),
        ("targetRef", Checked(TARGETS)),
        ("targetRefs", Checked(TARGETS)),
        ("action", Honoured),
        (
            "provider",
            Checked("with action CUSTOM; nobody is asked yet, and what the rules match is refused"),
        ),
        ("rules", Honoured),
        ("rules[].from", Honoured),
        ("rules[].to", Honoured),
        ("rules[].when", Honoured),
    ],
    repeats: &[],
};

pub(super) static TELEMETRY: SupportTable = SupportTable {
    name: "Telemetry",
    rows: &[
        ("selector", Honoured),
        ("targetRef", Checked(TARGETS)),
        ("targetRefs", Checked(TARGETS)),
        ("tracing", Honoured),
        ("tracing[].providers", Checked(SPANS)),
        ("tracing[].match", Honoured),
        ("tracing[].randomSamplingPercentage", Honoured),
        ("tracing[].disableSpanReporting", Checked(SPANS)),
        ("tracing[].disableContextPropagation", Checked("trace context is always passed on")),
        ("tracing[].customTags", Checked("spans have Istio's tags only")),
        (
            "tracing[].useRequestIdForTraceSampling",
            Checked("the sampling decision travels in the trace context"),
        ),
        ("tracing[].enableIstioTags", Checked("spans always have Istio's tags")),
        ("metrics", Honoured),
        ("metrics[].providers", Honoured),
        ("metrics[].overrides", Honoured),
        ("metrics[].overrides[].match", Honoured),
        ("metrics[].overrides[].disabled", Honoured),
        ("metrics[].overrides[].tagOverrides", Honoured),
        ("metrics[].overrides[].tagOverrides{}.operation", Honoured),
        (
            "metrics[].overrides[].tagOverrides{}.value",
            Checked("labels can be removed; expressions for new ones are not evaluated yet"),
        ),
        ("metrics[].reportingInterval", Checked("counters of open connections are always current")),
        ("accessLogging", Honoured),
        ("accessLogging[].providers", Honoured),
        ("accessLogging[].match", Honoured),
        ("accessLogging[].disabled", Honoured),
        (
            "accessLogging[].filter",
            Checked("expressions are not evaluated yet, so every request is logged"),
        ),
    ],
    repeats: &[],
};
