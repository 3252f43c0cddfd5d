//! Filters that look at content or change it, compiled, with the names of their statistics.

pub(crate) mod bandwidth;
pub(crate) mod cache;
pub(crate) mod compressor;
pub(crate) mod custom_response;
pub(crate) mod decompressor;
pub(crate) mod grpc_stats;
pub(crate) mod health;
pub(crate) mod json;

use std::num::NonZeroU64;

use iako_proxy_config::{Buffer, CsrfPolicy, CustomResponse, FilterSettings, HttpFilterKind};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{CsrfFinding, EffectiveOverrides, RequestFacts, csrf};

use bandwidth::BandwidthStep;
use cache::{CacheMark, CacheStep};
use compressor::CompressorStep;
use decompressor::DecompressorStep;
use grpc_stats::{CountedExchange, GrpcStatsStep};
use health::HealthStep;
use json::JsonStep;

use crate::http::failure::Failure;
use crate::shared::Shared;

/// A filter that looks at content or changes it.
#[derive(Debug)]
pub(crate) enum ContentFilter {
    Buffer(Buffer),
    Compressor(Box<CompressorStep>),
    Decompressor(Box<DecompressorStep>),
    Bandwidth(Box<BandwidthStep>),
    Csrf(Box<CsrfStep>),
    CustomResponse(Box<CustomResponse>),
    Cache(Box<CacheStep>),
    Json(Box<JsonStep>),
    GrpcStats(Box<GrpcStatsStep>),
    Health(Box<HealthStep>),
}

/// What filters remember of a request for its response. Most chains have nobody who does, and no room
/// for it.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// What the client accepted when the request came to a compressor, by the compressor's place.
    pub(crate) accepts: Vec<(usize, String)>,
    /// What the compressors of the chain agreed on, once the first of them was asked.
    pub(crate) choice: Option<iako_traffic::CodingChoice>,
    /// How fast the content of the response may pass, in KiB a second: a fault on purpose.
    pub(crate) response_rate: Option<NonZeroU64>,
    /// The fault is under way as long as its response.
    pub(crate) fault: Option<super::fault::ActiveFault>,
    /// What the request chose of filters that are chosen.
    pub(crate) chosen: Vec<super::choice::Chosen>,
    /// What becomes of the response to the request that was made in place of the client's.
    pub(crate) elsewhere: Option<Box<super::super::elsewhere::Elsewhere>>,
    /// What a cache has to do with the response, by the cache's place.
    pub(crate) cache: Option<(usize, CacheMark)>,
    /// How long the content of the request was held back.
    pub(crate) delays: std::rc::Rc<std::cell::Cell<crate::http::content::Delays>>,
    /// gRPC calls that are counted; one for each filter that counts.
    pub(crate) calls: Vec<CountedExchange>,
    /// Places of filters to which the request is a health check.
    pub(crate) checks: Vec<usize>,
}

