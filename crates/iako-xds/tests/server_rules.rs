//! The rules of the protocol that a server must keep, one test a rule; letters and numbers are
//! those of the project's protocol checklist.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may be blunt")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use iako_rt::clock;
use iako_xds::{
    DeltaRequest, Request, Resource, ResourceSet, Response, ServerStream, Snapshot, StateRequest,
    TypeUrl, Variant,
};
use proptest::prelude::*;

/// `a=1 b=2` as a set: the content decides the version.
fn set(text: &str) -> ResourceSet {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, body)| Resource::new(name, Bytes::from(body.to_owned()))).collect()
}

/// Sets of some types, written as `(type, "a=1 b=2")`.
fn snapshot(sets: &[(TypeUrl, &str)]) -> Snapshot {
    let sets = sets.iter();
    sets.fold(Snapshot::new(), |snapshot, (kind, text)| snapshot.with(kind.clone(), set(text)))
}

/// A stream and the last nonce of every type.
struct Client {
    stream: ServerStream,
    nonces: BTreeMap<TypeUrl, String>,
    now: Instant,
}

impl Client {
    fn new(variant: Variant, sets: &[(TypeUrl, &str)]) -> Self {
        let stream = ServerStream::new(variant);
        let mut client = Self { stream, nonces: BTreeMap::new(), now: clock::now() };
        client.publish(sets);
        client
    }

    fn delta(sets: &[(TypeUrl, &str)]) -> Self {
        Self::new(Variant::Delta, sets)
    }

    fn state(sets: &[(TypeUrl, &str)]) -> Self {
        Self::new(Variant::StateOfTheWorld, sets)
    }

    fn publish(&mut self, sets: &[(TypeUrl, &str)]) {
        self.stream.on_snapshot(Arc::new(snapshot(sets)));
    }

    /// A delta subscription: `+name` and `-name`.
    fn ask(&mut self, kind: &TypeUrl, names: &str) {
        let starting = |sign: char| {
            let names = names.split_whitespace().filter_map(|name| name.strip_prefix(sign));
            names.map(str::to_owned).collect()
        };
        let request = DeltaRequest {
            subscribe: starting('+'),
            unsubscribe: starting('-'),
            ..DeltaRequest::default()
        };
        self.stream.on_request(Request::Delta(kind.clone(), request));
    }

    /// A delta reconnect: wanted names, and `name=version` of what is held.
    fn return_with(&mut self, kind: &TypeUrl, names: &[&str], held: &[(&str, &str)]) {
        let request = DeltaRequest {
            subscribe: names.iter().map(ToString::to_string).collect(),
            initial_versions: held.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            ..DeltaRequest::default()
        };
        self.stream.on_request(Request::Delta(kind.clone(), request));
    }

    /// A state-of-the-world request with the last nonce.
    fn names(&mut self, kind: &TypeUrl, names: &[&str]) {
        let nonce = self.nonces.get(kind).cloned().unwrap_or_default();
        self.names_with(kind, names, "", &nonce);
    }

    fn names_with(&mut self, kind: &TypeUrl, names: &[&str], version: &str, nonce: &str) {
        let request = StateRequest {
            version: version.to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
            nonce: nonce.to_owned(),
            error: None,
        };
        self.stream.on_request(Request::State(kind.clone(), request));
    }

    /// The next response in short form, without an answer to it.
    fn hear(&mut self) -> Option<Response> {
        let response = self.stream.next_response(self.now)?;
        self.nonces.insert(response.type_url.clone(), response.nonce.clone());
        Some(response)
    }

    fn take(&mut self) -> String {
        self.hear().map_or_else(|| "-".to_owned(), |response| short(&response))
    }

    /// Accepts the last response of a delta type.
    fn accept(&mut self, kind: &TypeUrl) {
        self.judge(kind, None);
    }

    fn reject(&mut self, kind: &TypeUrl, words: &str) {
        self.judge(kind, Some(words.to_owned()));
    }

    fn judge(&mut self, kind: &TypeUrl, error: Option<String>) {
        let request =
            DeltaRequest { nonce: self.nonces[kind].clone(), error, ..DeltaRequest::default() };
        self.stream.on_request(Request::Delta(kind.clone(), request));
    }

    /// Takes and accepts everything there is, in short form.
    fn settle(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(response) = self.hear() {
            heard.push(short(&response));
            self.accept(&response.type_url);
        }
        heard
    }
}

