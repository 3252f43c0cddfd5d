//! Every page of the admin endpoint: what it is called, who may ask for it, and what it is for.

/// Whether a page changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It shows; any method will do.
    Shows,
    /// It changes something: POST only.
    Changes,
}

/// One page.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: &'static str,
    pub(super) effect: Effect,
    about: &'static str,
    parameters: &'static [(&'static str, &'static str)],
}

const fn shows(path: &'static str, about: &'static str) -> Entry {
    Entry { path, effect: Effect::Shows, about, parameters: &[] }
}

const fn changes(path: &'static str, about: &'static str) -> Entry {
    Entry { path, effect: Effect::Changes, about, parameters: &[] }
}

impl Entry {
    const fn with(self, parameters: &'static [(&'static str, &'static str)]) -> Self {
        Self { parameters, ..self }
    }
}

/// The pages, in order of their paths.
const PAGES: &[Entry] = &[
    shows("/", "these pages, for a browser"),
    changes("/allocprofiler", "nothing: the process writes no profiles"),
    shows("/certs", "certificates and roots with their lifetimes"),
    shows("/clusters", "clusters and their instances").with(&[
        ("format", "text or json"),
        ("filter", "only clusters in whose name this expression is found"),
    ]),
    shows("/config_dump", "everything that the proxy was told").with(&[
        ("resource", "only the entries of this list, such as dynamic_active_clusters"),
        ("mask", "only these fields; of each entry, together with resource"),
        ("name_regex", "only resources with a name that this expression takes whole"),
        ("include_eds", "instances as well"),
    ]),
    shows("/contention", "nothing: waits for locks are not measured"),
    changes("/cpuprofiler", "nothing: the process writes no profiles"),
    changes("/drain_listeners", "takes no new connections").with(&[
        ("graceful", "asks clients to go first, over the drain time"),
        ("inboundonly", "only of listeners for traffic to the workload"),
        ("skip_exit", "asks clients to go, and goes on taking connections"),
    ]),
    changes("/healthcheck/fail", "takes the proxy out of service"),
    changes("/healthcheck/ok", "takes it back into service"),
    shows("/heap_dump", "nothing: the process writes no profiles"),
    changes("/heapprofiler", "nothing: the process writes no profiles"),
    shows("/help", "these pages"),
    shows("/hot_restart_version", "which versions can follow this one in place"),
    shows("/init_dump", "what the proxy waits for before it serves")
        .with(&[("mask", "only of these: listener")]),
    shows("/listeners", "listeners and their addresses").with(&[("format", "text or json")]),
    changes("/logging", "levels of the process's own log").with(&[
        ("level", "the level of everything"),
        ("paths", "levels of parts: PART:LEVEL,PART:LEVEL"),
        ("PART", "the level of one part"),
    ]),
    shows("/memory", "memory that the process holds"),
    shows("/peak_heap_dump", "nothing: the process writes no profiles"),
    changes("/quitquitquit", "ends the process"),
    shows("/ready", "whether the proxy serves; 503 when not"),
    changes("/reopen_logs", "opens access logs again"),
    changes("/reset_counters", "counters begin at 0"),
    shows("/runtime", "values of the runtime by layer"),
    changes(
        "/runtime_modify",
        "sets values of the runtime by hand, KEY=VALUE; an empty value \
        takes back what was set here",
    ),
    shows("/server_info", "version, state and age"),
    shows("/stats", "statistics").with(&[
        ("filter", "only names in which this expression is found"),
        ("invert_filter", "only the others"),
        ("usedonly", "only what is not zero"),
        ("type", "All, Counters, Gauges, Histograms or TextReadouts"),
        ("format", "text, json, prometheus, html or active-html"),
        ("histogram_buckets", "summary, cumulative, disjoint or detailed"),
        ("hidden", "include, exclude or only; nothing is hidden"),
    ]),
    shows("/stats/prometheus", "statistics and Istio's metrics for Prometheus").with(&[
        ("filter", "only names in which this expression is found"),
        ("invert_filter", "only the others"),
        ("usedonly", "only what is not zero"),
        ("type", "Counters, Gauges or Histograms"),
        ("histogram_buckets", "cumulative or summary"),
        ("text_readouts", "nothing: there are no texts"),
    ]),
    shows("/stats/recentlookups", "nothing: names of statistics are looked up once"),
    changes("/stats/recentlookups/clear", "nothing: there is nothing to forget"),
    changes("/stats/recentlookups/disable", "nothing: lookups are not recorded"),
    changes("/stats/recentlookups/enable", "refused: lookups are not recorded"),
    shows("/stats/services", "a summary of each service for people's tools"),
];

/// The page of a path.
pub(super) fn find(path: &str) -> Option<&'static Entry> {
    PAGES.iter().find(|entry| entry.path == path)
}

/// All pages as text.
pub(super) fn help() -> String {
    let mut out = "admin commands are:\n".to_owned();
    for entry in PAGES {
        let post = if entry.effect == Effect::Changes { " (POST)" } else { "" };
        out.push_str(&format!("  {}{post}: {}\n", entry.path, entry.about));
        for (name, about) in entry.parameters {
            out.push_str(&format!("      {name}: {about}\n"));
        }
    }
    out
}

/// All pages for a browser.
pub(super) fn index() -> String {
    let mut rows = String::new();
    for entry in PAGES {
        let path = entry.path;
        // A link would change something by merely being followed.
        let link = match entry.effect {
            Effect::Shows => format!("<a href=\"{path}\">{path}</a>"),
            Effect::Changes => {
                format!("<form method=\"post\" action=\"{path}\"><button>{path}</button></form>")
            }
        };
        rows.push_str(&format!("<tr><td>{link}</td><td>{}</td></tr>\n", entry.about));
    }
    format!(
        "<!DOCTYPE html>\n<html><head><title>Iako admin</title></head>\n\
         <body><table>\n{rows}</table></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_stand_in_order_and_once() {
        assert!(PAGES.is_sorted_by(|a, b| a.path < b.path));
        assert!(help().contains("  /quitquitquit (POST): ends the process\n"));
        assert!(index().contains("<a href=\"/stats\">"));
    }
}
