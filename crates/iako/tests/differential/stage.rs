//! The files of a world while it runs, and the statistics of its proxy.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    sync::OnceLock,
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    bootstrap::{self, ADMIN_PORT, WRITTEN},
    case::Change,
    plane::Plane,
    world::until,
};

/// Longest wait for a change to show.
const LIMIT: Duration = Duration::from_secs(10);

/// Where a case plays.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) address: Ipv4Addr,
    /// Holds the bootstrap, the access log and the files of the case.
    pub(crate) folder: PathBuf,
    /// Tells resources, where the case has a control plane.
    pub(crate) plane: Option<Plane>,
    /// The process of the proxy.
    pub(crate) process: OnceLock<u32>,
}

impl Stage {
    /// Moves files in, and waits until the change shows.
    pub(crate) fn apply(&self, change: &Change) {
        change.files.iter().for_each(|(name, content)| self.move_in(name, content));
        if let (Some(plan), Some(plane)) = (&change.xds, &self.plane) {
            plane.change(&self.folder, plan);
        }
        let names: Vec<String> = change.until.keys().cloned().collect();
        let mut last = Value::Null;
        let shown = until(LIMIT, || {
            last = self.stats(&names);
            let equal =
                |(name, value): (&String, &u64)| last[name].as_str() == Some(&*value.to_string());
            change.until.iter().all(equal).then_some(())
        });
        assert!(shown.is_some(), "never {:?}: {last}", change.until);
    }

    /// Puts a file in the place of an older one. A text stands for itself, everything else for
    /// its JSON.
    pub(crate) fn move_in(&self, name: &str, content: &Value) {
        let text = match content {
            Value::String(text) => text
                .replace(WRITTEN, &self.address.to_string())
                .replace("@file/", &format!("{}/", self.folder.display())),
            content => {
                let expanded = bootstrap::expanded(content);
                bootstrap::placed(&expanded, self.address, &self.folder).to_string()
            }
        };
        let place = self.folder.join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let beside = self.folder.join(".next");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, place).unwrap();
    }

    /// Statistics of these names, as the admin listener tells them; those that it does not tell
    /// are left out.
    pub(crate) fn stats(&self, names: &[String]) -> Value {
        let Ok(mut stream) = TcpStream::connect((self.address, ADMIN_PORT)) else {
            return Value::Null;
        };
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(b"GET /stats HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let mut found = Map::new();
        for line in text.lines() {
            if let Some((name, value)) = line.trim_end().split_once(": ")
                && names.iter().any(|wanted| wanted == name)
            {
                found.insert(name.to_owned(), Value::from(value));
            }
        }
        found.sort_keys();
        Value::Object(found)
    }
}
