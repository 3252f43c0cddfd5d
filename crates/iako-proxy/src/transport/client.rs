//! TLS originated here.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use iako_identity::{ClientTls, TlsCertificate, TlsClient};
use iako_proxy_config::{SourcedName, UpstreamTls};
use parking_lot::Mutex;

use super::material::{
    MaterialError, Materials, NameCheck, alpn, cipher_suites, key_exchanges, key_log, secret_names,
    versions,
};

/// Sessions kept to be taken up again at most; bounds the memory of one build.
const SESSIONS_MAX: usize = 64;

/// Application protocol lists built a slot at most; bounds its memory.
const ALPN_LISTS_MAX: usize = 8;

/// TLS settings towards a cluster, built with the certificates of the moment.
///
/// New handshakes use what was built last; a failed rebuild keeps the last good one.
#[derive(Debug)]
pub(crate) struct ClientTlsSlot {
    settings: UpstreamTls,
    built: ArcSwapOption<Built>,
}

/// Application protocols, best first.
type AlpnList = Vec<Vec<u8>>;

/// One build: the settings, and what rustls made of them for each list of application protocols.
#[derive(Debug)]
struct Built {
    template: ClientTls,
    default: TlsClient,
    others: Mutex<Vec<(AlpnList, TlsClient)>>,
}

impl ClientTlsSlot {
    /// Settings without anything built.
    #[must_use]
    pub(crate) fn new(settings: UpstreamTls) -> Self {
        Self { settings, built: ArcSwapOption::empty() }
    }

    /// What was asked for.
    #[must_use]
    pub(crate) const fn settings(&self) -> &UpstreamTls {
        &self.settings
    }

    /// Whether handshakes can be made.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.built.load().is_some()
    }

    /// The names of the secrets that it needs.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SourcedName> {
        secret_names(&self.settings.options)
    }

    /// Builds anew with the secrets of the moment.
    ///
    /// # Errors
    /// When one is missing or unusable; what was built before stays in use.
    pub(crate) fn refresh(&self, materials: &Materials) -> Result<(), MaterialError> {
        let options = &self.settings.options;
        let names = if self.settings.auto_san_validation {
            NameCheck::ServerName
        } else {
            NameCheck::Listed
        };
        let certificate = options.certificates.first();
        let (trust, rules) = materials.peers(&options.validation, names)?;
        let template = ClientTls {
            versions: versions(options)?,
            alpn: alpn(&options.alpn),
            certificate: certificate.map(|source| materials.certificate(source)).transpose()?,
            trust,
            rules,
            cipher_suites: cipher_suites(options),
            key_exchanges: key_exchanges(options),
            sessions_max: self.settings.sessions_max.map_or(SESSIONS_MAX, |most| {
                usize::try_from(most).unwrap_or(usize::MAX).min(SESSIONS_MAX)
            }),
            key_log: key_log(options)?,
        };
        let default = template.clone().build()?;
        self.built.store(Some(Arc::new(Built {
            template,
            default,
            others: Mutex::new(Vec::new()),
        })));
        Ok(())
    }

    /// The certificate that is shown.
    pub(super) fn own(&self) -> Option<Arc<TlsCertificate>> {
        self.built.load().as_ref().and_then(|built| built.template.certificate.clone())
    }

    /// The settings for a handshake that offers `alpn`, or the configured protocols.
    ///
    /// # Errors
    /// When the secrets have not arrived.
    pub(super) fn client(&self, alpn: Option<&[&[u8]]>) -> Result<TlsClient, MaterialError> {
        let built = self.built.load();
        let Some(built) = built.as_ref() else {
            let name = self.secrets().next().map(SourcedName::name).unwrap_or_default().to_owned();
            return Err(MaterialError::Missing { name });
        };
        let Some(alpn) = alpn.filter(|alpn| *alpn != built.template.alpn) else {
            return Ok(built.default.clone());
        };
        let mut others = built.others.lock();
        if let Some((_, client)) = others.iter().find(|(list, _)| alpn == list.as_slice()) {
            return Ok(client.clone());
        }
        let list: Vec<Vec<u8>> = alpn.iter().map(|name| name.to_vec()).collect();
        let client = ClientTls { alpn: list.clone(), ..built.template.clone() }.build()?;
        if others.len() < ALPN_LISTS_MAX {
            others.push((list, client.clone()));
        }
        Ok(client)
    }
}
