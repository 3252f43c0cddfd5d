//! Reads an `AuthorizationPolicy`.

use std::str::FromStr;

use iako_types::{CidrRange, Namespace, ServiceAccount};

use super::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, Operation, Source,
    ValueMatch, Values, checks,
};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<AuthorizationPolicy> {
    let fields = cursor.fields();
    let selector = refer::policy_selector(&fields, "selector");
    let targets = refer::targets(&fields, "selector");
    let action = fields.get("action").map(|cursor| read_action(&cursor));
    let provider = fields.get("provider").map(|cursor| {
        let fields = cursor.fields();
        fields.text("name").unwrap_or_default()
    });
    let rules = fields.list_of("rules", |cursor| read_rule(cursor, context));
    let policy = AuthorizationPolicy {
        selector,
        action: action.unwrap_or(Some(AuthorizationAction::Allow))?,
        rules,
        dry_run: context
            .annotations
            .get("istio.io/dry-run")
            .and_then(|value| refer::boolean_word(value))
            .unwrap_or(false),
        targets,
        provider: provider.filter(|name| !name.is_empty()),
    };
    checks::report(cursor, &policy);
    Some(policy)
}

fn read_action(cursor: &Cursor<'_>) -> Option<AuthorizationAction> {
    cursor.word(&[
        ("ALLOW", AuthorizationAction::Allow),
        ("DENY", AuthorizationAction::Deny),
        ("AUDIT", AuthorizationAction::Audit),
        ("CUSTOM", AuthorizationAction::Custom),
    ])
}

fn read_rule(cursor: &Cursor<'_>, context: &Context<'_>) -> AuthorizationRule {
    if cursor.node().is_null() {
        return AuthorizationRule { line: cursor.line(), ..AuthorizationRule::default() };
    }
    let fields = cursor.fields();
    let sources = read_parts(&fields, "from", |cursor| {
        let fields = cursor.fields();
        let source = fields.required("source");
        source.map(|cursor| read_source(&cursor, context))
    });
    let operations = read_parts(&fields, "to", |cursor| {
        let fields = cursor.fields();
        let operation = fields.required("operation");
        operation.map(|cursor| read_operation(&cursor))
    });
    let conditions = fields.list_of("when", |cursor| read_condition(cursor, context));
    AuthorizationRule {
        sources,
        operations,
        conditions: conditions.into_iter().flatten().collect(),
        line: cursor.line(),
    }
}

/// A list that must not be empty when it is there.
fn read_parts<'a, T>(
    fields: &Fields<'a>,
    name: &'static str,
    read: impl FnMut(&Cursor<'a>) -> Option<T>,
) -> Vec<T> {
    let parts = fields.list_of(name, read);
    if let Some(cursor) = fields.get(name)
        && parts.is_empty()
    {
        cursor.report(Code::EmptyValue, format!("{name} is empty; remove it to mean everything"));
    }
    parts.into_iter().flatten().collect()
}

fn read_source(cursor: &Cursor<'_>, context: &Context<'_>) -> Source {
    let fields = cursor.fields();
    let source = Source {
        principals: values(&fields, "principals", "notPrincipals"),
        request_principals: values(&fields, "requestPrincipals", "notRequestPrincipals"),
        namespaces: values(&fields, "namespaces", "notNamespaces"),
        service_accounts: both(&fields, "serviceAccounts", "notServiceAccounts", |cursor| {
            read_account(cursor, context)
        }),
        trust_domains: both(&fields, "trustDomains", "notTrustDomains", read_trust_domain),
        ip_blocks: both(&fields, "ipBlocks", "notIpBlocks", refer::cidr),
        remote_ip_blocks: both(&fields, "remoteIpBlocks", "notRemoteIpBlocks", refer::cidr),
    };
    if fields.is_empty() {
        cursor.report(Code::EmptyValue, "source is empty; remove from to mean anybody");
    }
    checks::report_source(cursor, &source);
    source
}

fn read_operation(cursor: &Cursor<'_>) -> Operation {
    let fields = cursor.fields();
    let operation = Operation {
        hosts: values(&fields, "hosts", "notHosts"),
        ports: both(&fields, "ports", "notPorts", read_port),
        methods: values(&fields, "methods", "notMethods"),
        paths: both(&fields, "paths", "notPaths", checks::read_path),
    };
    if fields.is_empty() {
        cursor.report(Code::EmptyValue, "operation is empty; remove to to mean anything");
    }
    operation
}

fn values(fields: &Fields<'_>, any: &'static str, none: &'static str) -> Values<ValueMatch> {
    both(fields, any, none, read_value)
}

