//! Customers who never rest, and what each of them was told.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    http1::{Answer, Connection},
    rig::until,
};

/// Customers at once.
const CUSTOMERS: usize = 3;
/// Time between the answer to one request of a customer and the next request.
const PAUSE: Duration = Duration::from_millis(15);
/// Requests on one connection: both new and kept connections must work at every moment.
const KEPT: usize = 12;
/// So many answers of the same kind in a row mean that a change is in effect.
const ENOUGH: usize = 15;

/// One request and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) sent: Instant,
    /// No answer is an error in words.
    pub(crate) answer: Result<Answer, String>,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.status == 200)
    }

    /// Whether a proxy on the way said this, however deep in the mesh.
    pub(crate) fn says(&self, status: u16, words: &str) -> bool {
        let told = |answer: &Answer| answer.status == status && answer.body.contains(words);
        self.answer.as_ref().is_ok_and(told)
    }

    /// The release of `cart-service` that answered.
    pub(crate) fn cart(&self) -> Option<String> {
        let body = self.answer.as_ref().ok()?.json();
        let calls = body["calls"].as_array()?;
        let cart = |call: &&Value| call["body"]["service"] == "cart-service";
        Some(calls.iter().find(cart)?["body"]["release"].as_str()?.to_owned())
    }

    pub(crate) fn is_of_cart(&self, release: &str) -> bool {
        self.is_good() && self.cart().as_deref() == Some(release)
    }
}

/// Requests until dropped.
pub(crate) struct Load {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    customers: Vec<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Load {
    /// Sends `GET /` to a gateway, over and over.
    pub(crate) fn start(gateway: SocketAddr, host: &'static str) -> Self {
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let customers = (0..CUSTOMERS).map(|_| {
            let (stop, stopped) = mpsc::channel();
            let outcomes = Arc::clone(&outcomes);
            let work = move || customer(gateway, host, &stopped, &outcomes);
            (stop, std::thread::spawn(work))
        });
        Self { customers: customers.collect(), outcomes }
    }

    /// Waits until everybody is told the same thing, by answers to requests sent from now on.
    /// Returns all outcomes since the last call, and how long it took.
    pub(crate) fn settle(
        &self,
        what: &str,
        settled: impl Fn(&Outcome) -> bool,
    ) -> (Vec<Outcome>, Duration) {
        let began = iako_rt::clock::now();
        let first = until(what, || {
            let outcomes = self.outcomes.lock();
            let new: Vec<&Outcome> = outcomes.iter().filter(|it| it.sent >= began).collect();
            let last = new.rchunks(ENOUGH).next().filter(|last| last.len() == ENOUGH)?;
            last.iter().all(|outcome| settled(outcome)).then(|| last[0].sent)
        });
        (std::mem::take(&mut *self.outcomes.lock()), first.duration_since(began))
    }

    /// As [`Load::settle`]; fails if a request had an outcome that is not among the allowed ones.
    pub(crate) fn change(
        &self,
        what: &str,
        settled: impl Fn(&Outcome) -> bool,
        allowed: impl Fn(&Outcome) -> bool,
    ) {
        let (outcomes, took) = self.settle(what, settled);
        eprintln!("{what}: after {took:?}, {} requests", outcomes.len());
        let failed: Vec<&Outcome> = outcomes.iter().filter(|it| !allowed(it)).collect();
        assert!(failed.is_empty(), "{what}: {} requests failed: {failed:#?}", failed.len());
        assert!(took < Duration::from_secs(5), "{what}: took {took:?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for (stop, customer) in self.customers.drain(..) {
            drop(stop);
            // A customer who panicked has said so.
            drop(customer.join());
        }
    }
}

fn customer(
    gateway: SocketAddr,
    host: &str,
    stopped: &mpsc::Receiver<()>,
    outcomes: &Mutex<Vec<Outcome>>,
) {
    let mut kept: Option<(Connection, usize)> = None;
    loop {
        let sent = iako_rt::clock::now();
        let (connection, uses) = match kept.take() {
            Some((connection, uses)) => (Ok(connection), uses),
            None => (Connection::open(gateway), 0),
        };
        let answer = connection.and_then(|mut connection| {
            let answer = connection.ask("GET /", &[("host", host)])?;
            let closes = answer.head.to_ascii_lowercase().contains("connection: close");
            if uses + 1 < KEPT && !closes {
                kept = Some((connection, uses + 1));
            }
            Ok(answer)
        });
        let answer = answer.map_err(|error| error.to_string());
        outcomes.lock().push(Outcome { sent, answer });
        if stopped.recv_timeout(PAUSE) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}
