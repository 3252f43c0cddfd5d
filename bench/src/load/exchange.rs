//! Requests and answers on connections that stay open: as fast as answers come, or at a fixed rate.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Answers, Codec, Request, Shape};
use crate::wire::broken;
use crate::wire::clock::{Timer, nanos, now};
use crate::wire::reactor::{Interest, Reactor, Ready};
use crate::wire::socket::{Received, Socket};

const SCRATCH_BYTES: usize = 256 << 10;
/// The token of the timer; connections are numbered from 0.
const TIMER: usize = usize::MAX;
/// How long answers may be outstanding after the last request.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a connection may take to be usable.
const SETTLE: Duration = Duration::from_secs(5);

/// What one run counted.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Answers with status 200.
    pub(crate) answered: u64,
    /// Other answers, and requests that never had one.
    pub(crate) failed: u64,
    /// Of these, requests that were due and found no connection that was free.
    pub(crate) unsent: u64,
    /// Nanoseconds from the first request to the last answer.
    pub(crate) took: u64,
    /// Nanoseconds from when each request was due, answered well, to its last byte; sorted. Only
    /// of runs at a fixed rate.
    pub(crate) latencies: Vec<u64>,
}

/// From when the time of a request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// From when it was due, whether or not there was room for it.
    Due,
    /// From when it was sent.
    Sent,
}

/// Open connections to one address.
pub(crate) struct Load {
    reactor: Reactor,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    answers: Answers,
    ready: Vec<Ready>,
    /// How runs at a fixed rate count.
    pub(crate) since: Since,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    codec: Codec,
}

