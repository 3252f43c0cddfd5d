//! An editor's end of a conversation.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    thread::{self, JoinHandle},
};

use iako_lsp::{Ending, Settings, serve};
use iako_resources::ReadOptions;
use serde_json::{Value, json};

/// A client, and the server at the other end of its stream.
pub(crate) struct Client {
    output: UnixStream,
    input: BufReader<UnixStream>,
    server: JoinHandle<Ending>,
    requests: u64,
}

impl Client {
    /// A server that was told nothing yet.
    pub(crate) fn connect() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let settings =
            Settings { options: ReadOptions::default(), network: [127, 15, 0, 0].into() };
        let server = thread::spawn(move || {
            let input = theirs.try_clone().unwrap();
            serve(input, theirs, settings).unwrap()
        });
        let input = BufReader::new(ours.try_clone().unwrap());
        Self { output: ours, input, server, requests: 0 }
    }

    /// A server of a directory.
    pub(crate) fn start(directory: &Path) -> Self {
        let mut client = Self::connect();
        let root = format!("file://{}", directory.display());
        client.initialize(&json!({"rootUri": root, "capabilities": {}}));
        client
    }

    pub(crate) fn initialize(&mut self, params: &Value) {
        let answer = self.ask("initialize", params);
        assert_eq!(answer["capabilities"]["textDocumentSync"]["change"], 2);
        self.tell("initialized", &json!({}));
    }

    pub(crate) fn bytes(&mut self, text: &str) {
        self.output.write_all(text.as_bytes()).unwrap();
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        self.bytes(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// The next message of the server.
    pub(crate) fn next(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.input.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "the server ended the conversation");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.input.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message = self.next();
            if message["id"] == id {
                return message;
            }
        }
    }

    /// The answer to a request.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let answer = self.request(method, params);
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// The code with which a request is refused.
    pub(crate) fn refusal(&mut self, method: &str, params: &Value) -> i64 {
        self.request(method, params)["error"]["code"].as_i64().unwrap()
    }

    pub(crate) fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    pub(crate) fn open(&mut self, uri: &str, text: &str) {
        let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
        self.tell("textDocument/didOpen", &json!({"textDocument": document}));
    }

    /// Replaces a range, from line and character to line and character.
    pub(crate) fn change(
        &mut self,
        uri: &str,
        version: i64,
        range: ((u32, u32), (u32, u32)),
        text: &str,
    ) {
        let place = |(line, character)| json!({"line": line, "character": character});
        let range = json!({"start": place(range.0), "end": place(range.1)});
        let document = json!({"uri": uri, "version": version});
        let changes = json!([{"range": range, "text": text}]);
        self.tell(
            "textDocument/didChange",
            &json!({"textDocument": document, "contentChanges": changes}),
        );
    }

    /// The next findings of a version of a text.
    pub(crate) fn findings(&mut self, uri: &str, version: i64) -> Value {
        loop {
            let message = self.next();
            let params = &message["params"];
            if message["method"] == "textDocument/publishDiagnostics"
                && params["uri"] == uri
                && params["version"] == version
            {
                return params.clone();
            }
        }
    }

    /// The answer to a question about a place.
    pub(crate) fn at(&mut self, method: &str, uri: &str, (line, character): (u32, u32)) -> Value {
        let position = json!({"line": line, "character": character});
        self.ask(method, &json!({"textDocument": {"uri": uri}, "position": position}))
    }

    /// Ends the conversation as the protocol wants it.
    pub(crate) fn end(mut self) -> Ending {
        self.ask("shutdown", &Value::Null);
        self.tell("exit", &Value::Null);
        self.server.join().unwrap()
    }

    /// Leaves without a word.
    pub(crate) fn hang_up(self) -> Ending {
        self.output.shutdown(Shutdown::Both).unwrap();
        self.server.join().unwrap()
    }
}
