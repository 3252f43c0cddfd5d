//! The compiled route table beside a walk that tries every rule in order, written from Envoy's
//! documentation of `RouteConfiguration`, `VirtualHost.domains`, `RouteMatch` and `HeaderMatcher`
//! alone: 200,000 random tables and requests, the same answer.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[path = "route_model/make.rs"]
mod make;
#[path = "route_model/walk.rs"]
mod walk;

use std::sync::Arc;

use iako_traffic::{
    ConnectionInfo, HeaderList, Metadata, PeerCertificate, RequestFacts, RequestHead, RouteOutcome,
    RouteTable, TlsFacts,
};

use make::{Dice, Made, Parts, Request};
use walk::Answer;

const TABLES: u32 = 4_000;
const REQUESTS_EACH: u32 = 50;

/// What the compiled table says, and what its own step-by-step explanation says.
fn compiled(table: &RouteTable, request: &Request) -> (Answer, Answer) {
    let mut connection =
        ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.9.9.9:9".parse().unwrap());
    if request.has_certificate {
        connection.tls =
            Some(TlsFacts { peer: Some(PeerCertificate::default()), ..TlsFacts::default() });
    }
    let headers: HeaderList = request.headers.iter().map(|(name, value)| (*name, value)).collect();
    let mut metadata = Metadata::default();
    if let Some(value) = &request.fact {
        metadata.set("jwt", "group", serde_json::Value::from(value.as_str()));
    }
    if let Some(value) = &request.state {
        metadata.set_state("tenant", value.clone());
    }
    let head = RequestHead {
        method: request.method,
        scheme: request.scheme,
        authority: &request.authority,
        path_and_query: &request.target,
        headers: &headers,
    };
    let client = connection.remote.ip();
    let internal = request.internal;
    let facts =
        RequestFacts { head, connection: &connection, metadata: &metadata, client, internal };
    let told = |outcome: RouteOutcome<'_>| match outcome {
        RouteOutcome::NoHost => Answer::NoHost,
        RouteOutcome::NoRoute(host) => Answer::NoRoute(host.name.clone()),
        RouteOutcome::TlsRequired(host) => Answer::TlsRequired(host.name.clone()),
        RouteOutcome::Matched(found) => Answer::Route(found.route.name.clone()),
    };
    (told(table.route(&facts, request.draw)), told(table.trace(&facts, request.draw).outcome))
}

/// The conditions of the route that should have been found, for people.
fn rule_of(table: &RouteTable, wanted: &Answer) -> String {
    let Answer::Route(name) = wanted else { return "none".to_owned() };
    let hosts = &table.configuration().virtual_hosts;
    let mut routes = hosts.iter().flat_map(|host| &host.routes);
    let found = routes.find(|route| route.name == *name);
    found.map_or_else(|| "in a tree".to_owned(), |route| format!("{:?}", route.matcher))
}

#[test]
fn the_compiled_table_answers_as_a_walk_over_every_rule() {
    let parts = Parts::new();
    let mut seen = [0_u32; 4];
    for seed in 0..TABLES {
        let mut dice = Dice::new(u64::from(seed));
        let Made { configuration, rules } = make::table(&parts, &mut dice);
        let table = RouteTable::compile(Arc::new(configuration));
        for _ in 0..REQUESTS_EACH {
            let request = make::request(&mut dice);
            let wanted = walk::answer(table.configuration(), &rules, &request);
            let (found, explained) = compiled(&table, &request);
            let rule = rule_of(&table, &wanted);
            assert_eq!(found, wanted, "seed {seed}: {request:?}; the rule: {rule}");
            assert_eq!(explained, wanted, "the explanation, seed {seed}: {request:?}");
            seen[wanted.kind()] += 1;
        }
    }
    // A comparison of nothing but refusals would say little.
    assert!(seen[3] > 60_000 && seen[2] > 1_000 && seen[1] > 5_000 && seen[0] > 1_000, "{seen:?}");
}

// One change of a big table: what is not compiled again still answers the same.
#[test]
fn a_table_that_takes_over_from_another_answers_for_itself() {
    let parts = Parts::new();
    let mut before: Option<RouteTable> = None;
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let Made { mut configuration, rules } = make::table(&parts, &mut dice);
        if let (Some(before), true) = (&before, seed % 2 == 1) {
            let hosts = &before.configuration().virtual_hosts;
            let is_free = |host: &Arc<iako_proxy_config::VirtualHost>| {
                let mut own = configuration.virtual_hosts.iter().flat_map(|own| &own.domains);
                !own.any(|domain| host.domains.contains(domain))
            };
            let kept: Vec<_> = hosts.iter().filter(|host| is_free(host)).cloned().collect();
            configuration.virtual_hosts.extend(kept);
        }
        if let (Some(before), 0) = (&before, seed % 4) {
            // Only what is done with a request changes, or one condition on a path.
            configuration = before.configuration().as_ref().clone();
            let host = configuration.virtual_hosts.first_mut().unwrap();
            let mut changed = host.as_ref().clone();
            if let Some(route) = changed.routes.last_mut() {
                let mut one = route.as_ref().clone();
                one.name.push_str("-changed");
                if seed % 8 == 0 {
                    one.matcher.path = iako_proxy_config::PathMatch::Prefix("/a".to_owned());
                }
                *route = Arc::new(one);
            }
            *host = Arc::new(changed);
        }
        let anew = RouteTable::compile(Arc::new(configuration.clone()));
        let table = RouteTable::compile_after(Arc::new(configuration), before.as_ref());
        for _ in 0..20 {
            let request = make::request(&mut dice);
            assert_eq!(compiled(&table, &request), compiled(&anew, &request), "seed {seed}");
        }
        drop(rules);
        before = Some(table);
    }
}
