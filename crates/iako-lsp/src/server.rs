//! The conversation with an editor.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    net::Ipv4Addr,
    path::Path,
};

use iako_analyze::Project;
use iako_resources::{Asked, ReadOptions, load_sources, text::Lines};
use serde_json::{Value, json};

use crate::{
    action, complete, convert, define, hover,
    publish::Published,
    spot, sync,
    wire::{self, Incoming},
};

/// How texts are read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of objects that name none, and the domain of the cluster.
    pub options: ReadOptions,
    /// The network of the pods that are invented for workloads, a /16.
    pub network: Ipv4Addr,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As the protocol wants it: `shutdown`, then `exit`.
    Orderly,
    /// The client left without a word.
    Abrupt,
}

/// Answers a client until it leaves.
///
/// # Errors
/// A stream fails, or what comes in is no message.
pub fn serve(input: impl Read, output: impl Write, settings: Settings) -> io::Result<Ending> {
    let mut input = BufReader::new(input);
    let mut server = Server::new(output, settings);
    loop {
        let message = match wire::read(&mut input)? {
            Incoming::Message(message) => message,
            Incoming::Broken => {
                wire::refuse(&mut server.output, &Value::Null, (-32700, "this is no JSON"))?;
                continue;
            }
            Incoming::End => return Ok(Ending::Abrupt),
        };
        if let Some(ending) = server.handle(&message)? {
            return Ok(ending);
        }
        // While further messages wait, what is wrong would be out of date at once.
        if input.buffer().is_empty() {
            server.publish()?;
        }
    }
}

/// Where a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Running,
    ShutDown,
}

/// An open text.
#[derive(Debug)]
struct Open {
    uri: String,
    version: i64,
}

struct Server<W> {
    output: W,
    project: Project,
    options: ReadOptions,
    phase: Phase,
    open: BTreeMap<String, Open>,
    published: Published,
    /// Whether something changed since findings were told.
    is_stale: bool,
    watches_files: bool,
}

impl<W: Write> Server<W> {
    fn new(output: W, settings: Settings) -> Self {
        let options = ReadOptions { asked: Asked::InDirectory, ..settings.options };
        Self {
            output,
            project: Project::new(options.clone(), settings.network),
            options,
            phase: Phase::Fresh,
            open: BTreeMap::new(),
            published: Published::default(),
            is_stale: false,
            watches_files: false,
        }
    }

    /// Handles one message; says how the conversation ends, when it does.
    fn handle(&mut self, message: &Value) -> io::Result<Option<Ending>> {
        let Some(method) = message.get("method").and_then(Value::as_str) else {
            // An answer to what was asked; nothing depends on it.
            return Ok(None);
        };
        let params = message.get("params").unwrap_or(&Value::Null);
        if method == "exit" {
            let orderly = self.phase == Phase::ShutDown;
            return Ok(Some(if orderly { Ending::Orderly } else { Ending::Abrupt }));
        }
        match message.get("id") {
            Some(id) => self.request(id, method, params)?,
            None if self.phase == Phase::Running => self.notification(method, params)?,
            None => {}
        }
        Ok(None)
    }

    fn request(&mut self, id: &Value, method: &str, params: &Value) -> io::Result<()> {
        match (self.phase, method) {
            (Phase::Fresh, "initialize") => {
                let capabilities = self.initialize(params);
                return wire::answer(&mut self.output, id, &capabilities);
            }
            (Phase::Fresh, _) => {
                let why = (-32002, "initialize comes first");
                return wire::refuse(&mut self.output, id, why);
            }
            (Phase::ShutDown, _) | (Phase::Running, "initialize") => {
                return wire::refuse(&mut self.output, id, (-32600, "not now"));
            }
            (Phase::Running, _) => {}
        }
        let result = match method {
            "shutdown" => {
                self.phase = Phase::ShutDown;
                Value::Null
            }
            "textDocument/hover" => self.at_cursor(params, hover::hover),
            "textDocument/completion" => self.at_cursor(params, complete::complete),
            "textDocument/definition" => self.at_cursor(params, define::define),
            "textDocument/codeAction" => self.actions(params).unwrap_or(Value::Null),
            _ => {
                let why = (-32601, "there is no such method here");
                return wire::refuse(&mut self.output, id, why);
            }
        };
        wire::answer(&mut self.output, id, &result)
    }

    fn initialize(&mut self, params: &Value) -> Value {
        self.phase = Phase::Running;
        self.watches_files = params
            .pointer("/capabilities/workspace/didChangeWatchedFiles/dynamicRegistration")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let folders = params.get("workspaceFolders").and_then(Value::as_array);
        let of_folders = folders.into_iter().flatten().filter_map(|folder| folder.get("uri"));
        let mut roots: Vec<&str> = of_folders.filter_map(Value::as_str).collect();
        if roots.is_empty() {
            roots.extend(params.get("rootUri").and_then(Value::as_str));
        }
        for root in roots {
            let directory = convert::file_of(root);
            let directory = directory.strip_suffix('/').unwrap_or(&directory);
            for source in load_sources(Path::new(directory), &self.options) {
                self.project.put(source);
            }
        }
        self.is_stale = true;
        json!({
            "capabilities": {
                "positionEncoding": "utf-16",
                "textDocumentSync": {"openClose": true, "change": 2, "save": true},
                "hoverProvider": true,
                "completionProvider": {"triggerCharacters": [":", " ", "-"]},
                "definitionProvider": true,
                "codeActionProvider": {"codeActionKinds": ["quickfix"]},
            },
            "serverInfo": {"name": "iako", "version": env!("CARGO_PKG_VERSION")},
        })
    }

