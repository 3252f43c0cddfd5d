//! Sends what a case says, and tells what came back.

mod bytes;
mod http1;
mod http2;

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    bootstrap::LISTENER_PORT,
    case::Request,
    stage::Stage,
    wire::{
        base64,
        http1::Connection,
        stream::{self, Stream},
    },
};

/// Longest wait for an answer where the case names none.
const WAIT: Duration = Duration::from_secs(5);

/// Sends one request of a case, as often as it says, and tells what came back.
pub(crate) fn send(request: &Request, stage: &Arc<Stage>) -> Value {
    if let Some(change) = &request.change {
        stage.apply(change);
    }
    if request.change.is_some() || !request.see.is_empty() {
        return json!({"stats": stage.stats(&request.see)});
    }
    let Some(times) = request.repeat else {
        return once(request, stage, 0);
    };
    let answers = (0..times).map(|number| {
        let answer = once(request, stage, number);
        let response = &answer["responses"][0];
        let headers = response["headers"].as_array().cloned().unwrap_or_default();
        let backend = headers.iter().find(|field| field[0] == "x-backend");
        let backend = backend.and_then(|field| field[1].as_str()).unwrap_or("none");
        format!("{}:{backend}", response["status"])
    });
    json!({"sequence": answers.collect::<Vec<_>>()})
}

fn once(request: &Request, stage: &Arc<Stage>, number: usize) -> Value {
    if !request.datagrams.is_empty() {
        let to = SocketAddr::from((stage.address, request.port.unwrap_or(LISTENER_PORT)));
        let wait = request.wait_ms.map_or(WAIT, Duration::from_millis);
        return bytes::datagrams(&request.datagrams, to, wait);
    }
    let mut request = request.clone();
    for (_, value) in &mut request.headers {
        *value = placed(value, &stage.address.to_string());
    }
    let request = &request;
    let Some(step) = &request.tls else {
        return match connect(request, stage) {
            Ok(connection) => speak(connection, request, number),
            Err(answer) => answer,
        };
    };
    let config = stream::client(step);
    if step.resumes
        && let Err(refused) = through_tls(request, stage, &config, number)
    {
        return refused;
    }
    through_tls(request, stage, &config, number).unwrap_or_else(|refused| refused)
}

/// Connects, and sends what comes first.
fn connect(request: &Request, stage: &Arc<Stage>) -> Result<Connection, Value> {
    let to = SocketAddr::from((stage.address, request.port.unwrap_or(LISTENER_PORT)));
    let stream =
        TcpStream::connect(to).map_err(|error| json!({"connect": error.kind().to_string()}))?;
    let mut connection = Connection::new(stream);
    connection.stage = Some(Arc::clone(stage));
    connection.limit(request.wait_ms.map_or(WAIT, Duration::from_millis));
    if let Some(first) = &request.first {
        connection.play(first);
    }
    Ok(connection)
}

fn through_tls(
    request: &Request,
    stage: &Arc<Stage>,
    config: &Arc<rustls::ClientConfig>,
    number: usize,
) -> Result<Value, Value> {
    let connection = connect(request, stage)?;
    let Stream::Plain(socket) = connection.stream else { return Err(Value::Null) };
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let step = request.tls.clone().unwrap_or_default();
    let (stream, told) =
        stream::handshake(socket, config, &step).map_err(|refused| json!({"tls": refused}))?;
    let mut connection = Connection::over(stream);
    connection.stage = Some(Arc::clone(stage));
    connection.limit(request.wait_ms.map_or(WAIT, Duration::from_millis));
    let mut answer = speak(connection, request, number);
    answer["tls"] = told;
    Ok(answer)
}

fn speak(connection: Connection, request: &Request, number: usize) -> Value {
    if let Some(script) = &request.bytes {
        return bytes::stream(connection, script);
    }
    match &request.h2 {
        Some(steps) => http2::run(connection, steps, request),
        None => http1::run(connection, request, number),
    }
}

/// A header with the addresses of a world in place of `@at(PORT)`, and of `@b64(PORT)` in base64.
fn placed(value: &str, address: &str) -> String {
    let mut placed = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('@') {
        placed.push_str(before);
        let mark = ["at(", "b64("].into_iter().find_map(|mark| {
            let (port, rest) = after.strip_prefix(mark)?.split_once(')')?;
            Some((mark, format!("{address}:{port}"), rest))
        });
        match mark {
            Some(("at(", place, after)) => {
                placed.push_str(&place);
                rest = after;
            }
            Some((_, place, after)) => {
                placed.push_str(&base64::encode(place.as_bytes()));
                rest = after;
            }
            None => {
                placed.push('@');
                rest = after;
            }
        }
    }
    placed + rest
}
