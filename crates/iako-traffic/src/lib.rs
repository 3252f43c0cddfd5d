//! Every decision about a connection or request, pure.
//!
//! What a proxy is told (`iako-proxy-config`) is compiled here once per change, and asked once per
//! connection, request or try. No socket, clock, random source or global: time comes as `now`,
//! chance as `draw`, an even number over all of `u64` from the caller's generator. So the same
//! question always has the same answer, in the proxy, in a simulation and in `explain`.
//!
//! Not here: moving bytes, pools, timers (`iako-proxy`), what is configured and why
//! (`iako-translate`).
//!
//! Start with [`ConnectionInfo`] and [`RequestFacts`], what decisions look at. Then, in the order of
//! a request's way: [`FilterChainTable`], [`ClientAddress`], [`JwtVerifier`], [`rbac`],
//! [`RouteTable`], [`Balancer`], [`Breakers`], [`RetryState`].
//!
//! Tests check each rule by what Envoy was seen to do, and by properties over random input.

mod admission;
mod bandwidth;
mod base64;
mod breaker;
mod cache;
mod client;
mod client_token;
mod compression;
mod concurrency;
mod cors;
mod csrf;
mod expression;
mod ext_authz;
mod facts;
mod fault;
mod filter_chain;
mod grpc_call;
mod head_facts;
mod health;
mod health_answer;
mod ip_tags;
mod json_facts;
mod jwt;
mod lb;
mod listener_filter;
mod load_memory;
mod load_report;
mod local_limit;
mod login;
mod matching;
mod memory;
mod mutation_rules;
mod original_dst;
mod outlier;
mod overload;
mod rate_limit;
pub mod rbac;
mod retry;
mod route;
mod runtime;
mod session;
mod share;
mod state_object;
mod target;
mod text;
mod token_bucket;

pub use admission::{AdmissionOutcome, AdmissionWindow, is_grpc_success, is_http_success};
pub use bandwidth::BandwidthBucket;
pub use breaker::{BreakerCounts, BreakerGuard, Breakers, Overflow};
pub use cache::{
    CacheControl, CacheLookup, CachedHead, CachedPart, cache_key, cache_lookup, cached_part,
    seconds_of_date,
};
pub use client::{ClientAddress, ClientCertHeader, percent_encoded};
pub use client_token::{TokenAnswer, TokenProblem, client_credentials_form};
pub use compression::{
    CodingChoice, Offer, choose_coding, forbids_transforms, type_is_compressed, varies_also,
};
pub use concurrency::{ConcurrencyController, ConcurrencyFound, ConcurrencyVerdict};
pub use cors::{CorsAnswer, CorsDecision, cors};
pub use csrf::{CsrfFinding, csrf};
pub use ext_authz::{
    AuthzAsk, AuthzChanges, AuthzMoment, AuthzRefusal, AuthzRefusalKind, AuthzVerdict,
    ConnectionMoment, ConnectionVerdict, HttpAnswer, HttpQuestion, authz_ask, authz_body,
    authz_question, authz_service, authz_verdict, connection_authz_asks, connection_authz_question,
    connection_authz_verdict, http_authz_question, http_authz_verdict, principal,
};
pub use facts::{
    ConnectionInfo, HeaderList, Headers, Metadata, PeerCertificate, ProxyTlv, RequestFacts,
    RequestHead, SourceBinding, StateObject, TlsFacts, is_grpc_content_type,
};
pub use fault::{FaultAbort, FaultDecision, fault, response_rate};
pub use filter_chain::FilterChainTable;
pub use grpc_call::{CountedCall, CountedCalls, is_framed_content_type};
pub use head_facts::{HeadOf, HeaderFacts, edit_query, header_facts, set_facts};
pub use health::{
    CheckEvent, CheckFailure, CheckHistory, CheckResult, CheckVerdict, Condition, HealthFlags,
    Traffic, Transition, contains_in_order, first_check, next_check,
};
pub use health_answer::{HealthAnswer, Members, health_of_clusters};
pub use ip_tags::IpTags;
pub use json_facts::{JsonFinding, json_facts, json_is_read, json_unread};
pub use jwt::fuzz;
pub use jwt::{
    JWT_METADATA, JwksError, JwtChanges, JwtDecision, JwtMemory, JwtRefusal, JwtRejection,
    JwtVerifier, NoRequirement, WantedJwks,
};
pub use lb::{
    ActiveRequest, BalancedEndpoint, Balancer, Capacity, ClusterState, EndpointCounters,
    EndpointState, HostConnection, IdleLearning, Neighbourhood, Pick, PickNotes, PickRequest,
    Setting, Wants, member,
};
pub use listener_filter::predicate_holds;
pub use load_memory::{ClusterCounts, LoadMemory};
pub use load_report::{ReadMessage, load_report};
pub use local_limit::{LocalAnswer, LocalBucket, LocalLeft, LocalLimiter, LocalQuestion};
pub use login::{
    Login, LoginAnswer, LoginCount, LoginEdits, LoginQuestion, LoginReply, LoginSilence, LoginStep,
    LoginTools, login_passes_by,
};
pub use matching::{
    MatchFacts, Mismatch, ResponseFacts, choose_action, header_matches, metadata_matches, mismatch,
    response_header_matches, state_matches, value_matches,
};
pub use memory::{RESETS_MAX, largest_streams};
pub use mutation_rules::{MutationKind, MutationVerdict, may_mutate};
pub use original_dst::{OriginalName, original_name};
pub use outlier::{Ejection, EjectionCause, EjectionEffect, Look, Outcome, RateFacts, Return};
pub use overload::{overload_level, shortened};
pub use rate_limit::{
    CountMoment, CountedLimits, DescriptorFacts, counts_request, descriptor, rate_limit_headers,
};
pub use retry::{
    Avoid, Pace, RetryDecision, RetryMoment, RetryState, StopReason, StrictProblem, TryEnd,
    TryTraces, strict_problem,
};
pub use route::{
    ConsideredRoute, DomainMatch, EffectiveOverrides, HostChange, RedirectHistory, RedirectTarget,
    RequestHash, RouteMatchResult, RouteOutcome, RouteTable, RouteTrace, ScopeIndex, TimeoutRules,
    Timeouts, changed_location, hash_of_ip, hash_of_request, hash_of_text, https_location,
};
pub use runtime::Runtime;
pub use session::{SessionAsked, SessionMark, session_asked, session_mark};
pub use share::{ClusterSubset, tcp_cluster};
pub use state_object::state_object;
pub use target::{NormalizedTarget, host_without_dot, normalize_target, stripped_host};
pub use token_bucket::TokenBucket;
