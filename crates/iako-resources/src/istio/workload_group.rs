//! `WorkloadGroup`: what machines outside Kubernetes have in common.

use std::{collections::BTreeMap, time::Duration};

use iako_types::{Locality, ServiceAccount, Weight};

use super::{
    service_entry::{EndpointAddress, read_address, read_ports},
    virtual_service::is_header_name,
};
use crate::{
    Code, Labels,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// What the entries of machines that register are made from.
/// Source: `istio.networking.v1.WorkloadGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadGroup {
    /// Labels of the entries.
    pub labels: Labels,
    /// Annotations of the entries.
    pub annotations: Labels,
    /// The rest of the entries.
    pub template: EntryTemplate,
    /// How a machine finds out whether its application is well.
    pub probe: Option<ReadinessProbe>,
}

/// A `WorkloadEntry` that may leave out the address, which the machine tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryTemplate {
    /// Where it is; `None` is told by the machine.
    pub address: Option<EndpointAddress>,
    /// Its ports, by the name of the service port.
    pub ports: BTreeMap<String, u16>,
    /// Its labels.
    pub labels: Labels,
    /// The network it is in; `None` is that of the mesh.
    pub network: Option<String>,
    /// Where it runs.
    pub locality: Locality,
    /// Its share. Istio's default: 1.
    pub weight: Weight,
    /// The account whose identity it proves.
    pub service_account: Option<ServiceAccount>,
}

/// How an application is asked whether it is well. Source: `istio.networking.v1.ReadinessProbe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessProbe {
    /// Time before the first question. Default: none.
    pub initial_delay: Duration,
    /// Longest time for an answer. Istio's default: 1 s.
    pub timeout: Duration,
    /// Time between questions. Istio's default: 10 s.
    pub period: Duration,
    /// Good answers in a row that mean well. Istio's default: 1.
    pub successes: u32,
    /// Bad answers in a row that mean unwell. Istio's default: 3.
    pub failures: u32,
    /// The question.
    pub method: ProbeMethod,
}

/// The question of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeMethod {
    /// A request, whose answer must be 200 to 399.
    Http {
        /// Its path. Istio's default: `/`.
        path: String,
        /// The port.
        port: u16,
        /// The host; `None` is the machine itself.
        host: Option<String>,
        /// Whether it is made with TLS.
        scheme: ProbeScheme,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A connection, which must be made.
    Tcp {
        /// The port.
        port: u16,
        /// The host; `None` is the machine itself.
        host: Option<String>,
    },
    /// A program, which must end with 0.
    Exec(Vec<String>),
    /// A call of the health service of gRPC.
    Grpc {
        /// The port.
        port: u16,
        /// The service that is asked about.
        service: Option<String>,
    },
}

/// Whether a probe is made with TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProbeScheme {
    /// Without. Istio's default.
    #[default]
    Http,
    /// With, and no certificate is checked.
    Https,
}

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<WorkloadGroup> {
    let fields = cursor.fields();
    let (labels, annotations) =
        fields.get("metadata").map(|cursor| read_metadata(&cursor)).unwrap_or_default();
    let template = fields.required("template").map(|cursor| read_template(&cursor));
    let probe = fields.get("probe").map(|cursor| read_probe(&cursor));
    Some(WorkloadGroup { labels, annotations, template: template?, probe: probe.flatten() })
}

fn read_metadata(cursor: &Cursor<'_>) -> (Labels, Labels) {
    let fields = cursor.fields();
    let labels = fields.get("labels").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let annotations = fields.get("annotations").map(|cursor| cursor.entries()).unwrap_or_default();
    let annotations = annotations
        .into_iter()
        .filter_map(|(key, cursor)| Some((key.to_owned(), cursor.text()?)))
        .collect();
    (labels, annotations)
}

