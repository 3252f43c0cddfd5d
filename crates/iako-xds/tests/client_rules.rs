//! The rules of the protocol that a client must keep, one test a rule; letters and numbers are
//! those of the project's protocol checklist.

#![expect(clippy::panic, reason = "tests may be blunt")]

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use iako_xds::{
    ClientStream, DeltaRequest, IncomingResource, IncomingResponse, Interest, Received, Request,
    Resource, StateRequest, TypeUrl, Update, Variant, Verdict, read_response,
};
use iako_xds_api::envoy::service::discovery::v3 as pb;

const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINTS;
const LDS: TypeUrl = TypeUrl::LISTENER;

fn names(names: &[&str]) -> Interest {
    Interest::Names(names.iter().map(|name| Arc::from(*name)).collect())
}

fn client(variant: Variant, wishes: &[(TypeUrl, Interest)]) -> ClientStream {
    let mut client = ClientStream::new(variant);
    client.on_connected();
    for (kind, interest) in wishes {
        client.subscribe(kind.clone(), interest.clone());
    }
    client
}

fn response(
    kind: TypeUrl,
    nonce: &str,
    resources: &[(&str, &str)],
    removed: &[&str],
) -> IncomingResponse {
    let resources = resources.iter().map(|(name, body)| IncomingResource {
        resource: Resource::new(*name, Bytes::from(body.to_string())),
        aliases: Vec::new(),
        ttl: None,
        is_heartbeat: false,
    });
    IncomingResponse {
        type_url: kind,
        version: format!("v{nonce}"),
        nonce: nonce.to_owned(),
        resources: Ok(resources.collect()),
        removed: removed.iter().map(ToString::to_string).collect(),
    }
}

fn update(received: Received) -> Update {
    match received {
        Received::Update(update) => update,
        other @ (Received::Refused(_) | Received::Ignored) => panic!("not an update: {other:?}"),
    }
}

fn deltas(client: &mut ClientStream) -> Vec<(TypeUrl, DeltaRequest)> {
    let next = std::iter::from_fn(|| client.next_request());
    next.map(|request| match request {
        Request::Delta(kind, request) => (kind, request),
        other => panic!("not delta: {other:?}"),
    })
    .collect()
}

fn states(client: &mut ClientStream) -> Vec<(TypeUrl, StateRequest)> {
    let next = std::iter::from_fn(|| client.next_request());
    next.map(|request| match request {
        Request::State(kind, request) => (kind, request),
        other => panic!("not state of the world: {other:?}"),
    })
    .collect()
}

#[test]
fn s7_types_are_asked_for_in_the_order_they_depend_on_each_other() {
    let wishes = [(LDS, Interest::Everything), (EDS, names(&["a"])), (CDS, Interest::Everything)];
    let mut client = client(Variant::Delta, &wishes);
    let order: Vec<_> = deltas(&mut client).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(order, [CDS, EDS, LDS]);
}

#[test]
fn d6_everything_is_asked_for_by_asking_for_nothing_in_particular() {
    let mut client = client(Variant::Delta, &[(CDS, Interest::Everything), (EDS, names(&[]))]);
    assert_eq!(deltas(&mut client), [(CDS, DeltaRequest::default())]);
}

#[test]
fn x5_every_response_is_judged_and_d1_never_together_with_a_wish() {
    let mut client = client(Variant::Delta, &[(EDS, names(&["a"]))]);
    deltas(&mut client);
    let update = update(client.on_response(response(EDS, "1", &[("a", "x")], &[])));
    client.subscribe(EDS, names(&["b"]));
    client.on_verdict(&update, Verdict::Accepted);
    let requests = deltas(&mut client);
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[0].1.nonce.as_str(), requests[0].1.subscribe.len()), ("1", 0));
    assert_eq!(requests[1].1.subscribe, ["b"]);
    assert_eq!(requests[1].1.unsubscribe, ["a"]);
    assert_eq!(requests[1].1.nonce, "");
}