    fn notification(&mut self, method: &str, params: &Value) -> io::Result<()> {
        match method {
            "initialized" if self.watches_files => self.ask_for_changes()?,
            "textDocument/didOpen" => self.opened(params),
            "textDocument/didChange" => self.changed(params)?,
            "textDocument/didClose" => self.closed(params),
            "workspace/didChangeWatchedFiles" => self.changed_on_disk(params),
            _ => {}
        }
        Ok(())
    }

    fn ask_for_changes(&mut self) -> io::Result<()> {
        let watchers = json!([{"globPattern": "**/*.{yaml,yml,json}"}]);
        let registration = json!({
            "id": "files",
            "method": "workspace/didChangeWatchedFiles",
            "registerOptions": {"watchers": watchers},
        });
        let params = json!({"registrations": [registration]});
        wire::ask(&mut self.output, "client/registerCapability", &params)
    }

    fn opened(&mut self, params: &Value) {
        let document = params.get("textDocument");
        let text = |key: &str| document?.get(key)?.as_str();
        let (Some(uri), Some(content)) = (text("uri"), text("text")) else { return };
        let version = document.and_then(|it| it.get("version")).and_then(Value::as_i64);
        let file = convert::file_of(uri);
        self.project.set(&file, content);
        let open = Open { uri: uri.to_owned(), version: version.unwrap_or_default() };
        self.open.insert(file, open);
        self.is_stale = true;
    }

    /// Applies edits. Those that do not follow the known version are not applied: the text would be
    /// another one than the editor's.
    fn changed(&mut self, params: &Value) -> io::Result<()> {
        let document = params.get("textDocument");
        let Some(uri) = document.and_then(|it| it.get("uri")).and_then(Value::as_str) else {
            return Ok(());
        };
        let file = convert::file_of(uri);
        let version = document.and_then(|it| it.get("version")).and_then(Value::as_i64);
        let Some(open) = self.open.get_mut(&file) else { return Ok(()) };
        let changes = params.get("contentChanges").and_then(Value::as_array);
        let is_next = version.is_none_or(|version| version > open.version);
        let text = self.project.text(&file).unwrap_or_default();
        let after = changes.filter(|_| is_next).and_then(|changes| sync::changed(text, changes));
        let Some(after) = after else {
            let message = format!("an edit of {uri} does not fit its text, and was not applied");
            let params = json!({"type": 2, "message": message});
            return wire::notify(&mut self.output, "window/logMessage", &params);
        };
        open.version = version.unwrap_or(open.version);
        self.project.set(&file, &after);
        self.is_stale = true;
        Ok(())
    }

    fn closed(&mut self, params: &Value) {
        let Some(uri) = params.pointer("/textDocument/uri").and_then(Value::as_str) else { return };
        let file = convert::file_of(uri);
        self.open.remove(&file);
        self.read_from_disk(&file);
    }

    fn changed_on_disk(&mut self, params: &Value) {
        let changes = params.get("changes").and_then(Value::as_array);
        let uris = changes.into_iter().flatten().filter_map(|change| change.get("uri"));
        for uri in uris.filter_map(Value::as_str) {
            let file = convert::file_of(uri);
            // An open text is the editor's.
            if !self.open.contains_key(&file) {
                self.read_from_disk(&file);
            }
        }
    }

    fn read_from_disk(&mut self, file: &str) {
        self.is_stale = true;
        let path = Path::new(file);
        if !path.is_file() {
            self.project.remove(file);
            return;
        }
        for source in load_sources(path, &self.options) {
            self.project.put(source);
        }
    }

    /// Tells what is wrong, where it differs from what was told before.
    fn publish(&mut self) -> io::Result<()> {
        if !self.is_stale || self.phase != Phase::Running {
            return Ok(());
        }
        self.is_stale = false;
        let checked = self.project.check();
        let open = &self.open;
        let version = |file: &str| open.get(file).map(|it| (it.uri.clone(), it.version));
        for params in self.published.differences(checked.diagnostics, &self.project, version) {
            wire::notify(&mut self.output, "textDocument/publishDiagnostics", &params)?;
        }
        Ok(())
    }

    /// Answers a question about a place of an open text; null when there is nothing to say.
    fn at_cursor(
        &self,
        params: &Value,
        answer: fn(&spot::Spot, &Lines<'_>, &Project) -> Option<Value>,
    ) -> Value {
        let found = || {
            let uri = params.pointer("/textDocument/uri")?.as_str()?;
            let text = self.project.text(&convert::file_of(uri))?;
            let lines = Lines::new(text);
            let position = convert::from_editor(params.get("position")?, &lines)?;
            let namespace = self.options.default_namespace.as_str();
            let spot = spot::find(text, &lines, position, namespace)?;
            answer(&spot, &lines, &self.project)
        };
        found().unwrap_or(Value::Null)
    }

    fn actions(&mut self, params: &Value) -> Option<Value> {
        // Findings of the text as it is now.
        self.publish().ok()?;
        let uri = params.pointer("/textDocument/uri")?.as_str()?;
        let file = convert::file_of(uri);
        let text = self.project.text(&file)?;
        let version = self.open.get(&file).map(|open| open.version);
        action::actions(self.published.findings(&file), text, (uri, version), params.get("range")?)
    }
}