fn both<'a, T>(
    fields: &Fields<'a>,
    any: &'static str,
    none: &'static str,
    read: impl Fn(&Cursor<'a>) -> Option<T>,
) -> Values<T> {
    let list = |name| {
        let values = fields.list_of(name, &read);
        if let Some(cursor) = fields.get(name)
            && values.is_empty()
        {
            cursor.report(Code::EmptyValue, format!("{name} is empty"));
        }
        values.into_iter().flatten().collect()
    };
    Values { any_of: list(any), none_of: list(none) }
}

fn read_value(cursor: &Cursor<'_>) -> Option<ValueMatch> {
    let text = cursor.text()?;
    if text.is_empty() {
        cursor.report(Code::EmptyValue, "the value is empty");
        return None;
    }
    Some(ValueMatch::new(&text))
}

fn read_port(cursor: &Cursor<'_>) -> Option<u16> {
    let text = cursor.text()?;
    let port = text.parse::<u16>().ok().filter(|port| *port != 0);
    if port.is_none() {
        cursor.report(Code::BadValue, format!("{text:?} is no port"));
    }
    port
}

fn read_trust_domain(cursor: &Cursor<'_>) -> Option<ValueMatch> {
    let text = cursor.text()?;
    let inner = text.strip_prefix('*').unwrap_or(&text);
    let inner = inner.strip_suffix('*').unwrap_or(inner);
    if text.contains('/') || inner.contains('*') {
        cursor.report(Code::BadValue, format!("{text:?} is no trust domain"));
        return None;
    }
    read_value(cursor)
}

/// `account` of the policy's own namespace, or `namespace/account`.
fn read_account(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<(Namespace, ServiceAccount)> {
    let text = cursor.text()?;
    let (namespace, account) = match text.split_once('/') {
        Some((namespace, account)) => (refer::namespace_name(namespace), account),
        None => (Some(context.namespace.clone()), text.as_str()),
    };
    let account = ServiceAccount::from_str(account).ok();
    let found = namespace.zip(account);
    if found.is_none() {
        let message =
            format!("{text:?} is no service account; write account or namespace/account, no stars");
        cursor.report(Code::BadValue, message);
    }
    found
}

fn read_condition(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Condition> {
    let fields = cursor.fields();
    let key = fields.required("key");
    // Which values are allowed depends on the key, so they are read after it.
    let key_text = key.as_ref().and_then(Cursor::text).unwrap_or_default();
    let texts = || values(&fields, "values", "notValues");
    let blocks = || -> Values<CidrRange> { both(&fields, "values", "notValues", refer::cidr) };
    let condition = match key_text.as_str() {
        "source.ip" => Some(Condition::SourceIp(blocks())),
        "remote.ip" => Some(Condition::RemoteIp(blocks())),
        "destination.ip" => Some(Condition::DestinationIp(blocks())),
        "destination.port" => {
            Some(Condition::DestinationPort(both(&fields, "values", "notValues", read_port)))
        }
        "source.namespace" => Some(Condition::SourceNamespace(texts())),
        "source.principal" => Some(Condition::SourcePrincipal(texts())),
        "source.trustDomain" => Some(Condition::SourceTrustDomain(texts())),
        "source.serviceAccount" => {
            let accounts =
                both(&fields, "values", "notValues", |cursor| read_account(cursor, context));
            Some(Condition::SourceServiceAccount(accounts))
        }
        "request.auth.principal" => Some(Condition::RequestPrincipal(texts())),
        "request.auth.audiences" => Some(Condition::RequestAudiences(texts())),
        "request.auth.presenter" => Some(Condition::RequestPresenter(texts())),
        "connection.sni" => Some(Condition::ServerName(texts())),
        other => read_keyed(other, texts()),
    };
    if !fields.has("values") && !fields.has("notValues") {
        fields.report("values", Code::MissingField, "a condition needs values or notValues");
    }
    if let (Some(Condition::FilterMetadata { .. }), Some(key)) = (&condition, &key) {
        let message = "metadata of filters is read and checked, not yet applied: the whole policy \
                       waits";
        key.report(Code::FieldIgnored, message);
    }
    if let (None, Some(key)) = (&condition, &key) {
        checks::report_key(key, &key_text);
    }
    condition
}

/// `request.headers[x]` and `request.auth.claims[a][b]`.
fn read_keyed(key: &str, values: Values<ValueMatch>) -> Option<Condition> {
    let inside = |prefix: &str| key.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']');
    if let Some(name) = inside("request.headers") {
        return Some(Condition::Header(name.to_ascii_lowercase(), values));
    }
    if let Some(rest) = key.strip_prefix("experimental.envoy.filters.") {
        let (filter, key) = rest.strip_suffix(']')?.split_once('[')?;
        let (filter, key) = (format!("envoy.filters.{filter}"), key.to_owned());
        return (!key.is_empty()).then_some(Condition::FilterMetadata { filter, key, values });
    }
    let path: Vec<String> = inside("request.auth.claims")?.split("][").map(str::to_owned).collect();
    Some(Condition::RequestClaim(path, values))
}