#[test]
fn d7_a_new_connection_tells_what_is_held_and_a_rejected_version_is_not() {
    let mut client = client(Variant::Delta, &[(EDS, names(&["a", "b"]))]);
    deltas(&mut client);
    let good = update(client.on_response(response(EDS, "1", &[("a", "x"), ("b", "x")], &[])));
    let held = good.resources[0].version.to_string();
    client.on_verdict(&good, Verdict::Accepted);
    let bad = update(client.on_response(response(EDS, "2", &[("a", "y")], &["b"])));
    assert_eq!(bad.removed, [Arc::from("b")]);
    client.on_verdict(&bad, Verdict::Rejected { message: "no".to_owned() });
    let last = deltas(&mut client).pop().unwrap().1;
    assert_eq!((last.nonce.as_str(), last.error.as_deref()), ("2", Some("no")));
    client.on_connected();
    let (_, again) = deltas(&mut client).remove(0);
    assert_eq!(again.initial_versions["a"], held);
    assert_eq!(again.initial_versions.len(), 2);
    assert_eq!(again.subscribe, ["a", "b"]);
    assert_eq!(again.nonce, "");
}

#[test]
fn x10_of_a_partly_accepted_response_the_good_part_is_held() {
    let mut client = client(Variant::Delta, &[(EDS, names(&["a", "b"]))]);
    deltas(&mut client);
    let update = update(client.on_response(response(EDS, "1", &[("a", "x"), ("b", "x")], &[])));
    let rejected = BTreeSet::from([Arc::from("b")]);
    client.on_verdict(&update, Verdict::PartlyAccepted { rejected, message: "b".to_owned() });
    assert_eq!(deltas(&mut client)[0].1.error.as_deref(), Some("b"));
    client.on_connected();
    let held: Vec<_> = deltas(&mut client).remove(0).1.initial_versions.into_keys().collect();
    assert_eq!(held, ["a"]);
}

#[test]
fn a_verdict_after_a_reconnect_counts_but_is_not_sent() {
    let mut client = client(Variant::Delta, &[(EDS, names(&["a"]))]);
    deltas(&mut client);
    let update = update(client.on_response(response(EDS, "1", &[("a", "x")], &[])));
    client.on_connected();
    client.on_verdict(&update, Verdict::Accepted);
    let requests = deltas(&mut client);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].1.initial_versions.len(), 1);
}

#[test]
fn x6_a_type_that_nobody_asked_for_is_ignored_and_x8_so_are_such_resources() {
    let mut client = client(Variant::Delta, &[(EDS, names(&["a"]))]);
    deltas(&mut client);
    assert_eq!(client.on_response(response(CDS, "1", &[("a", "x")], &[])), Received::Ignored);
    let update = update(client.on_response(response(EDS, "2", &[("a", "x"), ("z", "x")], &["y"])));
    assert_eq!(update.resources.len(), 1);
    assert_eq!(update.removed.len(), 0);
}

#[test]
fn x9_a_name_twice_in_one_response_is_rejected() {
    let mut client = client(Variant::Delta, &[(CDS, Interest::Everything)]);
    deltas(&mut client);
    let twice = response(CDS, "1", &[("a", "x"), ("a", "y")], &[]);
    assert!(matches!(client.on_response(twice), Received::Refused(_)));
    let error = deltas(&mut client)[0].1.error.clone().unwrap();
    assert_eq!(error, "the resource a is there twice");
}

#[test]
fn d10_a_resource_may_come_under_an_alias() {
    let mut client = client(Variant::Delta, &[(TypeUrl::VIRTUAL_HOST, names(&["r/a.test"]))]);
    deltas(&mut client);
    let mut aliased = response(TypeUrl::VIRTUAL_HOST, "1", &[("r/a", "x")], &[]);
    aliased.resources.as_mut().unwrap()[0].aliases = vec!["r/a.test".to_owned()];
    assert_eq!(update(client.on_response(aliased)).resources.len(), 1);
}

#[test]
fn s2_what_is_absent_from_a_whole_list_is_removed() {
    let mut client =
        client(Variant::StateOfTheWorld, &[(CDS, Interest::Everything), (EDS, names(&["a", "b"]))]);
    states(&mut client);
    for kind in [CDS, EDS] {
        let both =
            update(client.on_response(response(kind.clone(), "1", &[("a", "x"), ("b", "x")], &[])));
        client.on_verdict(&both, Verdict::Accepted);
    }
    let clusters = update(client.on_response(response(CDS, "2", &[("a", "x")], &[])));
    assert_eq!(clusters.removed, [Arc::from("b")]);
    let endpoints = update(client.on_response(response(EDS, "2", &[("a", "x")], &[])));
    assert_eq!(endpoints.removed.len(), 0, "absence of endpoints means nothing");
}