impl Load {
    /// Connects, and waits until every connection may send requests.
    ///
    /// # Errors
    /// When a connection fails or does not get ready.
    pub(crate) fn open(address: SocketAddr, shape: Shape, request: &Request) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let mut connections = Vec::with_capacity(shape.connections);
        for token in 0..shape.connections {
            let mut socket = Socket::new(TcpStream::connect(address)?)?;
            reactor.add(&socket.stream, token, Interest::Read)?;
            let codec = Codec::new(shape, request);
            codec.greet(&mut socket.out);
            socket.flush(&reactor, token)?;
            connections.push(Connection { socket, codec });
        }
        let scratch = vec![0; SCRATCH_BYTES];
        let (answers, ready) = (Answers::default(), Vec::new());
        let since = Since::Due;
        let mut load = Self { reactor, connections, scratch, answers, ready, since };
        let end = now() + nanos(SETTLE);
        while !load.connections.iter().all(|connection| connection.codec.is_settled()) {
            if now() > end {
                return Err(broken("a connection was not ready in time"));
            }
            load.turn(Some(Duration::from_millis(100)), |_, _| false)?;
        }
        Ok(load)
    }

    /// Keeps every connection busy for a time: a request as soon as there is room for one.
    ///
    /// # Errors
    /// When a connection breaks.
    pub(crate) fn saturate(&mut self, duration: Duration) -> io::Result<Outcome> {
        let began = now();
        let end = began + nanos(duration);
        for (token, Connection { socket, codec }) in self.connections.iter_mut().enumerate() {
            while codec.has_room() {
                codec.request(began, &mut socket.out);
            }
            socket.flush(&self.reactor, token)?;
        }
        let mut outcome = Outcome::default();
        let mut time = began;
        while time < end {
            self.turn(Some(Duration::from_millis(100)), |codec, out| {
                while codec.has_room() {
                    codec.request(time, out);
                }
                true
            })?;
            time = now();
            outcome.take(&mut self.answers);
        }
        // Also the requests under way are counted: their cost is.
        self.drain(&mut outcome)?;
        outcome.took = now() - began;
        Ok(outcome)
    }

    /// Sends requests at fixed times, whether or not earlier ones were answered. One for which no
    /// connection has room waits, and its waiting is part of its latency.
    ///
    /// # Errors
    /// When a connection breaks.
    pub(crate) fn at_rate(&mut self, rate: u32, duration: Duration) -> io::Result<Outcome> {
        let timer = Timer::new()?;
        self.reactor.add(&timer.fd, TIMER, Interest::Read)?;
        let began = now() + nanos(Duration::from_millis(1));
        let total = duration.as_nanos() * u128::from(rate) / 1_000_000_000;
        let total = u64::try_from(total).unwrap_or_default();
        let due = |number: u64| began + number * 1_000_000_000 / u64::from(rate.max(1));
        let mut free: Vec<usize> = (0..self.connections.len()).collect();
        let mut next = 0;
        let mut outcome = Outcome::default();
        let give_up = began + nanos(duration) + nanos(DRAIN);
        while next < total && now() < give_up {
            self.send_due(&mut next, total, due, &mut free)?;
            timer.set(if next < total && !free.is_empty() { due(next) } else { give_up })?;
            let mut ready = std::mem::take(&mut self.ready);
            self.reactor.wait(&mut ready, None)?;
            for event in ready.iter().filter(|event| event.token != TIMER) {
                self.serve(*event, &mut |_, _| true)?;
                let time = now();
                outcome.latencies.extend(self.answers.due.iter().map(|due| time - due));
                outcome.take(&mut self.answers);
                let has_room =
                    self.connections.get(event.token).is_some_and(|it| it.codec.has_room());
                if has_room && !free.contains(&event.token) {
                    free.push(event.token);
                }
            }
            self.ready = ready;
        }
        outcome.unsent = total - next;
        outcome.failed += outcome.unsent;
        self.drain_timed(&mut outcome)?;
        outcome.took = now() - began;
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    /// Sends what is due, on connections in turn.
    fn send_due(
        &mut self,
        next: &mut u64,
        total: u64,
        due: impl Fn(u64) -> u64,
        free: &mut Vec<usize>,
    ) -> io::Result<()> {
        let time = now();
        while *next < total && due(*next) <= time && !free.is_empty() {
            let token = free.remove(0);
            let Some(Connection { socket, codec }) = self.connections.get_mut(token) else {
                continue;
            };
            let from = if self.since == Since::Due { due(*next) } else { time };
            codec.request(from, &mut socket.out);
            socket.flush(&self.reactor, token)?;
            *next += 1;
            if codec.has_room() {
                free.push(token);
            }
        }
        Ok(())
    }

    fn drain(&mut self, outcome: &mut Outcome) -> io::Result<()> {
        self.drain_with(outcome, |_, _| {})
    }

    fn drain_timed(&mut self, outcome: &mut Outcome) -> io::Result<()> {
        self.drain_with(outcome, |outcome, answers| {
            let time = now();
            outcome.latencies.extend(answers.due.iter().map(|due| time - due));
        })
    }

    /// Waits for the answers that are outstanding; those that do not come have failed.
    fn drain_with(
        &mut self,
        outcome: &mut Outcome,
        note: impl Fn(&mut Outcome, &Answers),
    ) -> io::Result<()> {
        let end = now() + nanos(DRAIN);
        loop {
            let in_flight: usize = self.connections.iter().map(|it| it.codec.in_flight()).sum();
            if in_flight == 0 {
                return Ok(());
            }
            if now() > end {
                return Err(broken("requests were not answered in time"));
            }
            self.turn(Some(Duration::from_millis(100)), |_, _| true)?;
            note(outcome, &self.answers);
            outcome.take(&mut self.answers);
        }
    }

    /// Waits once and serves what is ready.
    fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut then: impl FnMut(&mut Codec, &mut Vec<u8>) -> bool,
    ) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.reactor.wait(&mut ready, timeout)?;
        for event in &ready {
            self.serve(*event, &mut then)?;
        }
        self.ready = ready;
        Ok(())
    }

    /// Reads once, lets `then` add requests, and writes once.
    fn serve(
        &mut self,
        event: Ready,
        then: &mut impl FnMut(&mut Codec, &mut Vec<u8>) -> bool,
    ) -> io::Result<()> {
        let Some(Connection { socket, codec }) = self.connections.get_mut(event.token) else {
            return Ok(());
        };
        if event.reads {
            let answers = &mut self.answers;
            let received = socket
                .receive(&mut self.scratch, |input, out| codec.receive(input, out, answers))?;
            if received == Received::Closed {
                return Err(broken("a connection was closed"));
            }
            then(codec, &mut socket.out);
        }
        socket.flush(&self.reactor, event.token)
    }
}

impl Outcome {
    fn take(&mut self, answers: &mut Answers) {
        self.answered += answers.due.len() as u64;
        self.failed += std::mem::take(&mut answers.failed);
        answers.due.clear();
    }
}
