//! Checking JSON web tokens.

mod accept;
pub(crate) mod base64url;
pub mod fuzz;
mod keys;
mod place;
mod reject;
mod token;

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use iako_proxy_config::{Jwks, JwtAuthn, JwtProvider, JwtRequirement};

pub use accept::JwtChanges;
pub use keys::{JwksError, JwtMemory};
pub use reject::JwtRejection;

use crate::{RequestFacts, RequestHead, mismatch};
use keys::KeySet;
use place::Found;
use token::MustEnd;

/// Under which name payloads are kept for other filters.
pub const JWT_METADATA: &str = "envoy.filters.http.jwt_authn";

/// Longest part of a target that a challenge repeats.
const REALM_PATH_BYTES_MAX: usize = 256;

/// A [`JwtAuthn`] made ready for questions. Keys of remote issuers are handed in as they come.
///
/// Source: `envoy.extensions.filters.http.jwt_authn.v3`, RFC 7519, RFC 6750.
#[derive(Debug)]
pub struct JwtVerifier {
    settings: Arc<JwtAuthn>,
    /// In the order of `settings.providers`.
    keys: Vec<ArcSwap<KeySet>>,
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum JwtDecision {
    /// It passes, changed so.
    Pass(JwtChanges),
    /// It is refused.
    Refuse(Box<JwtRefusal>),
    /// Its route names a requirement that the filter does not have: it is refused with 403.
    Misnamed(NoRequirement),
}

/// How a request is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtRefusal {
    /// Why; its text is the body of the response.
    pub rejection: JwtRejection,
    /// 401, or 403 for a token made for others.
    pub status: u16,
    /// Value of `www-authenticate`.
    pub challenge: String,
    /// Whether nothing but the status is told.
    pub is_stripped: bool,
    /// What other filters and logs may know all the same.
    pub changes: JwtChanges,
}

impl JwtRefusal {
    fn new(check: Check<'_>, rejection: JwtRejection) -> Self {
        let head = check.head;
        let target = head.path_and_query;
        let cut = target.floor_char_boundary(REALM_PATH_BYTES_MAX);
        let target = target.get(..cut).unwrap_or_default();
        let missing = rejection == JwtRejection::Missing;
        let error = if missing { "" } else { ", error=\"invalid_token\"" };
        let challenge =
            format!("Bearer realm=\"{}://{}{target}\"{error}", head.scheme, head.authority);
        let status = if rejection == JwtRejection::Audience { 403 } else { 401 };
        let is_stripped = check.verifier.settings.strip_failure_response;
        Self { rejection, status, challenge, is_stripped, changes: check.changes }
    }

    /// Response code details.
    #[must_use]
    pub fn details(&self) -> String {
        format!("jwt_authn_access_denied{{{}}}", self.rejection.to_string().replace(' ', "_"))
    }
}

/// A route names a requirement that its filter does not have; the text is Envoy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Wrong requirement_name: {name}. It should be one of [{names}]")]
pub struct NoRequirement {
    name: String,
    names: String,
}

/// A remote key set that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedJwks<'v> {
    /// The provider's name, for [`JwtVerifier::update_jwks`].
    pub provider: &'v str,
    /// Where it is fetched: always [`Jwks::Remote`].
    pub jwks: &'v Jwks,
}

impl JwtVerifier {
    /// Compiles the settings of a filter. A provider whose local keys cannot be read has none, so
    /// that its tokens are refused.
    #[must_use]
    pub fn compile(settings: Arc<JwtAuthn>) -> Self {
        let local = |provider: &JwtProvider| match &provider.jwks {
            Jwks::Inline(text) => KeySet::parse(text).unwrap_or_default(),
            Jwks::Remote { .. } => KeySet::default(),
        };
        let keys = settings.providers.values().map(local).map(ArcSwap::from_pointee).collect();
        Self { settings, keys }
    }

