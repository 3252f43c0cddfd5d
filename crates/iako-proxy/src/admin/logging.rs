//! Levels of the process's own log, part by part.

use std::collections::BTreeMap;

use http::StatusCode;
use parking_lot::Mutex;

use super::Page;
use crate::proxy::LogLevelHook;

/// Envoy's words for levels, with ours.
const LEVELS: [(&str, &str); 7] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("info", "info"),
    ("warning", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("off", "off"),
];

/// Parts of the process, with the names of their events.
const PARTS: [(&str, &str); 12] = [
    ("admin", "iako_proxy::admin"),
    ("config", "iako_proxy::config_task"),
    ("connection", "iako_proxy::connection"),
    ("dns", "iako_proxy::dns"),
    ("hc", "iako_proxy::health"),
    ("http", "iako_proxy::http"),
    ("http2", "iako_proxy::http2"),
    ("main", "iako_proxy::proxy"),
    ("pool", "iako_proxy::upstream"),
    ("secret", "iako_identity"),
    ("udp", "iako_proxy::udp"),
    ("upstream", "iako_xds"),
];

/// The levels that were set here.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Of everything; none before one was set.
    all: Option<&'static str>,
    parts: BTreeMap<&'static str, &'static str>,
}

fn level(word: &str) -> Result<&'static str, Page> {
    let known = LEVELS.iter().find(|(name, _)| *name == word);
    known.map(|(name, _)| *name).ok_or_else(|| refused("unknown logger level"))
}

fn part(word: &str) -> Result<&'static str, Page> {
    let known = PARTS.iter().find(|(name, _)| *name == word);
    known.map(|(name, _)| *name).ok_or_else(|| refused("unknown logger name"))
}

fn refused(why: &str) -> Page {
    let words: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
    let usage = format!(
        "error: {why}\n\nusage: /logging?level=LEVEL, /logging?PART=LEVEL or \
         /logging?paths=PART:LEVEL,PART:LEVEL\nlevels: {}\n",
        words.join(" ")
    );
    Page::text(usage).with(StatusCode::BAD_REQUEST)
}

impl Levels {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Page> {
        match name {
            "level" => {
                self.all = Some(level(value)?);
                self.parts.clear();
            }
            "paths" => {
                let pairs: Vec<_> = value
                    .split(',')
                    .filter(|pair| !pair.is_empty())
                    .map(|pair| pair.split_once(':').unwrap_or((pair, "")))
                    .map(|(name, word)| Ok((part(name)?, level(word)?)))
                    .collect::<Result<_, Page>>()?;
                self.parts.extend(pairs);
            }
            name => {
                // The level is looked at first, as Envoy does.
                let word = level(value)?;
                self.parts.insert(part(name)?, word);
            }
        }
        Ok(())
    }

    /// As the filter of the log reads it.
    fn directives(&self) -> String {
        let ours = |word: &str| {
            LEVELS.iter().find(|(name, _)| *name == word).map_or("info", |(_, ours)| *ours)
        };
        let parts = PARTS
            .iter()
            .filter_map(|(name, target)| Some(format!("{target}={}", ours(self.parts.get(name)?))));
        let all = std::iter::once(ours(self.all.unwrap_or("info")).to_owned());
        all.chain(parts).collect::<Vec<_>>().join(",")
    }

    fn show(&self) -> String {
        let all = self.all.unwrap_or("info");
        let level = |name| self.parts.get(name).copied().unwrap_or(all);
        let lines = PARTS.iter().map(|(name, _)| format!("  {name}: {}\n", level(name)));
        format!("active loggers:\n{}\n", lines.collect::<String>())
    }
}

/// Sets levels, and shows all of them.
pub(super) fn answer<'a>(
    levels: &Mutex<Levels>,
    hook: Option<&LogLevelHook>,
    mut wanted: impl Iterator<Item = (&'a str, &'a str)>,
) -> Page {
    let mut levels = levels.lock();
    if let Some((name, value)) = wanted.next() {
        let Some(hook) = hook else {
            let text = "the log level of this process is fixed\n";
            return Page::text(text).with(StatusCode::NOT_IMPLEMENTED);
        };
        if wanted.next().is_some() {
            return refused("one parameter at a time");
        }
        if let Err(page) = levels.set(name, value) {
            return page;
        }
        if let Err(error) = hook(&levels.directives()) {
            return Page::text(format!("{error}\n")).with(StatusCode::BAD_REQUEST);
        }
    }
    Page::text(levels.show())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_levels_of_their_own_until_all_are_set() {
        let mut levels = Levels::default();
        assert!(levels.set("http", "debug").is_ok());
        assert!(levels.set("paths", "dns:warning,hc:off").is_ok());
        assert_eq!(
            levels.directives(),
            "info,iako_proxy::dns=warn,iako_proxy::health=off,iako_proxy::http=debug"
        );
        assert!(levels.show().contains("  dns: warning\n"));
        assert!(levels.set("level", "critical").is_ok());
        assert_eq!(levels.directives(), "error");
        for (name, value) in [("level", "loud"), ("nobody", "info"), ("paths", "dns:x")] {
            assert!(levels.set(name, value).is_err(), "{name}={value}");
        }
    }
}
