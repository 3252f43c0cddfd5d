//! Random tables and requests, of few words, so that rules overlap and requests meet them.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use iako_proxy_config::{
    Action, ConnectionInput, CookieMatch, DirectResponse, Domain, FilterStateCheck,
    FilterStateMatch, HeaderCheck, HeaderMatch, MatchCheck, MatchInput, MatchNode, MatchOutcome,
    MatchPredicate, MatchThen, MatchTree, MetadataMatch, MetadataValueMatch, PathMatch, Pattern,
    QueryCheck, QueryMatch, Route, RouteConfiguration, RouteMatch, StringMatch, TlsContextMatch,
    TlsRequirement, UriTemplate, VirtualHost,
};
use iako_types::{Fraction, FractionDenominator, Percent};

/// Random numbers that are the same each time (splitmix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(sides).unwrap()).unwrap()
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    pub(crate) fn pick<'p, T>(&mut self, items: &'p [T]) -> &'p T {
        &items[self.roll(items.len())]
    }
}

/// A rule on a path that is no plain text, with what it means said by hand.
pub(crate) type Meaning = fn(&str) -> bool;

/// Expressions and templates, compiled once.
#[derive(Debug)]
pub(crate) struct Parts {
    patterns: Vec<(Pattern, Meaning)>,
    templates: Vec<(UriTemplate, Meaning)>,
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

/// Whether a segment may stand for `*`.
fn fills(segment: &str) -> bool {
    !segment.is_empty()
        && segment.chars().all(|c| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;:@=".contains(c))
}

/// Whether segments may stand for `**`.
fn fill_all(rest: &str) -> bool {
    rest.split('/').all(|segment| segment.is_empty() || fills(segment))
}

impl Parts {
    pub(crate) fn new() -> Self {
        let patterns: [(&str, Meaning); 10] = [
            ("/a", |path| path == "/a"),
            ("/a/.*", |path| path.starts_with("/a/")),
            ("/ab?", |path| path == "/a" || path == "/ab"),
            ("^/a/b$", |path| path == "/a/b"),
            ("/(a|b)/.*", |path| path.starts_with("/a/") || path.starts_with("/b/")),
            ("/a|/b", |path| path == "/a" || path == "/b"),
            (".*/v1", |path| path.ends_with("/v1")),
            (r"/x\.y", |path| path == "/x.y"),
            ("(?i)/AB", |path| path.eq_ignore_ascii_case("/ab")),
            ("/a/[a-z]+/v1", |path| {
                let found = segments(path);
                found.len() == 3
                    && found[0] == "a"
                    && !found[1].is_empty()
                    && found[1].chars().all(|c| c.is_ascii_lowercase())
                    && found[2] == "v1"
            }),
        ];
        let templates: [(&str, Meaning); 6] = [
            ("/a/{x}", |path| {
                let found = segments(path);
                found.len() == 2 && found[0] == "a" && fills(found[1])
            }),
            ("/a/*/v1", |path| {
                let found = segments(path);
                found.len() == 3 && found[0] == "a" && fills(found[1]) && found[2] == "v1"
            }),
            ("/a/**", |path| path.strip_prefix("/a/").is_some_and(fill_all)),
            ("/{x}/b/{y=**}", |path| {
                let found = segments(path);
                let rest = found.get(2..).unwrap_or_default().join("/");
                found.len() >= 3 && fills(found[0]) && found[1] == "b" && fill_all(&rest)
            }),
            ("/*.y", |path| {
                let found = segments(path);
                found.len() == 1 && found[0].strip_suffix(".y").is_some_and(fills)
            }),
            ("/ab", |path| path == "/ab"),
        ];
        Self {
            patterns: patterns
                .map(|(text, meaning)| (Pattern::parse(text).unwrap(), meaning))
                .into(),
            templates: templates
                .map(|(text, meaning)| (UriTemplate::parse(text).unwrap(), meaning))
                .into(),
        }
    }
}

/// A table, and what the rules mean that are no plain text, by the name of their route.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) configuration: RouteConfiguration,
    pub(crate) rules: BTreeMap<String, Meaning>,
}

const DOMAINS: &[&str] = &[
    "*",
    "a.test",
    "b.test",
    "x.a.test",
    "a.test:80",
    "b.test:8080",
    "*.a.test",
    "*.test",
    "*a.test",
    "*-b.test",
    "*.test:80",
    "a.*",
    "x.a.*",
    "a*",
    "A.Org",
    "*.org",
    "[::1]",
    "[::1]:80",
    "localhost",
];

pub(crate) fn table(parts: &Parts, dice: &mut Dice) -> Made {
    let mut made = Made { configuration: RouteConfiguration::new("t", []), rules: BTreeMap::new() };
    let mut free: Vec<&str> = DOMAINS.to_vec();
    for nth in 0..=dice.roll(5) {
        let mut host = VirtualHost { name: format!("h{nth}"), ..VirtualHost::default() };
        if nth == 0 && !dice.once_in(4) {
            host.domains.push(Domain::Any);
            free.retain(|domain| *domain != "*");
        }
        for _ in 0..=dice.roll(4) {
            if !free.is_empty() {
                let domain = free.swap_remove(dice.roll(free.len()));
                host.domains.push(domain.parse::<Domain>().unwrap());
            }
        }
        let routes: Vec<_> = (0..4 + dice.roll(16))
            .map(|at| Arc::new(route(format!("h{nth}r{at}"), parts, dice, &mut made.rules)))
            .collect();
        if dice.once_in(6) {
            host.matcher = Some(Box::new(tree(&routes, 0, dice)));
        } else {
            host.routes = routes;
        }
        host.require_tls = match dice.roll(30) {
            0 => TlsRequirement::All,
            1 => TlsRequirement::ExternalOnly,
            _ => TlsRequirement::None,
        };
        made.configuration.virtual_hosts.push(Arc::new(host));
    }
    let configuration = &mut made.configuration;
    configuration.ignore_port_in_host = dice.once_in(4);
    configuration.ignore_path_parameters = dice.once_in(4);
    configuration.host_header = dice.once_in(10).then(|| "x-a".parse().unwrap());
    made
}

/// What trees look at: headers, a query parameter, the connection, what filters left.
fn input(dice: &mut Dice) -> MatchInput {
    let header = |name: &str| MatchInput::RequestHeader(name.parse().unwrap());
    match dice.roll(9) {
        0 => header("x-a"),
        1..=3 => header("x-b"),
        4 => header(":path"),
        5 => MatchInput::QueryParameter("q".to_owned()),
        6 => MatchInput::Connection(ConnectionInput::SourceIp),
        7 => MatchInput::Connection(ConnectionInput::FilterState("tenant".to_owned())),
        _ => MatchInput::Connection(ConnectionInput::DynamicMetadata {
            filter: "jwt".to_owned(),
            path: vec!["group".to_owned()],
        }),
    }
}

fn check(dice: &mut Dice) -> MatchCheck {
    let text = (*dice.pick(&["1", "2", "a", "/a"])).to_owned();
    match dice.roll(6) {
        0 => MatchCheck::Text(StringMatch::Exact { value: text, ignore_case: dice.once_in(2) }),
        1 => MatchCheck::Text(StringMatch::Prefix { value: text, ignore_case: false }),
        2 => MatchCheck::Text(StringMatch::Contains { value: text, ignore_case: false }),
        3 => {
            let range = *dice.pick(&["10.0.0.0/8", "10.9.9.9/32", "11.0.0.0/8"]);
            MatchCheck::Ip(vec![range.parse().unwrap()])
        }
        4 => MatchCheck::Share {
            share: Fraction {
                numerator: u32::try_from(dice.roll(101)).unwrap(),
                denominator: FractionDenominator::Hundred,
            },
            seed: dice.next() % 3,
        },
        _ => MatchCheck::Hash {
            threshold: u32::try_from(dice.roll(5)).unwrap(),
            modulo: NonZeroU32::new(5).unwrap(),
            seed: dice.next() % 3,
        },
    }
}

fn predicate(depth: usize, dice: &mut Dice) -> MatchPredicate {
    let several = |dice: &mut Dice| vec![predicate(depth + 1, dice), predicate(depth + 1, dice)];
    match dice.roll(if depth < 2 { 8 } else { 5 }) {
        5 => MatchPredicate::Any(several(dice)),
        6 => MatchPredicate::All(several(dice)),
        7 => MatchPredicate::Not(Box::new(predicate(depth + 1, dice))),
        _ => MatchPredicate::Single { input: input(dice), check: check(dice) },
    }
}

/// A tree whose actions are some of the routes in a row.
fn tree(routes: &[Arc<Route>], depth: usize, dice: &mut Dice) -> MatchTree<Vec<Arc<Route>>> {
    let outcomes = |dice: &mut Dice, texts: &[&str]| {
        let mut made = BTreeMap::new();
        for _ in 0..=dice.roll(4) {
            made.insert((*dice.pick(texts)).to_owned(), outcome(routes, depth, dice));
        }
        made
    };
    let texts = ["1", "2", "1,2", "a", "/a", "/a/b", "/ab", "/", "", "10.9.9.9", "10."];
    let node = match dice.roll(7) {
        0 => MatchNode::Never,
        1 | 2 => {
            let rules = (0..=dice.roll(3))
                .map(|_| (predicate(0, dice), outcome(routes, depth, dice)))
                .collect();
            MatchNode::List(rules)
        }
        3 | 4 => MatchNode::Exact { input: input(dice), outcomes: outcomes(dice, &texts) },
        _ => MatchNode::Prefix { input: input(dice), outcomes: outcomes(dice, &texts) },
    };
    let otherwise = dice.once_in(2).then(|| Box::new(outcome(routes, depth, dice)));
    MatchTree { node, otherwise }
}

fn outcome(routes: &[Arc<Route>], depth: usize, dice: &mut Dice) -> MatchOutcome<Vec<Arc<Route>>> {
    let then = if depth < 2 && dice.once_in(4) {
        MatchThen::Tree(Box::new(tree(routes, depth + 1, dice)))
    } else {
        let from = dice.roll(routes.len());
        MatchThen::Action(routes[from..routes.len().min(from + 1 + dice.roll(6))].to_vec())
    };
    MatchOutcome { then, keep_matching: dice.once_in(8) }
}

const TEXTS: &[&str] = &[
    "/", "/", "/a", "/a", "/a/", "/ab", "/a/b", "/A", "/v1", "/a/b/v1", "/x.y", "", "/b", "/a;p",
    "/b/",
];

fn route(
    name: String,
    parts: &Parts,
    dice: &mut Dice,
    rules: &mut BTreeMap<String, Meaning>,
) -> Route {
    let text = (*dice.pick(TEXTS)).to_owned();
    let path = match dice.roll(12) {
        0..=3 => PathMatch::Prefix(text),
        4..=6 => PathMatch::Exact(text),
        7 | 8 => PathMatch::SegmentPrefix((*dice.pick(&["/a", "/a/b", "/b", "/A"])).to_owned()),
        9 => PathMatch::Connect,
        10 => {
            let (pattern, meaning) = dice.pick(&parts.patterns);
            rules.insert(name.clone(), *meaning);
            PathMatch::Regex(pattern.clone())
        }
        _ => {
            let (template, meaning) = dice.pick(&parts.templates);
            rules.insert(name.clone(), *meaning);
            PathMatch::Template(template.clone())
        }
    };
    let mut matcher = RouteMatch::path(path);
    matcher.case_sensitive = !dice.once_in(5);
    while dice.once_in(4) {
        matcher.headers.push(header(dice));
    }
    if dice.once_in(8) {
        let check = match dice.roll(3) {
            0 => QueryCheck::Present(true),
            1 => QueryCheck::Present(false),
            _ => QueryCheck::Text(text_match(dice)),
        };
        matcher.query.push(QueryMatch { name: "q".to_owned(), check });
    }
    if dice.once_in(12) {
        let (value, invert) = (text_match(dice), dice.once_in(3));
        matcher.cookies.push(CookieMatch { name: "c".to_owned(), value, invert });
    }
    if dice.once_in(20) {
        let maybe = |dice: &mut Dice| dice.once_in(2).then(|| dice.once_in(2));
        matcher.tls = Some(TlsContextMatch { presented: maybe(dice), validated: maybe(dice) });
    }
    if dice.once_in(20) {
        matcher.metadata.push(MetadataMatch {
            filter: "jwt".to_owned(),
            path: vec!["group".to_owned()],
            value: MetadataValueMatch::Text(text_match(dice)),
            invert: dice.once_in(3),
        });
    }
    if dice.once_in(20) {
        let check = FilterStateCheck::Text(text_match(dice));
        matcher.filter_state.push(FilterStateMatch { key: "tenant".to_owned(), check });
    }
    matcher.grpc_only = dice.once_in(20);
    matcher.share =
        dice.once_in(15).then(|| Percent::from_whole(*dice.pick(&[0, 30, 100])).unwrap().into());
    let answer = DirectResponse::new(200, bytes::Bytes::new());
    Route { name, ..Route::new(matcher, Action::Respond(answer)) }
}

fn header(dice: &mut Dice) -> HeaderMatch {
    let name = *dice.pick(&["x-a", "x-b", "x-n", ":method", ":authority", ":path"]);
    let check = match dice.roll(6) {
        0 => HeaderCheck::Present(true),
        1 => HeaderCheck::Present(false),
        2 => HeaderCheck::Range { start: 1, end: 3 },
        _ => HeaderCheck::Text(text_match(dice)),
    };
    HeaderMatch {
        name: name.parse().unwrap(),
        check,
        invert: dice.once_in(4),
        missing_as_empty: dice.once_in(5),
    }
}

const VALUES: &[&str] = &["", "1", "2", "a", "A", "ab", "GET", "a.test", "/a"];

fn text_match(dice: &mut Dice) -> StringMatch {
    let value = (*dice.pick(VALUES)).to_owned();
    let ignore_case = dice.once_in(3);
    match dice.roll(6) {
        0 if !value.is_empty() => StringMatch::Prefix { value, ignore_case },
        1 if !value.is_empty() => StringMatch::Suffix { value, ignore_case },
        2 if !value.is_empty() => StringMatch::Contains { value, ignore_case },
        _ => StringMatch::Exact { value, ignore_case },
    }
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) internal: bool,
    pub(crate) has_certificate: bool,
    pub(crate) fact: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) draw: u64,
}

