//! Trees, scopes, limits and answers with every field set.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use iako_proxy_config::*;
use iako_types::{Fraction, FractionDenominator};

use crate::{
    route::route_table,
    shared::{body_format, header_values},
};

fn action<A>(action: A) -> MatchOutcome<A> {
    MatchOutcome { then: MatchThen::Action(action), keep_matching: false }
}

fn predicates() -> Vec<MatchPredicate> {
    let header = MatchInput::RequestHeader("x-a".parse().unwrap());
    let text = MatchCheck::Text(StringMatch::exact("1"));
    let single = |input: MatchInput, check: MatchCheck| MatchPredicate::Single { input, check };
    let fact =
        ConnectionInput::DynamicMetadata { filter: "f".into(), path: vec!["a".into(), "b".into()] };
    let fact = MatchInput::Connection(fact);
    let connection = MatchInput::Connection;
    let share = Fraction { numerator: 10, denominator: FractionDenominator::TenThousand };
    let hash = MatchCheck::Hash { threshold: 3, modulo: NonZeroU32::new(9).unwrap(), seed: 4 };
    let metadata = MetadataMatch {
        filter: "f".into(),
        path: vec!["a".into(), "b".into()],
        value: MetadataValueMatch::Bool(true),
        invert: true,
    };
    vec![
        single(header.clone(), text.clone()),
        MatchPredicate::All(vec![
            single(MatchInput::QueryParameter("q".into()), text.clone()),
            MatchPredicate::Not(Box::new(single(
                connection(ConnectionInput::ServerName),
                text.clone(),
            ))),
        ]),
        MatchPredicate::Any(vec![
            single(
                connection(ConnectionInput::SourceIp),
                MatchCheck::Ip(vec!["10.0.0.0/8".parse().unwrap()]),
            ),
            single(header.clone(), hash),
            single(header, MatchCheck::Share { share, seed: 5 }),
            single(fact, MatchCheck::Metadata(Box::new(metadata))),
            single(connection(ConnectionInput::FilterState("k".into())), text),
        ]),
    ]
}

fn tree<A: Clone>(value: &A) -> MatchTree<A> {
    let exact = MatchNode::Exact {
        input: MatchInput::Connection(ConnectionInput::DestinationPort),
        outcomes: BTreeMap::from([("80".to_owned(), action(value.clone()))]),
    };
    let prefix = MatchNode::Prefix {
        input: MatchInput::Connection(ConnectionInput::UriSan),
        outcomes: BTreeMap::from([(
            "spiffe://".to_owned(),
            MatchOutcome { keep_matching: true, ..action(value.clone()) },
        )]),
    };
    let nested = |node| MatchOutcome {
        then: MatchThen::Tree(Box::new(MatchTree { node, otherwise: None })),
        keep_matching: false,
    };
    let outcomes = [nested(exact), nested(prefix), action(value.clone())];
    MatchTree {
        node: MatchNode::List(predicates().into_iter().zip(outcomes).collect()),
        otherwise: Some(Box::new(action(value.clone()))),
    }
}

pub(crate) fn chosen_by_tree() -> VirtualHost {
    let route = |path: &str| {
        let answer = DirectResponse::new(200, bytes::Bytes::new());
        let matcher = RouteMatch::path(PathMatch::Prefix(path.to_owned()));
        Arc::new(Route::new(matcher, Action::Respond(answer)))
    };
    VirtualHost {
        name: "tree".into(),
        domains: vec!["tree.test".parse().unwrap()],
        matcher: Some(Box::new(tree(&vec![route("/a"), route("/b")]))),
        virtual_clusters: vec![VirtualCluster {
            name: "posts".into(),
            headers: vec![HeaderMatch {
                name: ":method".parse().unwrap(),
                check: HeaderCheck::Text(StringMatch::exact("POST")),
                invert: true,
                missing_as_empty: false,
            }],
        }],
        ..VirtualHost::default()
    }
}

pub(crate) fn rewriting() -> Route {
    let template = UriTemplate::parse("/a/{x}/{y=b/**}").unwrap();
    let mut action = RouteAction::to(ClusterTarget::Cluster("a".into()));
    action.path_rewrite = Some(PathRewrite::Template(UriRewrite::parse("/{y}/{x}").unwrap()));
    action.host_rewrite = Some(HostRewrite::PathRegex {
        pattern: Pattern::parse("^/(.*)$").unwrap(),
        substitution: r"\1.test".into(),
    });
    let matcher = RouteMatch::path(PathMatch::Template(template));
    Route::new(matcher, Action::Forward(Box::new(action)))
}

/// A route whose cluster a tree names.
pub(crate) fn specified() -> Route {
    let clusters = ClusterTarget::Tree(Arc::new(tree(&"a".to_owned())));
    let action = Action::Forward(Box::new(RouteAction::to(clusters)));
    Route { stat_prefix: "s".into(), ..Route::new(RouteMatch::any(), action) }
}

