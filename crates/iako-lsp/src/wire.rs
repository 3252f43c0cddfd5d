//! Messages on the wire: a head with the length, then JSON. Source: LSP 3.17, "Base Protocol".

use std::io::{self, BufRead, Read as _, Write};

use serde_json::{Value, json};

/// Most bytes that a message may have.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Most bytes that a line of a head may have.
const HEAD_LINE_BYTES_MAX: u64 = 4096;

/// What came from a client.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message.
    Message(Value),
    /// Bytes of the right length that are no JSON.
    Broken,
    /// The client closed the stream.
    End,
}

/// Reads one message.
pub(crate) fn read(input: &mut impl BufRead) -> io::Result<Incoming> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if input.by_ref().take(HEAD_LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(Incoming::End);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let length = length.ok_or_else(|| invalid("a message has no Content-Length"))?;
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid("a message is longer than is allowed"));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body).map_or(Incoming::Broken, Incoming::Message))
}

fn write(output: &mut impl Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    output.flush()
}

/// Answers a request.
pub(crate) fn answer(output: &mut impl Write, id: &Value, result: &Value) -> io::Result<()> {
    write(output, &json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

/// Refuses a request, with a code of JSON-RPC.
pub(crate) fn refuse(
    output: &mut impl Write,
    id: &Value,
    (code, message): (i32, &str),
) -> io::Result<()> {
    let error = json!({"code": code, "message": message});
    write(output, &json!({"jsonrpc": "2.0", "id": id, "error": error}))
}

/// Tells the client something.
pub(crate) fn notify(output: &mut impl Write, method: &str, params: &Value) -> io::Result<()> {
    write(output, &json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

/// Asks the client for something whose answer does not matter.
pub(crate) fn ask(output: &mut impl Write, method: &str, params: &Value) -> io::Result<()> {
    write(output, &json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
}