/// `Cluster a b !c`: type, resources, removed.
fn short(response: &Response) -> String {
    let kind = response.type_url.as_str().rsplit('.').next().unwrap().to_owned();
    let there = response.resources.iter().map(|resource| format!(" {}", resource.name));
    let gone = response.removed.iter().map(|name| format!(" !{name}"));
    std::iter::once(kind).chain(there).chain(gone).collect()
}

const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINTS;
const LDS: TypeUrl = TypeUrl::LISTENER;
const RDS: TypeUrl = TypeUrl::ROUTES;
const SDS: TypeUrl = TypeUrl::SECRET;

#[test]
fn x3_nonces_are_unique_and_x4_a_new_state_replaces_an_unsent_one() {
    let mut client = Client::delta(&[(CDS, "a=1")]);
    client.ask(&CDS, "");
    let first = client.hear().unwrap();
    client.publish(&[(CDS, "a=2")]);
    client.publish(&[(CDS, "a=3")]);
    client.accept(&CDS);
    let second = client.hear().unwrap();
    assert_ne!(first.nonce, second.nonce);
    assert_eq!(&second.resources[0].body[..], b"3");
    client.accept(&CDS);
    assert_eq!(client.take(), "-");
}

#[test]
fn x5_nothing_is_sent_when_nothing_changed() {
    let mut client = Client::delta(&[(CDS, "a=1"), (LDS, "l=1")]);
    client.ask(&CDS, "");
    client.ask(&LDS, "");
    assert_eq!(client.settle(), ["Cluster a", "Listener l"]);
    client.publish(&[(CDS, "a=1"), (LDS, "l=2")]);
    assert_eq!(client.settle(), ["Listener l"]);
}

#[test]
fn x6_an_unknown_type_gets_no_answer_and_harms_nothing() {
    let mut client = Client::delta(&[(CDS, "a=1")]);
    let unknown = TypeUrl::from("type.googleapis.com/istio.v1.HealthInformation".to_owned());
    client.ask(&unknown, "");
    client.ask(&unknown, "+x");
    client.ask(&CDS, "");
    assert_eq!(client.settle(), ["Cluster a"]);
    client.publish(&[(CDS, "a=1"), (unknown, "x=1")]);
    assert_eq!(client.settle(), ["HealthInformation x"], "served after all");
}

#[test]
fn x7_a_rejected_version_is_not_sent_again_and_stays_on_the_status() {
    let mut client = Client::delta(&[(CDS, "a=1")]);
    client.ask(&CDS, "");
    client.settle();
    client.publish(&[(CDS, "a=2")]);
    assert_eq!(client.take(), "Cluster a");
    client.reject(&CDS, "cluster a: bad timeout");
    assert_eq!(client.take(), "-");
    client.publish(&[(CDS, "a=2"), (LDS, "l=1")]);
    assert_eq!(client.take(), "-", "another type changed");
    let status = &client.stream.status()[0];
    assert_eq!(status.rejected.as_ref().unwrap().message, "cluster a: bad timeout");
    assert_ne!(status.acknowledged, status.sent);
    client.publish(&[(CDS, "a=3")]);
    assert_eq!(client.settle(), ["Cluster a"]);
    assert_eq!(client.stream.status()[0].rejected, None);
}

#[test]
fn x14_at_most_one_response_a_type_waits_and_types_do_not_wait_for_each_other() {
    let mut client = Client::delta(&[(CDS, "a=1"), (EDS, "a=1")]);
    client.ask(&CDS, "");
    client.ask(&EDS, "+a");
    assert_eq!(client.take(), "Cluster a");
    client.publish(&[(CDS, "a=2"), (EDS, "a=1")]);
    assert_eq!(client.take(), "ClusterLoadAssignment a", "S6: clusters may stay unanswered long");
    assert_eq!(client.take(), "-");
    assert!(client.stream.status()[0].waiting);
    client.accept(&CDS);
    assert_eq!(client.take(), "Cluster a");
}

#[test]
fn s1_no_names_is_everything_until_a_name_was_given() {
    let mut client = Client::state(&[(CDS, "A=1 B=1")]);
    client.names(&CDS, &[]);
    assert_eq!(client.take(), "Cluster A B");
    client.names(&CDS, &["*", "A"]);
    assert_eq!(client.take(), "Cluster A B");
    client.names(&CDS, &["A"]);
    assert_eq!(client.take(), "Cluster A");
    client.names(&CDS, &[]);
    assert_eq!(client.take(), "-");
    client.publish(&[(CDS, "A=2 B=2")]);
    assert_eq!(client.take(), "-", "nothing is wanted any more");
    client.names(&CDS, &["B"]);
    assert_eq!(client.take(), "Cluster B", "G2: wanted again, with the old nonce");
}

