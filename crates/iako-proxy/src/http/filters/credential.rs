//! Credentials of this proxy's own are written into requests.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use iako_http::{FieldName, FieldValue, Known};
use iako_proxy_config::{CredentialInjector, CredentialSource, SecretBytes, SourcedName};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::Headers as _;

use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::shared::Shared;
use crate::token::TokenKeeper;

/// A filter that writes credentials, compiled.
#[derive(Debug)]
pub(crate) struct CredentialStep {
    source: Source,
    header: FieldName,
    overwrites: bool,
    passes_without: bool,
    /// `http.<prefix>.credential_injector.…`
    injected: Counter,
    failed: Counter,
    already_exists: Counter,
}

/// Where the credential comes from.
#[derive(Debug)]
enum Source {
    Secret(Box<SecretSource>),
    Token(Arc<TokenKeeper>),
}

/// A secret with what stands before it.
struct SecretSource {
    name: SourcedName,
    prefix: String,
    /// What was written last, made anew when the secret changes.
    written: ArcSwapOption<(SecretBytes, FieldValue)>,
}

impl fmt::Debug for SecretSource {
    /// What is written is the secret: it is not shown.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("SecretSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CredentialStep {
    pub(super) fn compile(
        settings: &CredentialInjector,
        manager: &StatsScope,
        shared: &Shared,
    ) -> Self {
        let scope = manager.part("credential_injector");
        let authorization = || FieldName::from(Known::Authorization);
        let (source, header) = match &settings.source {
            CredentialSource::Secret { secret, header, prefix } => {
                let written = ArcSwapOption::empty();
                let (name, prefix) = (secret.clone(), prefix.clone());
                let source = Source::Secret(Box::new(SecretSource { name, prefix, written }));
                let header = FieldName::parse(header.as_str().as_bytes());
                (source, header.unwrap_or_else(|_invalid| authorization()))
            }
            CredentialSource::Token(credentials) => {
                (Source::Token(shared.tokens.find(credentials)), authorization())
            }
        };
        Self {
            source,
            header,
            overwrites: settings.overwrites,
            passes_without: settings.passes_without,
            injected: scope.counter("injected"),
            failed: scope.counter("failed"),
            already_exists: scope.counter("already_exists"),
        }
    }

    /// What is written; none while it is not there.
    fn value(&self, shared: &Shared) -> Option<FieldValue> {
        match &self.source {
            Source::Secret(source) => source.value(shared),
            Source::Token(keeper) => keeper.shown(),
        }
    }
}

impl SecretSource {
    fn value(&self, shared: &Shared) -> Option<FieldValue> {
        let inventory = shared.inventory.load();
        let secret = inventory.materials.generic(&self.name)?;
        if let Some(written) = self.written.load().as_deref().filter(|(of, _)| of.is(secret)) {
            return Some(written.1.clone());
        }
        let secret = secret.clone();
        if secret.expose().is_empty() {
            return None;
        }
        let bytes = [self.prefix.as_bytes(), secret.expose()].concat();
        // A secret that cannot stand in a header is none.
        let value = FieldValue::parse(bytes).ok()?;
        self.written.store(Some(Arc::new((secret, value.clone()))));
        Some(value)
    }
}

impl Exchange<'_> {
    /// Writes a credential, where the client sent none or what it sent is replaced.
    pub(in crate::http) fn inject_credential(&mut self, step: &CredentialStep) -> Step {
        let is_there = self.request.view().value(step.header.as_str(), 0).is_some();
        if is_there && !step.overwrites {
            step.already_exists.inc();
            return Step::Continue;
        }
        if let Some(value) = step.value(&self.connection.worker.shared) {
            step.injected.inc();
            self.request.edits.fields.set(step.header.clone(), value);
            return Step::Continue;
        }
        step.failed.inc();
        if step.passes_without {
            return Step::Continue;
        }
        let reply = Reply::new(401, "failed_to_inject_credential");
        Step::Reply(Box::new(reply.with_body("Failed to inject credential.")))
    }
}
