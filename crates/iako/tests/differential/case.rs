//! A case: one file that says what is configured, what is sent, and what Envoy was seen to do.

mod plan;
mod spread;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use plan::{PlanForm, Planned, XdsPlan};
pub(crate) use spread::Spread;

/// One file of `cases/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What the case is about, in one line.
    pub(crate) what: String,
    /// What differs from the plain bootstrap of `bootstrap.rs`.
    #[serde(default)]
    pub(crate) config: Config,
    /// What the upstreams answer, by port, request by request; the last answer repeats. A port that
    /// is not named echoes.
    #[serde(default)]
    pub(crate) upstream: BTreeMap<u16, Vec<Reply>>,
    /// What a DNS server answers, by name, question by question; the last answer repeats.
    #[serde(default)]
    pub(crate) dns: BTreeMap<String, Vec<DnsReply>>,
    pub(crate) requests: Vec<Request>,
    /// Files that the proxy writes at `@out/NAME`, which are compared.
    #[serde(default)]
    pub(crate) writes: Vec<String>,
    /// Names of statistics that are compared.
    #[serde(default)]
    pub(crate) stats: Vec<String>,
    /// Statistics that count what chance decides: how often it is asked, and the share that is due.
    #[serde(default)]
    pub(crate) stats_near: BTreeMap<String, (usize, f64)>,
    /// Upstreams are told of traces, and collectors of spans.
    #[serde(default)]
    pub(crate) traced: bool,
    /// Fields of the access log that are not compared, each with the reason.
    #[serde(default)]
    pub(crate) log_ignored: BTreeMap<String, String>,
    /// Headers at upstreams that are not compared, each with the reason.
    #[serde(default)]
    pub(crate) upstream_ignored: BTreeMap<String, String>,
    /// Names of parameters and cookies whose values chance or the clock makes.
    #[serde(default)]
    pub(crate) veiled: Vec<String>,
    /// Parts of what is seen that are not compared, each with the reason.
    #[serde(default)]
    pub(crate) ignored: BTreeMap<String, String>,
    /// What Envoy did. Written by `cargo xtask record-case`.
    pub(crate) observed: Option<Value>,
    /// Iako does something else, on purpose.
    pub(crate) difference: Option<Difference>,
    /// Iako refuses the bootstrap, and names this in its message.
    pub(crate) unsupported: Option<String>,
    #[serde(skip)]
    pub(crate) path: PathBuf,
}

/// What a DNS server says of a name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DnsReply {
    #[serde(default)]
    pub(crate) a: Vec<String>,
    #[serde(default)]
    pub(crate) aaaa: Vec<String>,
    /// Seconds; 60 when absent.
    pub(crate) ttl: Option<u32>,
    /// 2 for a failure of the server, 3 for a name that does not exist.
    #[serde(default)]
    pub(crate) rcode: u16,
    /// No answer at all.
    #[serde(default)]
    pub(crate) silent: bool,
}

