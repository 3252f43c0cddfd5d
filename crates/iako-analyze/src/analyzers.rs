//! The table of analyzers.

mod bindings;
mod certificates;
mod delegates;
mod destinations;
mod entries;
mod findings;
mod gateways;
mod injection;
mod names;
mod patches;
mod policies;
mod ports;
mod routing;
mod rules;
mod scopes;
mod sidecars;
mod telemetry;
mod tls;
mod tokens;
mod workloads;

use std::time::SystemTime;

use findings::Findings;
use iako_registry::MeshSnapshot;
use iako_resources::Diagnostic;

/// One kind of mistake.
#[derive(Debug, Clone, Copy)]
pub struct Analyzer {
    /// Its name, for lists.
    pub name: &'static str,
    /// What it finds, in one sentence.
    pub doc: &'static str,
    run: fn(&MeshSnapshot, &mut Findings),
}

/// Every analyzer, in the order in which they run.
pub const ANALYZERS: &[Analyzer] = &[
    Analyzer {
        name: "destinations",
        doc: "VirtualServices send to hosts, subsets and ports that exist.",
        run: routing::destinations,
    },
    Analyzer {
        name: "gateway-references",
        doc: "VirtualServices are bound to Gateways that exist and serve one of their hosts.",
        run: bindings::gateway_references,
    },
    Analyzer {
        name: "claims",
        doc: "Rules about claims of tokens apply where tokens are checked.",
        run: bindings::claims,
    },
    Analyzer {
        name: "rules-at-gateways",
        doc: "Rules for a host apply to the requests of gateways too.",
        run: bindings::rules_not_at_gateways,
    },
    Analyzer {
        name: "delegates",
        doc: "Rules are delegated to objects that can take them over.",
        run: delegates::delegates,
    },
    Analyzer {
        name: "patches",
        doc: "EnvoyFilters are applied, and always in the same order.",
        run: patches::patches,
    },
    Analyzer { name: "weights", doc: "Weights add up to 100.", run: rules::weights },
    Analyzer {
        name: "retries",
        doc: "Retries fit into the timeout of their rule.",
        run: rules::retries,
    },
    Analyzer {
        name: "duplicate-matches",
        doc: "No match repeats one of an earlier rule.",
        run: rules::duplicates,
    },
    Analyzer {
        name: "system-roots",
        doc: "Clients name the authority of the servers that they speak TLS to.",
        run: destinations::system_roots,
    },
    Analyzer {
        name: "entry-addresses",
        doc: "Opaque ports of ServiceEntries have an address.",
        run: entries::without_addresses,
    },
    Analyzer {
        name: "entry-conflicts",
        doc: "ServiceEntries agree about what a port speaks.",
        run: entries::conflicts,
    },
    Analyzer {
        name: "host-conflicts",
        doc: "No two VirtualServices claim one host in the sidecars.",
        run: routing::host_conflicts,
    },
    Analyzer {
        name: "destination-rules",
        doc: "DestinationRules configure services that exist.",
        run: destinations::unused_rules,
    },
    Analyzer {
        name: "subsets",
        doc: "Subsets select at least one endpoint.",
        run: destinations::empty_subsets,
    },
    Analyzer {
        name: "tls-conflicts",
        doc: "Clients speak the TLS that servers accept.",
        run: tls::conflicts,
    },
    Analyzer {
        name: "gateway-workloads",
        doc: "Gateways select a workload.",
        run: gateways::without_workload,
    },
    Analyzer {
        name: "gateway-conflicts",
        doc: "No two Gateways claim one port in different protocols, or one TLS host.",
        run: gateways::conflicts,
    },
    Analyzer {
        name: "gateway-secrets",
        doc: "Credentials of Gateways are secrets that exist.",
        run: gateways::missing_secrets,
    },
    Analyzer {
        name: "credentials",
        doc: "Credentials of Gateways can be shown, now and for their hosts.",
        run: certificates::credentials,
    },
    Analyzer {
        name: "gateway-certificates",
        doc: "No two Gateways show one certificate on one port.",
        run: gateways::shared_certificates,
    },
    Analyzer {
        name: "gateway-ports",
        doc: "A service leads to every port of a Gateway.",
        run: gateways::ports_without_service,
    },
    Analyzer {
        name: "selectors",
        doc: "Selectors of policies select at least one workload.",
        run: policies::empty_selectors,
    },
    Analyzer {
        name: "shadowed-policies",
        doc: "Of objects of which only the oldest counts there is one.",
        run: scopes::shadowed,
    },
    Analyzer {
        name: "identities",
        doc: "Policies about identities apply where clients must have one.",
        run: policies::identities,
    },
    Analyzer {
        name: "tokens",
        doc: "Policies about tokens apply where tokens are checked.",
        run: policies::tokens,
    },
    Analyzer {
        name: "policy-identities",
        doc: "Policies name identities and namespaces that exist.",
        run: names::identities,
    },
    Analyzer {
        name: "policy-ports",
        doc: "Policies name ports that their workloads have.",
        run: names::ports,
    },
    Analyzer {
        name: "policy-texts",
        doc: "Policies name methods and paths as requests have them.",
        run: names::texts,
    },
    Analyzer {
        name: "deny-all",
        doc: "Policies that refuse everything do so on purpose.",
        run: policies::deny_all,
    },
    Analyzer {
        name: "sidecar-egress",
        doc: "Sidecars let through hosts that exist.",
        run: sidecars::egress_hosts,
    },
    Analyzer {
        name: "injection-labels",
        doc: "Namespaces say in one way who gets a sidecar.",
        run: injection::namespace_labels,
    },
    Analyzer {
        name: "injected-images",
        doc: "Images that an injector fills in are in pods that it sees.",
        run: injection::images,
    },
    Analyzer {
        name: "required-tokens",
        doc: "Where tokens are checked, somebody requires them.",
        run: tokens::not_required,
    },
    Analyzer {
        name: "http-rules-on-tcp",
        doc: "Rules about requests apply to ports that carry requests.",
        run: policies::http_rules_on_tcp,
    },
    Analyzer {
        name: "services",
        doc: "Services have endpoints, and ports that say what they speak.",
        run: workloads::services,
    },
    Analyzer {
        name: "target-ports",
        doc: "Services send to ports that pods declare.",
        run: workloads::target_ports,
    },
    Analyzer {
        name: "shared-ports",
        doc: "Services agree about the ports of workloads.",
        run: ports::conflicts,
    },
    Analyzer {
        name: "workloads",
        doc: "Workloads belong to a service, and to a namespace that is defined.",
        run: workloads::unnamed,
    },
    Analyzer {
        name: "providers",
        doc: "Telemetry objects name providers that exist.",
        run: telemetry::missing_providers,
    },
];

/// Every mistake in a snapshot: those that reading found, and those that the analyzers find. In the
/// order of files and lines; none twice. Nothing is said about time; see [`analyze_at`].
#[must_use]
pub fn analyze(snapshot: &MeshSnapshot) -> Vec<Diagnostic> {
    found(snapshot, None)
}

/// As [`analyze`], and certificates that expire soon or have expired `now`.
#[must_use]
pub fn analyze_at(snapshot: &MeshSnapshot, now: SystemTime) -> Vec<Diagnostic> {
    found(snapshot, Some(now))
}

fn found(snapshot: &MeshSnapshot, now: Option<SystemTime>) -> Vec<Diagnostic> {
    let mut findings = Findings::at(now);
    for analyzer in ANALYZERS {
        (analyzer.run)(snapshot, &mut findings);
    }
    let mut all = snapshot.diagnostics.clone();
    all.extend(findings.into_diagnostics());
    all.sort_by(|a, b| {
        let key = |found: &Diagnostic| (found.origin.clone(), found.severity, found.code);
        key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
    });
    all.dedup();
    all
}