#[test]
fn s1_no_names_of_endpoints_is_nothing() {
    let mut client = Client::state(&[(EDS, "a=1")]);
    client.names(&EDS, &[]);
    assert_eq!(client.take(), "-");
}

#[test]
fn s2_whole_lists_for_clusters_and_listeners_news_for_the_rest() {
    let mut client = Client::state(&[(LDS, "l=1 m=1"), (RDS, "r=1 s=1")]);
    client.names(&LDS, &[]);
    client.names(&RDS, &["r", "s"]);
    assert_eq!(client.take(), "Listener l m");
    assert_eq!(client.take(), "RouteConfiguration r s");
    client.names(&LDS, &[]);
    client.names(&RDS, &["r", "s"]);
    client.publish(&[(LDS, "m=2"), (RDS, "s=2")]);
    assert_eq!(client.take(), "Listener m", "the absence of l is its removal");
    assert_eq!(client.take(), "RouteConfiguration s", "the absence of r says nothing");
    client.names(&LDS, &[]);
    client.names(&RDS, &["r", "s"]);
    client.publish(&[(RDS, "r=1 s=2")]);
    assert_eq!(client.take(), "Listener");
    assert_eq!(client.take(), "RouteConfiguration r", "it exists again");
}

#[test]
fn s4_a_stale_nonce_is_not_answered_and_only_added_names_are() {
    let mut client = Client::state(&[(EDS, "a=1 b=1")]);
    client.names(&EDS, &["a"]);
    assert_eq!(client.take(), "ClusterLoadAssignment a");
    client.names_with(&EDS, &["a", "b"], "", "");
    assert_eq!(client.take(), "-", "sent before the response was seen");
    client.names(&EDS, &["a", "b"]);
    assert_eq!(client.take(), "ClusterLoadAssignment b");
    client.names(&EDS, &["a", "b"]);
    client.names(&EDS, &["b"]);
    assert_eq!(client.take(), "-");
}

#[test]
fn s5_d8_endpoints_follow_every_changed_cluster() {
    let sets = |version: &str| [(CDS, format!("a={version} b=1")), (EDS, "a=1 b=1".to_owned())];
    let first = sets("1").map(|(kind, text)| (kind, text.leak() as &str));
    let second = sets("2").map(|(kind, text)| (kind, text.leak() as &str));
    let mut state = Client::state(&first);
    state.names(&CDS, &[]);
    state.names(&EDS, &["a", "b"]);
    assert_eq!([state.take(), state.take()], ["Cluster a b", "ClusterLoadAssignment a b"]);
    state.names(&EDS, &["a", "b"]);
    state.names(&CDS, &[]);
    state.publish(&second);
    assert_eq!([state.take(), state.take()], ["Cluster a b", "ClusterLoadAssignment a"]);
    let mut delta = Client::delta(&first);
    delta.ask(&CDS, "");
    delta.ask(&EDS, "+a +b");
    delta.settle();
    delta.publish(&second);
    assert_eq!(delta.settle(), ["Cluster a", "ClusterLoadAssignment a"]);
}

#[test]
fn d8_also_for_endpoints_under_another_name_and_after_a_reconnect() {
    let cluster = |body: &str| {
        let cluster = Resource::new("outbound|80||a", Bytes::from(body.to_owned()));
        let set: ResourceSet = [cluster.with_endpoints("a.svc")].into_iter().collect();
        Arc::new(Snapshot::new().with(CDS, set).with(EDS, self::set("a.svc=1")))
    };
    let mut client = Client::delta(&[]);
    client.stream.on_snapshot(cluster("1"));
    let version = set("a.svc=1").get("a.svc").unwrap().version.to_string();
    client.return_with(&CDS, &[], &[("outbound|80||a", "older")]);
    assert_eq!(client.take(), "Cluster outbound|80||a");
    // The client has these endpoints, but its updated cluster waits for them.
    client.return_with(&EDS, &["a.svc"], &[("a.svc", &version)]);
    assert_eq!(client.take(), "ClusterLoadAssignment a.svc");
}