/// The parts of a bootstrap that a case changes. Objects are merged as RFC 7386 says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Merged into the HTTP connection manager.
    #[serde(default)]
    pub(crate) hcm: Value,
    /// Bytes are carried in place of HTTP: merged into a plain `tcp_proxy` to the cluster `be`.
    pub(crate) tcp_proxy: Option<Value>,
    /// Network filters before the one that carries the connection.
    #[serde(default)]
    pub(crate) network_filters: Vec<Value>,
    /// What carries the connection, in place of HTTP or bytes.
    pub(crate) terminal: Option<Value>,
    /// Datagrams are carried: merged into a plain `udp_proxy` to the cluster `be`.
    pub(crate) udp_proxy: Option<Value>,
    /// HTTP filters before the router.
    #[serde(default)]
    pub(crate) filters: Vec<Value>,
    /// The routes of the only virtual host.
    pub(crate) routes: Option<Value>,
    /// Merged into the listener.
    #[serde(default)]
    pub(crate) listener: Value,
    /// Listeners besides the first.
    #[serde(default)]
    pub(crate) listeners: Vec<Value>,
    /// Merged into the cluster `be`.
    #[serde(default)]
    pub(crate) cluster: Value,
    /// All clusters, in place of `be`.
    pub(crate) clusters: Option<Value>,
    /// Clusters of HTTP/2 besides, by name, each with the port of its only upstream.
    #[serde(default)]
    pub(crate) grpc_services: BTreeMap<String, u16>,
    /// The same of HTTP/1.
    #[serde(default)]
    pub(crate) http_services: BTreeMap<String, u16>,
    /// Merged into the whole.
    #[serde(default)]
    pub(crate) bootstrap: Value,
    /// Files beside the bootstrap, which names them as `@file/NAME`. Listeners come from `lds.json`
    /// and clusters from `cds.json` where there is such a file.
    #[serde(default)]
    pub(crate) files: Map<String, Value>,
    /// A control plane tells resources over xDS, on the stream that everything comes on.
    pub(crate) xds: Option<XdsPlan>,
}

/// Files that are moved in the place of others, and what is waited for afterwards.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default)]
    pub(crate) files: Map<String, Value>,
    /// What the control plane tells from now on, besides what it told.
    pub(crate) xds: Option<XdsPlan>,
    /// Waits until these statistics have these values.
    #[serde(default)]
    pub(crate) until: BTreeMap<String, u64>,
}

/// What Iako does instead of what Envoy does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// The name of an entry of `docs/differences.md`.
    pub(crate) id: String,
    /// What is meant, in one sentence.
    pub(crate) reason: String,
    /// What Iako does. Written by `cargo xtask record-case` too.
    pub(crate) iako: Option<Value>,
}

/// What is sent on one connection, and what is waited for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    /// Bytes as they are, in place of a request made of the parts above.
    pub(crate) raw: Option<Script>,
    /// Sent ahead of everything else, TLS too; each character is one byte.
    pub(crate) first: Option<Script>,
    /// Everything goes through TLS.
    pub(crate) tls: Option<TlsStep>,
    /// Where to, in place of the first listener.
    pub(crate) port: Option<u16>,
    /// HTTP/2 frames, in place of a request made of the parts above.
    pub(crate) h2: Option<Vec<FrameStep>>,
    /// Bytes that are no HTTP; everything that comes back is told as it is.
    pub(crate) bytes: Option<Script>,
    /// Datagrams of one client, each sent after the one before was answered.
    #[serde(default)]
    pub(crate) datagrams: Vec<String>,
    /// Final responses that are waited for on the connection.
    pub(crate) responses: Option<usize>,
    /// Methods of the raw requests, where a response to `GET` would be framed otherwise.
    #[serde(default)]
    pub(crate) methods: Vec<String>,
    /// What ends the wait on an HTTP/2 connection besides its end.
    #[serde(default)]
    pub(crate) until: Until,
    /// The SETTINGS of the proxy are compared. Whether they come before a connection error is
    /// chance, so that a case has to ask.
    #[serde(default)]
    pub(crate) settings: bool,
    /// Every GOAWAY of the proxy is compared, in place of the last one.
    #[serde(default)]
    pub(crate) goaways: bool,
    /// Longest wait for an answer.
    pub(crate) wait_ms: Option<u64>,
    /// Sent so many times, each on a connection of its own; `{i}` is the number.
    pub(crate) repeat: Option<usize>,
    /// Statistics that are waited for before, each until it has at least this value.
    #[serde(default)]
    pub(crate) await_stats: BTreeMap<String, u64>,
    /// Time to wait before, after the statistics.
    pub(crate) pause_ms: Option<u64>,
    /// An admin page that is read in place of a request.
    pub(crate) admin: Option<String>,
    /// Words of the page's lines that are compared; all of the page without any.
    #[serde(default)]
    pub(crate) keep: Vec<String>,
    /// In place of a request: the keep-alive of the proxy's connections to this port is looked at.
    pub(crate) sockets: Option<u16>,
    /// How the repetitions are meant to spread.
    pub(crate) spread: Option<Spread>,
    /// Nothing is sent, but files are changed.
    pub(crate) change: Option<Change>,
    /// Nothing is sent, but these statistics are looked at.
    #[serde(default)]
    pub(crate) see: Vec<String>,
}

