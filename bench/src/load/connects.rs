//! New connections, one request on each: what a connection costs.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::http1;
use super::{Answers, exchange::Outcome};
use crate::wire::clock::{nanos, now};
use crate::wire::reactor::{Interest, Reactor};
use crate::wire::socket::{Received, Socket};

const SCRATCH_BYTES: usize = 16 << 10;

/// Opens a connection, asks once, closes it and opens the next, on `places` at a time.
///
/// # Errors
/// When no connection can be opened at all.
pub(crate) fn connects(
    address: SocketAddr,
    places: usize,
    duration: Duration,
) -> io::Result<Outcome> {
    let mut reactor = Reactor::new()?;
    let request = http1::get("/");
    let began = now();
    let end = began + nanos(duration);
    let open = |reactor: &Reactor, token| -> io::Result<(Socket, http1::Client)> {
        // Connecting on loopback does not wait for the proxy, only for its listening queue.
        let mut socket = Socket::new(TcpStream::connect(address)?)?;
        reactor.add(&socket.stream, token, Interest::Read)?;
        let mut client = http1::Client::new(std::rc::Rc::clone(&request));
        client.request(now(), &mut socket.out);
        socket.flush(reactor, token)?;
        Ok((socket, client))
    };
    let mut places =
        (0..places).map(|token| open(&reactor, token).map(Some)).collect::<io::Result<Vec<_>>>()?;
    let mut scratch = vec![0; SCRATCH_BYTES];
    let (mut ready, mut outcome, mut answers) =
        (Vec::new(), Outcome::default(), Answers::default());
    // Those under way at the end are finished: their cost is counted.
    let give_up = end + nanos(Duration::from_secs(5));
    while places.iter().any(Option::is_some) && now() < give_up {
        reactor.wait(&mut ready, Some(Duration::from_millis(100)))?;
        for event in &ready {
            let Some(place) = places.get_mut(event.token) else { continue };
            let Some((socket, client)) = place else { continue };
            let received =
                socket.receive(&mut scratch, |input, _| client.receive(input, &mut answers));
            let is_over = match received {
                Ok(Received::Some | Received::Nothing) => client.has_room(),
                Ok(Received::Closed) | Err(_) => {
                    answers.failed += 1;
                    true
                }
            };
            if is_over {
                *place = None;
                if now() < end {
                    *place = Some(open(&reactor, event.token)?);
                }
            }
        }
        outcome.answered += answers.due.len() as u64;
        outcome.failed += std::mem::take(&mut answers.failed);
        answers.due.clear();
    }
    outcome.failed += places.iter().flatten().count() as u64;
    outcome.took = now() - began;
    Ok(outcome)
}