fn read_template(cursor: &Cursor<'_>) -> EntryTemplate {
    let fields = cursor.fields();
    let address = fields.get("address").filter(|cursor| cursor.node().as_text() != Some(""));
    let weight = fields.get("weight").and_then(|cursor| cursor.number());
    let locality = fields.get("locality").and_then(|cursor| cursor.text());
    EntryTemplate {
        address: address.and_then(|cursor| read_address(&cursor)),
        ports: read_ports(&fields),
        labels: fields.get("labels").map(|cursor| refer::labels(&cursor)).unwrap_or_default(),
        network: fields.text("network"),
        locality: locality.and_then(|text| text.parse().ok()).unwrap_or_default(),
        weight: weight.filter(|weight| *weight != 0).unwrap_or(1),
        service_account: fields
            .get("serviceAccount")
            .filter(|cursor| cursor.node().as_text() != Some(""))
            .and_then(|cursor| cursor.parsed(Code::BadValue)),
    }
}

fn read_probe(cursor: &Cursor<'_>) -> Option<ReadinessProbe> {
    let fields = cursor.fields();
    let number = |name: &'static str, default: u32| {
        let given = fields.get(name).and_then(|cursor| cursor.count());
        given.filter(|number| *number != 0).unwrap_or(default)
    };
    let seconds = |name, default| Duration::from_secs(u64::from(number(name, default)));
    let http = fields.get("httpGet").map(|cursor| read_http(&cursor));
    let tcp = fields.get("tcpSocket").map(|cursor| {
        let fields = cursor.fields();
        let host = fields.text("host");
        Some(ProbeMethod::Tcp { port: read_port(&fields)?, host })
    });
    let exec = fields.get("exec").map(|cursor| read_exec(&cursor));
    let grpc = fields.get("grpc").map(|cursor| {
        let fields = cursor.fields();
        let service = fields.text("service");
        Some(ProbeMethod::Grpc { port: read_port(&fields)?, service })
    });
    let (initial_delay, timeout) =
        (seconds("initialDelaySeconds", 0), seconds("timeoutSeconds", 1));
    let period = seconds("periodSeconds", 10);
    let (successes, failures) = (number("successThreshold", 1), number("failureThreshold", 3));
    let given: Vec<Option<ProbeMethod>> = [http, tcp, exec, grpc].into_iter().flatten().collect();
    match given.len() {
        0 => {
            let message = "a probe needs one of httpGet, tcpSocket, exec and grpc";
            cursor.report(Code::MissingField, message);
        }
        1 => {}
        _ => cursor.report(Code::Conflict, "a probe is one of httpGet, tcpSocket, exec and grpc"),
    }
    let method = given.into_iter().next()??;
    Some(ReadinessProbe { initial_delay, timeout, period, successes, failures, method })
}

fn read_port(fields: &Fields<'_>) -> Option<u16> {
    fields.required("port").and_then(|cursor| cursor.port())
}

fn read_http(cursor: &Cursor<'_>) -> Option<ProbeMethod> {
    let fields = cursor.fields();
    let path = fields.text("path").unwrap_or_else(|| "/".to_owned());
    let port = read_port(&fields);
    let host = fields.text("host");
    let scheme = fields.get("scheme").filter(|cursor| cursor.node().as_text() != Some(""));
    let scheme = scheme
        .and_then(|cursor| {
            cursor.word(&[("HTTP", ProbeScheme::Http), ("HTTPS", ProbeScheme::Https)])
        })
        .unwrap_or_default();
    let headers = fields.list_of("httpHeaders", |cursor| {
        let fields = cursor.fields();
        let name = fields.required("name").and_then(|cursor| {
            let name = cursor.text()?;
            if !is_header_name(&name) {
                cursor.report(Code::BadValue, format!("{name:?} is no name of a header"));
            }
            Some(name)
        });
        let value = fields.text("value").unwrap_or_default();
        Some((name?, value))
    });
    let headers = headers.into_iter().flatten().collect();
    Some(ProbeMethod::Http { path, port: port?, host, scheme, headers })
}

fn read_exec(cursor: &Cursor<'_>) -> Option<ProbeMethod> {
    let fields = cursor.fields();
    let command = fields.texts("command");
    if command.is_empty() {
        fields.report("command", Code::MissingField, "the field command is missing");
    }
    Some(ProbeMethod::Exec(command))
}