#[test]
fn s3_acceptance_carries_the_new_version_and_rejection_the_old_one() {
    let mut client = client(Variant::StateOfTheWorld, &[(CDS, Interest::Everything)]);
    assert_eq!(states(&mut client), [(CDS, StateRequest::default())]);
    let reject = Verdict::Rejected { message: "no".to_owned() };
    let bad = update(client.on_response(response(CDS, "1", &[("a", "x")], &[])));
    client.on_verdict(&bad, reject.clone());
    let first = &states(&mut client)[0].1;
    assert_eq!((first.version.as_str(), first.nonce.as_str()), ("", "1"), "nothing accepted yet");
    let good = update(client.on_response(response(CDS, "2", &[("a", "y")], &[])));
    client.on_verdict(&good, Verdict::Accepted);
    let second = &states(&mut client)[0].1;
    assert_eq!((second.version.as_str(), second.nonce.as_str()), ("v2", "2"));
    let bad = update(client.on_response(response(CDS, "3", &[("a", "z")], &[])));
    client.on_verdict(&bad, reject);
    let third = &states(&mut client)[0].1;
    assert_eq!((third.version.as_str(), third.nonce.as_str()), ("v2", "3"));
    assert_eq!(third.error.as_deref(), Some("no"));
    client.on_connected();
    let again = &states(&mut client)[0].1;
    assert_eq!((again.version.as_str(), again.nonce.as_str()), ("v2", ""), "S7");
}

#[test]
fn s4_a_changed_wish_waits_for_the_verdict_it_would_give_away() {
    let mut client = client(Variant::StateOfTheWorld, &[(EDS, names(&["a"]))]);
    states(&mut client);
    let update = update(client.on_response(response(EDS, "1", &[("a", "x")], &[])));
    client.subscribe(EDS, names(&["a", "b"]));
    assert_eq!(states(&mut client), []);
    client.on_verdict(&update, Verdict::Accepted);
    let requests = states(&mut client);
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].1.names.len(), requests[0].1.nonce.as_str()), (2, "1"));
    client.subscribe(EDS, names(&["b"]));
    assert_eq!(states(&mut client)[0].1.nonce, "1", "a wish carries the last nonce");
}

#[test]
fn s10_a_heartbeat_says_how_long_a_resource_stays_good_and_changes_nothing() {
    let wrapped = pb::Resource {
        name: "a".to_owned(),
        version: "1".to_owned(),
        ttl: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
        ..pb::Resource::default()
    };
    let wrapper = prost_types::Any {
        type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".to_owned(),
        value: prost::Message::encode_to_vec(&wrapped),
    };
    let message = pb::DiscoveryResponse {
        type_url: TypeUrl::CLUSTER.to_string(),
        version_info: "2".to_owned(),
        nonce: "n".to_owned(),
        resources: vec![wrapper],
        ..pb::DiscoveryResponse::default()
    };
    let mut client = ClientStream::new(Variant::StateOfTheWorld);
    client.subscribe(TypeUrl::CLUSTER, Interest::Everything);
    client.on_connected();
    client.next_request();
    let update = update(client.on_response(read_response(message)));
    assert!(update.resources.is_empty() && update.removed.is_empty());
    let lifetimes: Vec<_> = update.lifetimes.into_iter().collect();
    assert_eq!(lifetimes, [("a".into(), std::time::Duration::from_secs(3))]);
}

#[test]
fn what_is_forgotten_is_not_brought_to_the_next_connection() {
    let mut client = ClientStream::new(Variant::Delta);
    client.subscribe(TypeUrl::CLUSTER, Interest::Everything);
    client.on_connected();
    client.next_request();
    let update = update(client.on_response(response(TypeUrl::CLUSTER, "1", &[("a", "x")], &[])));
    client.on_verdict(&update, Verdict::Accepted);
    client.forget(&TypeUrl::CLUSTER, "a");
    client.on_connected();
    let Some(Request::Delta(_, request)) = client.next_request() else { panic!("no request") };
    assert!(request.initial_versions.is_empty());
}
