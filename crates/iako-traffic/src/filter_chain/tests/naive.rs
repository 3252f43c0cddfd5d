//! The table beside a walk through Envoy's documentation: for each field, the values that a connection
//! has of it, the most specific first; the first one that a chain names decides who stays.

use proptest::prelude::*;

use super::*;

const ANY: &str = "";

/// The chain that the documentation of `FilterChainMatch` chooses.
fn documented(chains: &[FilterChainMatch], connection: &ConnectionInfo) -> Option<usize> {
    let here = connection.remote.ip() == connection.original_destination.ip()
        || connection.remote.ip().is_loopback();
    let place = if here { "here" } else { "elsewhere" };
    type Named = fn(&FilterChainMatch) -> Vec<String>;
    let fields: [(Vec<String>, Named); 9] = [
        (one(&connection.original_destination.port()), |chain| {
            chain.destination_port.iter().map(ToString::to_string).collect()
        }),
        (networks(connection.original_destination.ip()), |chain| text(&chain.destination_ranges)),
        (names(&connection.server_name), |chain| chain.server_names.clone()),
        (one(&connection.transport_protocol), |chain| {
            chain.transport_protocol.iter().cloned().collect()
        }),
        (
            connection.application_protocols.iter().cloned().chain([ANY.to_owned()]).collect(),
            |chain| chain.application_protocols.clone(),
        ),
        (networks(connection.direct_remote.ip()), |chain| text(&chain.direct_source_ranges)),
        (one(&place), |chain| match chain.source_type {
            SourceType::Any => Vec::new(),
            SourceType::SameIpOrLoopback => vec!["here".to_owned()],
            SourceType::External => vec!["elsewhere".to_owned()],
        }),
        (networks(connection.remote.ip()), |chain| text(&chain.source_ranges)),
        (one(&connection.remote.port()), |chain| {
            chain.source_ports.iter().map(ToString::to_string).collect()
        }),
    ];
    let mut left: Vec<usize> = (0..chains.len()).collect();
    for (values, named) in fields {
        let names = |position: usize, value: &str| {
            let own = named(&chains[position]);
            let is_network = values.last().is_some_and(|last| last.ends_with("/0"));
            match own.is_empty() {
                true => value == ANY || (is_network && value.ends_with("/0")),
                false => own.iter().any(|own| own == value),
            }
        };
        let decides = |value: &&String| left.iter().any(|position| names(*position, value));
        let value = values.iter().find(decides)?;
        left.retain(|position| names(*position, value));
    }
    left.first().copied()
}

fn one(value: &impl ToString) -> Vec<String> {
    vec![value.to_string(), ANY.to_owned()]
}

/// Every network that holds an address, smallest first.
fn networks(address: IpAddr) -> Vec<String> {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let network = |bits| CidrRange::new(address, bits).unwrap().trunc().to_string();
    (0..=bits).rev().map(network).collect()
}

fn text(ranges: &[CidrRange]) -> Vec<String> {
    ranges.iter().map(|range| range.trunc().to_string()).collect()
}

/// The name, then with a star for its first label, its first two, …
fn names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.') {
        names.push(format!("*.{parent}"));
        rest = parent;
    }
    names.push(ANY.to_owned());
    names
}

fn some_of(values: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    let owned: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
    prop_oneof![2 => Just(Vec::new()), 3 => proptest::sample::subsequence(owned, 1..=most)]
}

fn ranges() -> impl Strategy<Value = Vec<CidrRange>> {
    let all = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "::/0", "fd00::/8"];
    let parsed: Vec<CidrRange> = all.iter().map(|range| range.parse().unwrap()).collect();
    prop_oneof![2 => Just(Vec::new()), 3 => proptest::sample::subsequence(parsed, 1..=3)]
}

fn matchers() -> impl Strategy<Value = FilterChainMatch> {
    let ends = (proptest::option::of(prop_oneof![Just(80_u16), Just(443)]), ranges(), ranges());
    let sources = (
        ranges(),
        prop_oneof![
            Just(SourceType::Any),
            Just(SourceType::SameIpOrLoopback),
            Just(SourceType::External)
        ],
        prop_oneof![Just(vec![]), Just(vec![1_u16]), Just(vec![1, 2])],
    );
    let words = (
        some_of(&["a.b.test", "*.b.test", "*.test", "c.test"], 2),
        proptest::option::of(prop_oneof![Just("tls".to_owned()), Just("raw_buffer".to_owned())]),
        some_of(&["h2", "http/1.1", "istio"], 2),
    );
    (ends, sources, words).prop_map(|(ends, sources, words)| FilterChainMatch {
        destination_port: ends.0,
        destination_ranges: ends.1,
        direct_source_ranges: ends.2,
        source_ranges: sources.0,
        source_type: sources.1,
        source_ports: sources.2,
        server_names: words.0,
        transport_protocol: words.1,
        application_protocols: words.2,
    })
}

fn addresses() -> impl Strategy<Value = SocketAddrText> {
    prop_oneof![
        Just("10.1.1.1:80"),
        Just("10.1.2.2:443"),
        Just("10.9.9.9:1"),
        Just("127.0.0.1:2"),
        Just("[fd00::1]:80"),
        Just("[2001::1]:3"),
    ]
}

type SocketAddrText = &'static str;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_table_and_the_documentation_choose_the_same_chain(
        matchers in proptest::collection::vec(matchers(), 1..8),
        ends in (addresses(), addresses(), addresses()),
        name in prop_oneof![Just(""), Just("a.b.test"), Just("x.b.test"), Just("c.test"), Just("d")],
        protocols in some_of(&["istio", "h2", "http/1.1"], 3),
        is_tls: bool,
    ) {
        let mut connection = ConnectionInfo::plain(ends.0.parse().unwrap(), ends.1.parse().unwrap());
        connection.remote = ends.2.parse().unwrap();
        connection.server_name = name.to_owned();
        connection.application_protocols = protocols;
        connection.transport_protocol = if is_tls { "tls" } else { "raw_buffer" }.to_owned();
        let mut listener = Listener::new("l", "127.0.0.1:1".parse().unwrap());
        listener.chains = matchers.iter().map(|matcher| chain("", matcher.clone())).collect();
        let table = FilterChainTable::compile(Arc::new(listener));
        prop_assert_eq!(table.position(&connection), documented(&matchers, &connection));
    }
}