#[test]
fn s7_a_returning_client_that_has_the_list_is_left_alone() {
    let sets = [(CDS, "a=1"), (LDS, "l=1")];
    let mut client = Client::state(&sets);
    client.names(&CDS, &[]);
    let version = client.hear().unwrap().version.to_string();
    let mut again = Client::state(&sets);
    again.names_with(&CDS, &[], &version, "");
    assert_eq!(again.take(), "-");
    again.publish(&[(CDS, "a=2")]);
    assert_eq!(again.take(), "Cluster a");
    let mut other = Client::state(&[(CDS, "a=1 b=1")]);
    other.names_with(&CDS, &[], &version, "");
    assert_eq!(other.take(), "Cluster a b");
}

#[test]
fn s8_the_version_changes_with_what_the_client_can_see() {
    let version = |sets: &[(TypeUrl, &str)]| {
        let mut client = Client::state(sets);
        client.names(&CDS, &[]);
        client.hear().unwrap().version
    };
    assert_eq!(version(&[(CDS, "a=1 b=1")]), version(&[(CDS, "a=1 b=1"), (LDS, "l=9")]));
    assert_ne!(version(&[(CDS, "a=1 b=1")]), version(&[(CDS, "a=1 b=2")]));
    assert_ne!(version(&[(CDS, "a=1 b=1")]), version(&[(CDS, "a=1")]));
}

#[test]
fn d1_subscriptions_count_even_beside_a_stale_nonce() {
    let mut client = Client::delta(&[(EDS, "a=1 b=1")]);
    client.ask(&EDS, "+a");
    assert_eq!(client.take(), "ClusterLoadAssignment a");
    let request = DeltaRequest {
        subscribe: vec!["b".to_owned()],
        nonce: "stale".to_owned(),
        ..DeltaRequest::default()
    };
    client.stream.on_request(Request::Delta(EDS, request));
    assert_eq!(client.take(), "-", "the stale nonce acknowledged nothing");
    client.accept(&EDS);
    assert_eq!(client.take(), "ClusterLoadAssignment b");
}

#[test]
fn d3_a_name_asked_for_again_is_answered_again() {
    let mut client = Client::delta(&[(EDS, "a=1")]);
    client.ask(&EDS, "+a");
    client.settle();
    client.ask(&EDS, "+a");
    assert_eq!(client.settle(), ["ClusterLoadAssignment a"]);
    client.ask(&EDS, "-a");
    client.ask(&EDS, "+a");
    assert_eq!(client.settle(), ["ClusterLoadAssignment a"]);
}

#[test]
fn d4_a_missing_name_is_told_missing_once_and_pushed_when_it_exists() {
    let mut client = Client::delta(&[(EDS, "a=1")]);
    client.ask(&EDS, "+b");
    assert_eq!(client.settle(), ["ClusterLoadAssignment !b"]);
    client.publish(&[(EDS, "a=2")]);
    assert_eq!(client.settle(), [""; 0]);
    client.publish(&[(EDS, "a=2 b=1")]);
    assert_eq!(client.settle(), ["ClusterLoadAssignment b"]);
}

#[test]
fn d5_unsubscribing_is_silent_but_under_a_wildcard_answered() {
    let mut client = Client::delta(&[(CDS, "a=1 b=1")]);
    client.ask(&CDS, "");
    client.ask(&EDS, "-phantom");
    assert_eq!(client.settle(), ["Cluster a b"]);
    client.ask(&CDS, "+a +x");
    assert_eq!(client.settle(), ["Cluster a !x"]);
    client.ask(&CDS, "-a -x");
    assert_eq!(client.settle(), ["Cluster a !x"]);
    client.ask(&CDS, "-*");
    client.publish(&[(CDS, "a=2")]);
    assert_eq!(client.settle(), [""; 0]);
}

#[test]
fn d6_the_first_wildcard_request_is_answered_even_with_nothing() {
    let mut client = Client::delta(&[]);
    client.ask(&CDS, "");
    client.ask(&LDS, "+*");
    client.ask(&EDS, "");
    assert_eq!(client.settle(), ["Cluster", "Listener"]);
    assert_eq!(client.settle(), [""; 0]);
}

#[test]
fn d6_nothing_is_said_before_there_is_a_state() {
    let mut stream = ServerStream::new(Variant::Delta);
    stream.on_request(Request::Delta(CDS, DeltaRequest::default()));
    let now = clock::now();
    assert_eq!(stream.next_response(now), None);
    stream.on_snapshot(Arc::new(snapshot(&[(CDS, "a=1")])));
    assert_eq!(short(&stream.next_response(now).unwrap()), "Cluster a");
}