/// What a client of TLS shows and offers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsStep {
    pub(crate) sni: Option<String>,
    #[serde(default)]
    pub(crate) alpn: Vec<String>,
    /// The name of a leaf of `pki.rs`.
    pub(crate) certificate: Option<String>,
    /// `1.2` or `1.3`, in place of both.
    pub(crate) version: Option<String>,
    /// The only cipher suites, by rustls's names.
    #[serde(default)]
    pub(crate) suites: Vec<String>,
    /// The only key exchanges, by rustls's names.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// A connection before this one, whose session is taken up.
    #[serde(default)]
    pub(crate) resumes: bool,
}

/// When an HTTP/2 client has seen enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    /// Every stream that was opened has ended.
    #[default]
    Streams,
    /// A PING after everything else was answered.
    Ping,
    /// The proxy has ended the connection.
    End,
}

/// Bytes with marks between them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Script {
    Text(String),
    Steps(Vec<ByteStep>),
}

/// One thing that a client or an upstream does with a byte stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum ByteStep {
    /// Sent; each character is one byte.
    Send(String),
    /// Sent many times.
    Repeat { repeat: String, times: usize },
    /// Waits until the other side has sent this.
    Await { r#await: String },
    /// Waits until the other side has ended the connection.
    AwaitEnd { await_end: bool },
    /// Waits. Only where a case is about time.
    Pause { pause_ms: u64 },
    /// Ends the sending side (`fin`), or the connection (`close`, `reset`).
    End { end: EndStep },
    /// Files are changed while the connection is open.
    Change { change: Change },
    /// Plays this on another connection to the listener, to its end; what came is told in between.
    Beside { beside: Box<Script> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndStep {
    Fin,
    Close,
    Reset,
}

/// What an upstream answers to one request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// Played on every connection in place of anything HTTP. Such a port has no other answers.
    pub(crate) tcp: Option<Script>,
    /// Sent when the head of an HTTP/1 request is there.
    pub(crate) on_head: Option<Script>,
    /// Sent when the HTTP/1 request is there as a whole.
    pub(crate) raw: Option<Script>,
    /// Played on a connection that speaks no HTTP. The others at the port are the same.
    pub(crate) bytes: Option<Script>,
    /// Afterwards every byte is echoed.
    #[serde(default)]
    pub(crate) tunnel: bool,
    /// Sent when the head of an HTTP/2 request is there.
    #[serde(default)]
    pub(crate) h2_on_head: Vec<FrameStep>,
    /// Sent when the HTTP/2 request is there as a whole.
    pub(crate) h2: Option<Vec<FrameStep>>,
    /// Answers of a gRPC service, one to each message of a call. A call that is at its end is ended
    /// with status 0 unless an answer ended it, or holds it.
    pub(crate) grpc: Option<Vec<GrpcStep>>,
}

/// What a gRPC service does with one message.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrpcStep {
    /// Waits before.
    pub(crate) pause_ms: Option<u64>,
    /// Sent: a message in proto3 JSON, or several.
    pub(crate) send: Option<Value>,
    /// Ends the call with this status.
    pub(crate) status: Option<u16>,
    /// Its `grpc-message`.
    pub(crate) message: Option<String>,
    /// Resets the stream with this code.
    pub(crate) reset: Option<u32>,
    /// The end of the call is not answered.
    #[serde(default)]
    pub(crate) hold: bool,
}

