//! `GRPCRoute`, `TLSRoute`, `TCPRoute` and `UDPRoute`.

use iako_types::HostPattern;

use super::{
    BackendRef, ParentRef, ValueMatch,
    http_route::{RouteFilter, read_filtered_backends, read_filters},
    read_backend, read_hostnames, read_parents, read_values,
};
use crate::{document::Context, istio::refer, reader::Cursor};

/// Routing of gRPC calls. Source: `gateway.networking.k8s.io/v1.GRPCRoute`.
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcRoute {
    /// What it is attached to.
    pub parents: Vec<ParentRef>,
    /// Hosts it is for; none is those of the parent.
    pub hostnames: Vec<HostPattern>,
    /// The rules.
    pub rules: Vec<GrpcRule>,
}

/// One rule of a [`GrpcRoute`].
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcRule {
    /// Its name.
    pub name: Option<String>,
    /// One of these must match; none is every call.
    pub matches: Vec<GrpcMatch>,
    /// What is done with a call.
    pub filters: Vec<RouteFilter>,
    /// Where it goes, by weight, and what is done on the way to each.
    pub backends: Vec<(BackendRef, Vec<RouteFilter>)>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// What a call must be like; every part given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcMatch {
    /// The service, such as `shop.v1.Cart`.
    pub service: Option<ValueMatch>,
    /// The method.
    pub method: Option<ValueMatch>,
    /// Headers.
    pub headers: Vec<(String, ValueMatch)>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Routing of connections or datagrams. Source: `TLSRoute`, `TCPRoute` and `UDPRoute` of
/// `gateway.networking.k8s.io/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRoute {
    /// What it is attached to.
    pub parents: Vec<ParentRef>,
    /// Server names it is for; only a TLSRoute has some.
    pub hostnames: Vec<HostPattern>,
    /// The rules.
    pub rules: Vec<StreamRule>,
}

/// One rule of a [`StreamRoute`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRule {
    /// Its name.
    pub name: Option<String>,
    /// Where the connection goes, by weight.
    pub backends: Vec<BackendRef>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Reads the specification of a `GRPCRoute`.
pub(crate) fn parse_grpc(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<GrpcRoute> {
    let fields = cursor.fields();
    let parents = read_parents(&fields, context);
    let hostnames = read_hostnames(&fields);
    let rules = fields.list_of("rules", |cursor| read_grpc_rule(cursor, context));
    fields.ignore_rest();
    Some(GrpcRoute { parents, hostnames, rules })
}

fn read_grpc_rule(cursor: &Cursor<'_>, context: &Context<'_>) -> GrpcRule {
    let fields = cursor.fields();
    let name = fields.text("name");
    let matches = fields.list_of("matches", read_grpc_match);
    let filters = read_filters(&fields, context);
    let backends = read_filtered_backends(&fields, context);
    fields.ignore_rest();
    GrpcRule { name, matches, filters, backends, line: cursor.line() }
}

fn read_grpc_match(cursor: &Cursor<'_>) -> GrpcMatch {
    let fields = cursor.fields();
    let called = fields.get("method").map(|cursor| {
        let fields = cursor.fields();
        let is_regex = fields.text("type").is_some_and(|word| word == "RegularExpression");
        let part = |name: &'static str| {
            let cursor = fields.get(name)?;
            if is_regex {
                return refer::pattern(&cursor).map(ValueMatch::Regex);
            }
            cursor.text().map(ValueMatch::Exact)
        };
        let parts = (part("service"), part("method"));
        fields.ignore_rest();
        parts
    });
    let (service, method) = called.unwrap_or_default();
    let headers = read_values(&fields, "headers");
    fields.ignore_rest();
    GrpcMatch { service, method, headers, line: cursor.line() }
}

/// Reads the specification of a `TLSRoute`, a `TCPRoute` or a `UDPRoute`.
pub(crate) fn parse_stream(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<StreamRoute> {
    let fields = cursor.fields();
    let parents = read_parents(&fields, context);
    let hostnames = read_hostnames(&fields);
    let rules = fields.list_of("rules", |cursor| {
        let fields = cursor.fields();
        let name = fields.text("name");
        let backends = fields.list_of("backendRefs", |cursor| {
            let fields = cursor.fields();
            let backend = read_backend(&fields, context);
            fields.ignore_rest();
            backend
        });
        fields.ignore_rest();
        let backends = backends.into_iter().flatten().collect();
        StreamRule { name, backends, line: cursor.line() }
    });
    fields.ignore_rest();
    Some(StreamRoute { parents, hostnames, rules })
}