#[test]
fn d7_a_returning_client_receives_the_difference() {
    let version = |text: &str| set(text).iter().next().unwrap().version.to_string();
    let mut client = Client::delta(&[(CDS, "a=1 b=2 d=1"), (SDS, "s=1")]);
    let (a, b) = (version("a=1"), version("b=1"));
    client.return_with(&CDS, &[], &[("a", &a), ("b", &b), ("c", "x")]);
    assert_eq!(client.settle(), ["Cluster b d", "Cluster !c"]);
    client.return_with(&SDS, &["s", "t"], &[("s", &version("s=1")), ("t", "x")]);
    assert_eq!(client.settle(), ["Secret !t"]);
}

#[test]
fn o1_types_go_out_in_the_order_that_makes_before_it_breaks() {
    let all = [(SDS, "s=1"), (RDS, "r=1"), (LDS, "l=1"), (EDS, "a=1"), (CDS, "a=1")];
    let mut client = Client::delta(&all);
    for (kind, name) in [(&SDS, "+s"), (&RDS, "+r"), (&LDS, ""), (&EDS, "+a"), (&CDS, "")] {
        client.ask(kind, name);
    }
    let order =
        ["Cluster a", "ClusterLoadAssignment a", "Listener l", "RouteConfiguration r", "Secret s"];
    assert_eq!(client.settle(), order);
}

#[test]
fn o1_a_cluster_leaves_after_the_routes_to_it() {
    let before = [(CDS, "a=1 b=1"), (EDS, "a=1 b=1"), (RDS, "r=1")];
    let after = [(CDS, "a=2"), (EDS, "a=1"), (RDS, "r=2")];
    let mut client = Client::delta(&before);
    client.ask(&CDS, "");
    client.ask(&EDS, "+a +b");
    client.ask(&RDS, "+r");
    client.settle();
    client.publish(&after);
    assert_eq!(client.take(), "Cluster a");
    client.accept(&CDS);
    assert_eq!(client.take(), "ClusterLoadAssignment a");
    client.accept(&EDS);
    assert_eq!(client.take(), "RouteConfiguration r");
    assert_eq!(client.take(), "-", "the client may still route to b");
    client.accept(&RDS);
    assert_eq!(client.settle(), ["Cluster !b", "ClusterLoadAssignment !b"]);
    let before = [(CDS, "a=1 b=1"), (RDS, "r=1")];
    let after = [(CDS, "a=2"), (RDS, "r=2")];
    let mut state = Client::state(&before);
    state.names(&CDS, &[]);
    state.names(&RDS, &["r"]);
    assert_eq!([state.take(), state.take()], ["Cluster a b", "RouteConfiguration r"]);
    state.names(&CDS, &[]);
    state.names(&RDS, &["r"]);
    state.publish(&after);
    assert_eq!([state.take(), state.take()], ["Cluster a b", "RouteConfiguration r"]);
    state.names(&CDS, &[]);
    assert_eq!(state.take(), "-");
    state.names(&RDS, &["r"]);
    assert_eq!(state.take(), "Cluster a");
}

#[test]
fn o1_a_cluster_stays_while_the_client_rejects_the_new_routes() {
    let mut client = Client::delta(&[(CDS, "a=1 b=1"), (RDS, "r=1")]);
    client.ask(&CDS, "");
    client.ask(&RDS, "+r");
    client.settle();
    client.publish(&[(CDS, "a=1"), (RDS, "r=2")]);
    assert_eq!(client.take(), "RouteConfiguration r");
    client.reject(&RDS, "no");
    assert_eq!(client.take(), "-", "the old routes still need b");
    client.publish(&[(CDS, "a=1"), (RDS, "r=3")]);
    assert_eq!(client.settle(), ["RouteConfiguration r", "Cluster !b"]);
}

#[test]
fn o1_routes_wait_until_the_client_is_ready_with_a_new_cluster() {
    let before = [(CDS, "a=1"), (EDS, "a=1"), (RDS, "r=1")];
    let after = [(CDS, "b=1"), (EDS, "b=1"), (RDS, "r=2")];
    let start = || {
        let mut client = Client::delta(&before);
        client.ask(&CDS, "");
        client.ask(&EDS, "+a");
        client.ask(&RDS, "+r");
        client.settle();
        client.publish(&after);
        assert_eq!(client.settle(), ["Cluster b"]);
        client
    };
    let mut client = start();
    client.ask(&EDS, "+b");
    assert_eq!(client.take(), "ClusterLoadAssignment b");
    assert_eq!(client.take(), "-", "the endpoints are on their way");
    client.accept(&EDS);
    let rest = ["RouteConfiguration r", "Cluster !a", "ClusterLoadAssignment !a"];
    assert_eq!(client.settle(), rest);
    assert_eq!(client.stream.wake_at(client.now), None);
    // A client that never asks for the endpoints waits two seconds, not for ever.
    let mut client = start();
    let wake = client.stream.wake_at(client.now).unwrap();
    assert_eq!(wake, client.now + Duration::from_secs(2));
    client.now = wake;
    assert_eq!(client.settle(), rest);
    assert_eq!(client.stream.wake_at(client.now), None);
}

