//! A control plane for cases: resources that are told over xDS, and what the proxy said to them.
//!
//! It tells what a case gives it and nothing else, in the form that the case asks for. What a proxy
//! asked for by name, and which types it refused, is a part of what is seen.

mod serve;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

use crate::{
    bootstrap,
    case::{Planned, XdsPlan},
};

/// Where the control plane listens.
pub(crate) const PORT: u16 = 22050;

/// One resource as it is told now.
#[derive(Debug, Clone)]
struct Told {
    body: Option<Any>,
    version: String,
    aliases: Vec<String>,
    ttl: Option<Duration>,
    asked_only: bool,
    after: Option<Duration>,
}

/// A type and a name.
type Key = (String, String);

/// What all streams tell, and what they heard.
#[derive(Debug)]
struct Board {
    resources: Mutex<BTreeMap<Key, Told>>,
    silent: Mutex<BTreeSet<String>>,
    /// Told that something changed.
    changes: broadcast::Sender<Change>,
    asked: Mutex<BTreeMap<String, BTreeSet<String>>>,
    refused: Mutex<BTreeSet<String>>,
    version: Mutex<u64>,
}

/// What streams are told of a change.
#[derive(Debug, Clone)]
enum Change {
    /// There is something new to tell.
    News,
    /// A resource is still good.
    Heartbeat(Key),
    /// The stream ends.
    Cut,
}

/// The control plane of one world.
#[derive(Debug)]
pub(crate) struct Plane {
    board: Arc<Board>,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    address: Ipv4Addr,
}

impl Plane {
    /// Listens, and tells what the plan says.
    pub(crate) fn start(address: Ipv4Addr, folder: &Path, plan: &XdsPlan) -> Self {
        let board = Arc::new(Board {
            resources: Mutex::default(),
            silent: Mutex::default(),
            changes: broadcast::channel(64).0,
            asked: Mutex::default(),
            refused: Mutex::default(),
            version: Mutex::default(),
        });
        let (over, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let own = Arc::clone(&board);
        let thread = std::thread::spawn(move || serve::run(own, address, &ready, ended));
        is_ready.recv().unwrap();
        let plane = Self { board, over: Some(over), thread: Some(thread), address };
        plane.change(folder, plan);
        plane
    }

    /// Tells something else from now on.
    pub(crate) fn change(&self, folder: &Path, plan: &XdsPlan) {
        let board = &self.board;
        let version = {
            let mut version = board.version.lock();
            *version += 1;
            version.to_string()
        };
        board.silent.lock().extend(plan.silent.iter().cloned());
        {
            let mut resources = board.resources.lock();
            resources.retain(|(_, name), _| !plan.gone.contains(name));
            for planned in &plan.resources {
                let (key, told) = self.told(folder, planned, &version);
                resources.insert(key, told);
            }
        }
        // Before anybody is connected nobody hears it.
        drop(board.changes.send(if plan.cut { Change::Cut } else { Change::News }));
        for (kind, name) in &plan.heartbeats {
            let key = (format!("type.googleapis.com/{kind}"), name.clone());
            drop(board.changes.send(Change::Heartbeat(key)));
        }
    }

    fn told(&self, folder: &Path, planned: &Planned, version: &str) -> (Key, Told) {
        let mut resource = bootstrap::expanded(&planned.resource);
        resource = bootstrap::placed(&resource, self.address, folder);
        let kind = resource["@type"].as_str().unwrap().to_owned();
        let own = ["name", "cluster_name"].iter().find_map(|field| resource[*field].as_str());
        let name = planned.name.clone().or_else(|| own.map(str::to_owned)).unwrap();
        let file = json!({"resources": [resource]}).to_string();
        let read = iako_xds_codec::discovery_response(Path::new("r.json"), file.as_bytes());
        let body = read.unwrap_or_else(|error| panic!("{name}: {error}")).resources.remove(0);
        let told = Told {
            body: (!planned.absent).then_some(body),
            version: version.to_owned(),
            aliases: planned.aliases.clone(),
            ttl: planned.ttl_ms.map(Duration::from_millis),
            asked_only: planned.asked_only,
            after: planned.after_ms.map(Duration::from_millis),
        };
        ((kind, name), told)
    }

    /// What the proxy asked for by name, and the types of which it refused something.
    pub(crate) fn heard(&self) -> Value {
        json!({"asked": *self.board.asked.lock(), "refused": *self.board.refused.lock()})
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // What it says when it ends is of no use any more.
            drop(thread.join());
        }
    }
}

/// The last part of the name of a type.
fn short(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or(kind)
}