const HOSTS: &[&str] = &[
    "a.test",
    "A.Test",
    "b.test",
    "x.a.test",
    "y.x.a.test",
    "a.test:80",
    "b.test:8080",
    "z.test:80",
    "a.org",
    "x.a.org",
    "x-b.test",
    ".test",
    "[::1]",
    "[::1]:80",
    "localhost",
    "localhost:9",
    "other",
];

pub(crate) fn request(dice: &mut Dice) -> Request {
    let method = *dice.pick(&["GET", "GET", "GET", "POST", "CONNECT"]);
    let segments = ["a", "a", "b", "ab", "A", "v1", "x.y", "", "a;p", "b;q=1", "\"", "*"];
    let mut target = String::new();
    for _ in 0..=dice.roll(3) {
        target.push('/');
        let segment: &&str = dice.pick(&segments);
        target.push_str(segment);
    }
    match dice.roll(6) {
        0 => target.push_str("?q=1"),
        1 => target.push_str("?z&q=ab&q=1"),
        2 => target.push_str("?q"),
        _ => {}
    }
    if method == "CONNECT" && dice.once_in(2) {
        target.clear();
    }
    let mut headers = Vec::new();
    while dice.once_in(2) {
        let name = *dice.pick(&["x-a", "x-b", "x-n", "x-b"]);
        headers.push((name, (*dice.pick(VALUES)).to_owned()));
    }
    if dice.once_in(3) {
        let cookie = *dice.pick(&["c=1", "c=a; d=1", "d=1", "d=2; c=2; c=1", "c=\"ab\""]);
        headers.push(("cookie", cookie.to_owned()));
    }
    if dice.once_in(5) {
        let kind = *dice.pick(&["application/grpc", "application/grpc+proto", "text/plain"]);
        headers.push(("content-type", kind.to_owned()));
    }
    let text = |dice: &mut Dice| dice.once_in(2).then(|| (*dice.pick(VALUES)).to_owned());
    Request {
        method,
        scheme: if dice.once_in(2) { "http" } else { "https" },
        authority: (*dice.pick(HOSTS)).to_owned(),
        target,
        headers,
        internal: dice.once_in(3),
        has_certificate: dice.once_in(2),
        fact: text(dice),
        state: text(dice),
        draw: dice.next(),
    }
}