impl ContentFilter {
    /// Compiles a filter, if it is one of these. `http` names the statistics of the manager.
    pub(crate) fn compile(
        kind: &HttpFilterKind,
        http: &StatsScope,
        shared: &Shared,
    ) -> Option<Self> {
        Some(match kind {
            HttpFilterKind::Buffer(settings) => Self::Buffer(*settings),
            HttpFilterKind::Compressor(settings) => {
                Self::Compressor(Box::new(CompressorStep::compile(settings, http)))
            }
            HttpFilterKind::Decompressor(settings) => {
                Self::Decompressor(Box::new(DecompressorStep::compile(settings, http)))
            }
            HttpFilterKind::BandwidthLimit(settings) => {
                Self::Bandwidth(Box::new(BandwidthStep::compile(settings, &shared.stats)))
            }
            HttpFilterKind::Csrf(policy) => Self::Csrf(Box::new(CsrfStep::compile(policy, http))),
            HttpFilterKind::CustomResponse(settings) => Self::CustomResponse(settings.clone()),
            HttpFilterKind::Cache(settings) => Self::Cache(Box::new(CacheStep::compile(settings))),
            HttpFilterKind::JsonToMetadata(settings) => {
                Self::Json(Box::new(JsonStep::compile(settings, &shared.stats)))
            }
            HttpFilterKind::GrpcStats(settings) => {
                Self::GrpcStats(Box::new(GrpcStatsStep::compile(settings, &shared.stats)))
            }
            HttpFilterKind::HealthCheck(settings) => {
                Self::Health(Box::new(HealthStep::compile(settings, shared)))
            }
            HttpFilterKind::Router(_)
            | HttpFilterKind::Fault(_)
            | HttpFilterKind::Cors
            | HttpFilterKind::JwtAuthn(_)
            | HttpFilterKind::Rbac(_)
            | HttpFilterKind::PeerMetadata(_)
            | HttpFilterKind::Alpn
            | HttpFilterKind::Stats(_)
            | HttpFilterKind::GrpcWeb
            | HttpFilterKind::StatefulSession(_)
            | HttpFilterKind::ExtAuthz(_)
            | HttpFilterKind::ExtProc(_)
            | HttpFilterKind::GlobalRateLimit(_)
            | HttpFilterKind::LocalRateLimit(_)
            | HttpFilterKind::Composite(_)
            | HttpFilterKind::Matched(_)
            | HttpFilterKind::AdmissionControl(_)
            | HttpFilterKind::AdaptiveConcurrency(_)
            | HttpFilterKind::DynamicForward(_)
            | HttpFilterKind::HeaderMutation(_)
            | HttpFilterKind::HeaderToMetadata(_)
            | HttpFilterKind::SetMetadata(_)
            | HttpFilterKind::OnDemand(_)
            | HttpFilterKind::Discovered(_)
            | HttpFilterKind::SetState(_)
            | HttpFilterKind::CredentialInjector(_)
            | HttpFilterKind::OAuth2(_)
            | HttpFilterKind::IpTagging(_)
            | HttpFilterKind::Unsupported(_) => return None,
        })
    }

    /// Whether it does something when a request comes.
    pub(crate) const fn acts(&self) -> bool {
        !matches!(self, Self::CustomResponse(_))
    }

    /// Whether it does something when a response comes.
    pub(crate) const fn responds(&self) -> bool {
        match self {
            Self::Compressor(_)
            | Self::Decompressor(_)
            | Self::Bandwidth(_)
            | Self::CustomResponse(_)
            | Self::Cache(_)
            | Self::Json(_)
            | Self::GrpcStats(_)
            | Self::Health(_) => true,
            Self::Buffer(_) | Self::Csrf(_) => false,
        }
    }
}

/// The bytes of content that a request may have: a route's settings stand in place of the filter's.
pub(crate) fn buffered_max(
    own: Buffer,
    name: &str,
    overrides: Option<&EffectiveOverrides<'_>>,
) -> u64 {
    let route = overrides.and_then(|overrides| overrides.settings(name));
    let buffer = route.and_then(FilterSettings::buffer).unwrap_or(&own);
    u64::from(buffer.request_bytes_max.get())
}

/// Requests of other origins' pages.
#[derive(Debug)]
pub(crate) struct CsrfStep {
    policy: CsrfPolicy,
    missing_source_origin: Counter,
    request_valid: Counter,
    request_invalid: Counter,
}

impl CsrfStep {
    fn compile(policy: &CsrfPolicy, http: &StatsScope) -> Self {
        let scope = http.part("csrf");
        Self {
            policy: policy.clone(),
            missing_source_origin: scope.counter("missing_source_origin"),
            request_valid: scope.counter("request_valid"),
            request_invalid: scope.counter("request_invalid"),
        }
    }

    /// Looks at where a request comes from.
    pub(crate) fn check(
        &self,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
        facts: &RequestFacts<'_>,
        draw: &mut dyn FnMut() -> u64,
    ) -> Result<(), Failure> {
        let route = overrides.and_then(|overrides| overrides.settings(name));
        let policy = route.and_then(FilterSettings::csrf).unwrap_or(&self.policy);
        match csrf(policy, &facts.head, draw) {
            CsrfFinding::Spared => {}
            CsrfFinding::Valid => self.request_valid.inc(),
            CsrfFinding::Invalid { missing, refused } => {
                if missing {
                    self.missing_source_origin.inc();
                }
                self.request_invalid.inc();
                if refused {
                    return Err(Failure::Origin);
                }
            }
        }
        Ok(())
    }
}