#[test]
fn o1_routes_wait_for_a_cluster_that_waits_for_its_turn() {
    let mut client = Client::delta(&[(CDS, "a=1"), (RDS, "r=1")]);
    client.ask(&CDS, "");
    client.ask(&RDS, "+r");
    client.settle();
    client.publish(&[(CDS, "a=2"), (RDS, "r=1")]);
    assert_eq!(client.take(), "Cluster a");
    client.publish(&[(CDS, "a=2 b=1"), (RDS, "r=2")]);
    assert_eq!(client.take(), "-", "the routes to b would come before b");
    client.accept(&CDS);
    assert_eq!(client.settle(), ["Cluster b", "RouteConfiguration r"]);
}

#[test]
fn o1_the_routes_of_a_returning_client_wait_for_new_clusters_too() {
    let mut client = Client::state(&[(CDS, "b=1"), (EDS, "b=1"), (RDS, "r=2")]);
    client.names_with(&CDS, &[], "older", "");
    client.names_with(&RDS, &["r"], "older", "");
    assert_eq!([client.take(), client.take()], ["Cluster b", "-"]);
    client.names(&EDS, &["b"]);
    assert_eq!([client.take(), client.take()], ["ClusterLoadAssignment b", "-"]);
    client.names(&EDS, &["b"]);
    assert_eq!(client.take(), "RouteConfiguration r");
}

/// What may happen to a stream.
#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<Option<u8>>),
    Subscribe(usize),
    Unsubscribe(usize),
    Hear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(prop::option::of(0..3_u8), 4).prop_map(Step::Publish),
        (0..4_usize).prop_map(Step::Subscribe),
        (0..4_usize).prop_map(Step::Unsubscribe),
        Just(Step::Hear),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    /// Whatever happens, a client that takes everything ends with exactly what it wants of what
    /// there is, and then hears nothing more.
    #[test]
    fn a_delta_client_always_converges(steps in prop::collection::vec(step(), 0..40)) {
        let mut client = Client::delta(&[]);
        let (mut state, mut wanted, mut held) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        client.ask(&EDS, "+a");
        wanted.push("a");
        let mut hear = |client: &mut Client, wanted: &[&str]| {
            let Some(response) = client.hear() else { return false };
            for resource in &response.resources {
                held.insert(resource.name.to_string(), resource.body.clone());
            }
            for name in &response.removed {
                held.remove(name.as_ref());
            }
            held.retain(|name, _| wanted.contains(&name.as_str()));
            client.accept(&response.type_url);
            true
        };
        for step in steps {
            match step {
                Step::Publish(bodies) => {
                    let there = NAMES.iter().zip(bodies).filter_map(|(name, body)| Some((*name, body?)));
                    state = there.collect();
                    let text: Vec<_> = state.iter().map(|(name, body)| format!("{name}={body}")).collect();
                    client.publish(&[(EDS, &text.join(" "))]);
                }
                Step::Subscribe(at) => {
                    client.ask(&EDS, &format!("+{}", NAMES[at]));
                    wanted.push(NAMES[at]);
                }
                Step::Unsubscribe(at) => {
                    client.ask(&EDS, &format!("-{}", NAMES[at]));
                    wanted.retain(|name| *name != NAMES[at]);
                }
                Step::Hear => {
                    hear(&mut client, &wanted);
                }
            }
        }
        let mut rounds = 0;
        while hear(&mut client, &wanted) {
            rounds += 1;
            prop_assert!(rounds < 10, "the server never falls silent");
        }
        held.retain(|name, _| wanted.contains(&name.as_str()));
        state.retain(|name, _| wanted.contains(name));
        let wanted: BTreeMap<_, _> =
            state.iter().map(|(name, body)| (name.to_string(), Bytes::from(body.to_string()))).collect();
        prop_assert_eq!(held, wanted);
    }
}