    /// Key sets that somebody has to fetch and hand in.
    pub fn wanted_jwks(&self) -> impl Iterator<Item = WantedJwks<'_>> {
        self.settings.providers.iter().filter_map(|(provider, settings)| match settings.jwks {
            Jwks::Remote { .. } => Some(WantedJwks { provider, jwks: &settings.jwks }),
            Jwks::Inline(_) => None,
        })
    }

    /// Replaces the keys of a provider.
    ///
    /// # Errors
    /// When `text` is no key set with a usable key; the old keys stay.
    pub fn update_jwks(&self, provider: &str, text: &str) -> Result<(), JwksError> {
        let keys = KeySet::parse(text)?;
        let mut providers = self.settings.providers.keys().zip(&self.keys);
        if let Some((_, slot)) = providers.find(|(name, _)| *name == provider) {
            slot.store(Arc::new(keys));
        }
        Ok(())
    }

    /// Keeps the keys of remote issuers that an older verifier has, so that a change of the
    /// configuration does not wait for them again.
    pub fn inherit(&self, older: &Self) {
        for ((name, provider), slot) in self.settings.providers.iter().zip(&self.keys) {
            let mut olds = older.settings.providers.iter().zip(&older.keys);
            let same =
                olds.find(|((own, settings), _)| *own == name && settings.jwks == provider.jwks);
            if let (Jwks::Remote { .. }, Some((_, old))) = (&provider.jwks, same) {
                slot.store(old.load_full());
            }
        }
    }

    /// Decides about a request. `named` is the requirement that its route names in place of the
    /// rules; `now` is the time of the world, which tokens are dated by.
    #[must_use]
    pub fn decide(
        &self,
        facts: &RequestFacts<'_>,
        named: Option<&str>,
        now: SystemTime,
        memory: &mut JwtMemory,
    ) -> JwtDecision {
        let head = &facts.head;
        if self.settings.bypass_cors_preflight && is_preflight(head) {
            return JwtDecision::Pass(JwtChanges { is_preflight: true, ..JwtChanges::default() });
        }
        let requirement = match named {
            Some(name) => match self.settings.requirements.get(name) {
                Some(requirement) => requirement,
                None => return JwtDecision::Misnamed(self.unnamed(name)),
            },
            None => {
                let mut rules = self.settings.rules.iter();
                let rule = rules.find(|rule| mismatch(&rule.matcher, facts, 0).is_none());
                rule.map_or_else(|| self.by_state(facts), |rule| &rule.requirement)
            }
        };
        let Some(requirement) = requirement else {
            return JwtDecision::Pass(JwtChanges::default());
        };
        let changes = JwtChanges::default();
        let mut check = Check { verifier: self, head, now, memory, changes };
        check.changes.clear_client_headers(&self.settings, head);
        match check.meets(requirement) {
            Ok(()) => JwtDecision::Pass(check.changes),
            Err(rejection) => JwtDecision::Refuse(Box::new(JwtRefusal::new(check, rejection))),
        }
    }

    /// What is asked of a request that no rule matches.
    fn by_state(&self, facts: &RequestFacts<'_>) -> &Option<JwtRequirement> {
        let Some(rules) = &self.settings.state_rules else { return &None };
        let kept = facts.metadata.state(&rules.name);
        let kept = kept.or_else(|| facts.connection.metadata.state(&rules.name));
        kept.and_then(|kept| rules.requirements.get(kept)).unwrap_or(&None)
    }

    fn unnamed(&self, name: &str) -> NoRequirement {
        let names = self.settings.requirements.keys().map(String::as_str);
        NoRequirement { name: name.to_owned(), names: names.collect::<Vec<_>>().join(",") }
    }

    fn provider(&self, name: &str) -> Option<(&JwtProvider, &ArcSwap<KeySet>)> {
        let mut providers = self.settings.providers.iter().zip(&self.keys);
        let found = providers.find(|((own, _), _)| *own == name);
        found.map(|((_, provider), keys)| (provider, keys))
    }
}

fn is_preflight(head: &RequestHead<'_>) -> bool {
    let sent = |name| head.headers.value(name, 0).is_some_and(|value| !value.is_empty());
    head.method == "OPTIONS" && sent("origin") && sent("access-control-request-method")
}

/// One request under examination.
struct Check<'a> {
    verifier: &'a JwtVerifier,
    head: &'a RequestHead<'a>,
    now: SystemTime,
    memory: &'a mut JwtMemory,
    changes: JwtChanges,
}