pub(crate) fn client_cert_rules() -> MatchTree<ForwardClientCertRule> {
    tree(&ForwardClientCertRule {
        forward: ForwardClientCert::SanitizeSet,
        details: ClientCertDetails { uri: true, ..ClientCertDetails::default() },
    })
}

pub(crate) fn early_headers() -> Vec<HeaderEdit> {
    let added = header_values().into_iter().map(HeaderEdit::Add);
    let removed = [
        HeaderEdit::Remove("x-b".parse().unwrap()),
        HeaderEdit::RemoveMatching(StringMatch::prefix("x-")),
    ];
    added.chain(removed).collect()
}

pub(crate) fn local_reply() -> LocalReply {
    LocalReply {
        mappers: vec![
            ReplyMapper {
                filter: Some(AccessLogFilter::Status(LogComparison::Equal(503).into())),
                status: Some(599),
                body: Some(bytes::Bytes::from_static(b"away")),
                format: Some(body_format()),
                headers: header_values(),
            },
            ReplyMapper::default(),
        ],
        format: Some(body_format()),
    }
}

pub(crate) fn ip_detection() -> Vec<IpDetection> {
    vec![
        IpDetection::ForwardedFor { trusted_hops: 1, trusted: Vec::new(), skip_append: false },
        IpDetection::ForwardedFor {
            trusted_hops: 0,
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            skip_append: true,
        },
        IpDetection::Header {
            name: "x-client".parse().unwrap(),
            trusted: true,
            reject_with: Some(403),
        },
    ]
}

pub(crate) fn rate_limits() -> Vec<RateLimit> {
    let entry = || RateLimitEntry { key: "k".into(), value: "v".into(), default_value: "d".into() };
    let path = || MetadataPlace { key: "f".into(), path: vec!["a".into()] };
    let header = "x-a".parse::<HeaderName>().unwrap();
    let actions = vec![
        RateLimitAction::SourceCluster,
        RateLimitAction::DestinationCluster,
        RateLimitAction::RemoteAddress,
        RateLimitAction::MaskedRemoteAddress { v4_bits: 24, v6_bits: 64 },
        RateLimitAction::RequestHeader {
            name: header.clone(),
            key: "h".into(),
            skip_if_absent: true,
        },
        RateLimitAction::QueryParameter { name: "q".into(), key: "k".into(), skip_if_absent: true },
        RateLimitAction::GenericKey(entry()),
        RateLimitAction::HeaderValueMatch {
            entry: entry(),
            expect: false,
            headers: vec![HeaderMatch {
                name: header,
                check: HeaderCheck::Present(true),
                invert: false,
                missing_as_empty: false,
            }],
        },
        RateLimitAction::QueryParameterValueMatch {
            entry: entry(),
            expect: true,
            query: vec![QueryMatch { name: "q".into(), check: QueryCheck::Present(true) }],
        },
        RateLimitAction::RemoteAddressMatch {
            entry: entry(),
            ranges: vec!["10.0.0.0/8".parse().unwrap()],
            invert: true,
        },
        RateLimitAction::Metadata {
            key: "m".into(),
            source: RateLimitMetadataSource::Route,
            path: path(),
            default_value: "d".into(),
            skip_if_absent: true,
        },
    ];
    let fixed = RateLimitOverride::Fixed { requests: 9, unit: RateLimitUnit::Hour };
    vec![
        RateLimit {
            stage: 3,
            disable_key: "off".into(),
            actions,
            limit: Some(fixed),
            hits: Some(RateLimitHits::Number(2)),
            on_stream_done: true,
            headers: Some(true),
        },
        RateLimit {
            actions: vec![RateLimitAction::SourceCluster],
            limit: Some(RateLimitOverride::Metadata(path())),
            hits: Some(RateLimitHits::Format("%BYTES_RECEIVED%".into())),
            headers: Some(false),
            ..RateLimit::default()
        },
    ]
}

pub(crate) fn scopes() -> Vec<Scope> {
    match scoped_routes().scopes {
        ScopeSource::Inline(scopes) => {
            scopes.into_iter().map(|scope| Scope::clone(&scope)).collect()
        }
        ScopeSource::Discovered(_) => Vec::new(),
    }
}

pub(crate) fn scoped_routes() -> ScopedRoutes {
    let scope = |name: &str, routes| {
        Arc::new(Scope {
            name: name.into(),
            key: vec![name.into(), "k".into()],
            routes,
            on_demand: true,
        })
    };
    ScopedRoutes {
        name: "s".into(),
        key: vec![
            ScopeFragment {
                header: "x-a".parse().unwrap(),
                separator: ",".into(),
                element: ScopeElement::Index(1),
            },
            ScopeFragment {
                header: "x-b".parse().unwrap(),
                separator: ";".into(),
                element: ScopeElement::Value { separator: "=".into(), key: "k".into() },
            },
        ],
        tables: ConfigSource::default(),
        scopes: ScopeSource::Inline(vec![
            scope("one", ScopeTable::Rds("r".into())),
            scope("two", ScopeTable::Inline(Arc::new(route_table()))),
        ]),
    }
}