/// One frame, or a mark between frames. `stream` 0 is filled in by an upstream.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FrameStep {
    Headers(HeadersStep),
    Data(DataStep),
    Rst {
        stream: u32,
        code: u32,
    },
    Settings(Vec<(u16, u32)>),
    Ping(String),
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    Priority {
        stream: u32,
        on: u32,
    },
    Goaway {
        last: u32,
        code: u32,
    },
    /// Any frame; the payload is hexadecimal.
    Raw {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: String,
    },
    /// Bytes that need not be a frame.
    Bytes(String),
    /// Steps that are sent many times; stream identifiers grow by `stride` each time.
    Repeat {
        times: u32,
        stride: u32,
        steps: Vec<Self>,
    },
    /// Leaves the preface and SETTINGS to the case.
    NoPreface,
    /// Waits for the head of the answer on this stream.
    AwaitHead(u32),
    /// Waits until this stream is reset, and tells of it also behind its end.
    AwaitReset(u32),
    /// Waits until so many octets of content came on this stream.
    AwaitBytes {
        stream: u32,
        bytes: usize,
    },
    /// Waits until so many PINGs were answered.
    AwaitPongs(u32),
    Pause {
        ms: u64,
    },
    /// Files are changed while the connection is open; of a client.
    Change(Change),
    Close,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadersStep {
    #[serde(default)]
    pub(crate) stream: u32,
    /// In place of `:method GET`, `:scheme http`, `:path /x` and `:authority a.test`.
    pub(crate) pseudo: Option<Vec<(String, String)>>,
    #[serde(default)]
    pub(crate) fields: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) end: bool,
    /// END_HEADERS is left out, for a case that goes on with CONTINUATION.
    #[serde(default)]
    pub(crate) open: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataStep {
    #[serde(default)]
    pub(crate) stream: u32,
    #[serde(default)]
    pub(crate) text: String,
    /// The text is sent so many times, in one frame.
    pub(crate) times: Option<usize>,
    /// Bytes of padding.
    pub(crate) padding: Option<u8>,
    #[serde(default)]
    pub(crate) end: bool,
}

impl Case {
    /// The name of the case: its group and file.
    pub(crate) fn id(&self) -> String {
        let file = self.path.file_stem().unwrap().to_string_lossy();
        let group = self.path.parent().unwrap().file_name().unwrap().to_string_lossy();
        format!("{group}/{file}")
    }
}

/// Where the cases are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases")
}

/// Every case whose name holds one of the words, or every case, in order.
pub(crate) fn read_all(words: &[String]) -> Vec<Case> {
    let mut paths = Vec::new();
    for group in fs::read_dir(folder()).unwrap() {
        let group = group.unwrap().path();
        if group.is_dir() {
            paths.extend(fs::read_dir(group).unwrap().map(|file| file.unwrap().path()));
        }
    }
    paths.sort();
    let cases = paths.into_iter().map(|path| read(&path));
    cases
        .filter(|case| words.is_empty() || words.iter().any(|word| case.id().contains(word)))
        .collect()
}

fn read(path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap();
    let mut case: Case =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.clone_into(&mut case.path);
    case
}

/// Writes into a case what was seen, and leaves everything else as it is.
pub(crate) fn write(case: &Case, observed: Option<&Value>, iako: Option<&Value>) {
    let text = fs::read_to_string(&case.path).unwrap();
    let mut file: Map<String, Value> = serde_json::from_str(&text).unwrap();
    if let Some(observed) = observed {
        file.insert("observed".to_owned(), observed.clone());
    }
    if let (Some(iako), Some(Value::Object(difference))) = (iako, file.get_mut("difference")) {
        difference.insert("iako".to_owned(), iako.clone());
    }
    let mut text = crate::layout::pretty(&Value::Object(file));
    text.push('\n');
    fs::write(&case.path, text).unwrap();
}

/// The bytes that a text of a case stands for: one for each character.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character is a byte")).collect()
}

/// The text of a case that stands for bytes.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
