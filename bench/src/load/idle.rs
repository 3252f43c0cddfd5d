//! Connections on which one request was answered and nothing happens any more.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Answers;
use super::http1;
use crate::wire::broken;

/// One request and its answer on a connection of its own, which stays open.
///
/// # Errors
/// When there is no good answer.
pub(crate) fn ask(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut request, mut answers) = (Vec::new(), Answers::default());
    let mut client = http1::Client::new(http1::get(path));
    client.request(0, &mut request);
    stream.write_all(&request)?;
    let (mut input, mut scratch) = (Vec::new(), [0; 4096]);
    while !client.has_room() {
        let length = stream.read(&mut scratch)?;
        if length == 0 {
            return Err(broken("closed before an answer"));
        }
        input.extend_from_slice(scratch.get(..length).unwrap_or_default());
        let taken = client.receive(&input, &mut answers)?;
        input.drain(..taken);
    }
    match answers.failed {
        0 => Ok(stream),
        _ => Err(broken("not answered with 200")),
    }
}