impl Check<'_> {
    fn meets(&mut self, requirement: &JwtRequirement) -> Result<(), JwtRejection> {
        match requirement {
            JwtRequirement::Provider { name, audiences } => self.by_provider(name, audiences),
            JwtRequirement::All(all) => all.iter().try_for_each(|part| self.meets(part)),
            JwtRequirement::Any(any) => self.meets_any(any),
            JwtRequirement::AllowMissing => self.by_anybody(),
            JwtRequirement::AllowMissingOrFailed => {
                // Good tokens leave their facts; nothing else counts.
                let _ignored = self.by_anybody().is_ok();
                Ok(())
            }
            JwtRequirement::ExtractOnly { header } => {
                let name = header.as_str();
                if self.head.value(name, 0).is_some() {
                    self.changes.remove_headers.push(name.to_owned());
                }
                if self.by_anybody().is_err() {
                    self.changes.set_headers.push((name.to_owned(), "false".to_owned()));
                }
                Ok(())
            }
        }
    }

    /// The first that is met counts. `AllowMissing` among them only says what happens when none is.
    fn meets_any(&mut self, any: &[JwtRequirement]) -> Result<(), JwtRejection> {
        let mut rejection = JwtRejection::Missing;
        let (mut missing_passes, mut all_passes) = (false, false);
        for part in any {
            match part {
                JwtRequirement::AllowMissing => missing_passes = true,
                JwtRequirement::AllowMissingOrFailed => all_passes = true,
                JwtRequirement::Provider { .. }
                | JwtRequirement::Any(_)
                | JwtRequirement::All(_)
                | JwtRequirement::ExtractOnly { .. } => match self.meets(part) {
                    Ok(()) => return Ok(()),
                    Err(own) if own.weight() >= rejection.weight() => rejection = own,
                    Err(_) => {}
                },
            }
        }
        if all_passes || (missing_passes && rejection == JwtRejection::Missing) {
            Ok(())
        } else {
            Err(rejection)
        }
    }

    /// Every token in the provider's places must be good, and there must be one.
    fn by_provider(&mut self, name: &str, audiences: &[String]) -> Result<(), JwtRejection> {
        let verifier = self.verifier;
        let Some((provider, keys)) = verifier.provider(name) else {
            return Err(JwtRejection::UnknownIssuer);
        };
        let head = self.head;
        let found = place::find(provider, head);
        if found.is_empty() {
            self.changes.reject(provider, JwtRejection::Missing);
            return Err(JwtRejection::Missing);
        }
        let audiences = if audiences.is_empty() { &provider.audiences } else { audiences };
        found.iter().try_for_each(|found| self.verify(found, provider, keys, audiences))
    }

    /// Every token in any provider's places must be good.
    fn by_anybody(&mut self) -> Result<(), JwtRejection> {
        let verifier = self.verifier;
        let mut rejected = Vec::new();
        let mut accepted = Vec::new();
        let head = self.head;
        for (provider, keys) in verifier.settings.providers.values().zip(&verifier.keys) {
            for found in place::find(provider, head) {
                match self.verify(&found, provider, keys, &provider.audiences) {
                    Ok(()) => accepted.push(found.token),
                    Err(rejection) => rejected.push((found.token, rejection)),
                }
            }
        }
        if accepted.is_empty() && rejected.is_empty() {
            for provider in verifier.settings.providers.values() {
                self.changes.reject(provider, JwtRejection::Missing);
            }
        }
        // Several providers may look in the same place; a token needs only one of them.
        rejected.retain(|(token, _)| !accepted.contains(token));
        let worst = rejected.iter().max_by_key(|(_, rejection)| rejection.weight());
        worst.map_or(Ok(()), |(_, rejection)| Err(*rejection))
    }

    /// The order of the checks is Envoy's: an old token with a wrong signature is an old token.
    fn verify(
        &mut self,
        found: &Found<'_>,
        provider: &JwtProvider,
        keys: &ArcSwap<KeySet>,
        audiences: &[String],
    ) -> Result<(), JwtRejection> {
        let accepted = self.examine(found, provider, keys, audiences);
        if let Err(rejection) = accepted {
            self.changes.reject(provider, rejection);
        }
        accepted
    }

    fn examine(
        &mut self,
        found: &Found<'_>,
        provider: &JwtProvider,
        keys: &ArcSwap<KeySet>,
        audiences: &[String],
    ) -> Result<(), JwtRejection> {
        let read = self.memory.read(&found.token)?;
        let token = &read.token;
        if !provider.issuer.is_empty() && provider.issuer != token.issuer() {
            return Err(JwtRejection::UnknownIssuer);
        }
        token.check_time(self.now, provider.clock_skew)?;
        token.check_audience(audiences)?;
        token.check_subject(provider.subjects.as_ref())?;
        let must_end = if provider.require_expiration { MustEnd::Yes } else { MustEnd::No };
        token.check_lifetime(self.now, must_end, provider.lifetime_max)?;
        keys.load().verify(&read, self.memory)?;
        self.changes.accept(provider, found, token, self.head);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
