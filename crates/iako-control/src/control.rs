//! The control plane as a whole: what it listens on, and how it starts and ends.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use iako_ca::{CaError, CertificateAuthority, JoinTokens, SignError};
use iako_identity::{ClientCertificate, ServerTls, TlsError, TlsServer, Trust, TrustBundles};
use iako_rt::Scope;
use iako_types::{Namespace, ServiceAccount, SpiffeId, TrustDomain};
use iako_xds::{Cache, Server, transport};
use iako_xds_api::istio::v1::auth::istio_certificate_service_server::IstioCertificateServiceServer;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time,
};

use crate::{
    DirectoryWatch,
    accepted::Accepted,
    api::{self, Api},
    authenticate::Authenticator,
    certificates::Certificates,
    incoming::{self, Incoming},
    mesh::Mesh,
    planner::{Findings, Planner},
    proxies::{Door, Proxies},
};

/// Names by which proxies know the control plane. Source: Istio.
const OWN_NAMES: [&str; 5] = [
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istiod.istio-system",
    "istiod",
    "localhost",
];
/// Ports, as people know them from Istio.
const XDS_PLAINTEXT_PORT: u16 = 15010;
const XDS_TLS_PORT: u16 = 15012;
const METRICS_PORT: u16 = 15014;
const API_PORT: u16 = 15080;
/// The control plane's own certificate is replaced this often; it is good for a day.
const OWN_CERTIFICATE_RENEWAL: Duration = Duration::from_secs(8 * 3600);

/// What a control plane needs to know at its start.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// Directories of YAML.
    pub directories: Vec<PathBuf>,
    /// Where the root key and the key of join tokens are kept.
    pub authority: PathBuf,
    /// Where the last good version of every file is kept.
    pub accepted: PathBuf,
    /// The address to listen on.
    pub address: IpAddr,
    /// Further DNS names of our certificate.
    pub dns_names: Vec<String>,
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate authority cannot be used.
    #[error("the certificate authority in {} cannot be used", directory.display())]
    Authority {
        /// Where it is kept.
        directory: PathBuf,
        /// Why.
        source: Box<CaError>,
    },
    /// The directory of the authority cannot be made.
    #[error("the directory {} cannot be made", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// No certificate for ourselves.
    #[error("no certificate for the control plane itself")]
    OwnCertificate(#[source] Box<SignError>),
    /// TLS settings that do not fit together.
    #[error("the TLS settings of the control plane are not usable")]
    Tls(#[from] TlsError),
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}; does another control plane run there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A running control plane; ends when dropped.
#[derive(Debug)]
pub struct Control {
    scope: Scope,
    failures: mpsc::Receiver<String>,
}

impl Control {
    /// Reads the configuration and starts to serve. What was read is served from the first moment.
    ///
    /// # Errors
    /// When keys cannot be used or an address is taken. Mistakes in the user's documents are no
    /// such error: what is good of them is served, the rest is reported.
    pub async fn start(settings: ControlSettings) -> Result<Self, StartError> {
        let scope = Scope::new();
        // Addresses first: a second control plane must fail before it touches anything.
        let listeners = Listeners::bind(settings.address).await?;
        let trust_domain = TrustDomain::cluster_local();
        let authority = Arc::new(open_authority(&settings, &trust_domain)?);
        let tokens =
            JoinTokens::open(&settings.authority).map_err(|source| StartError::Authority {
                directory: settings.authority.clone(),
                source: Box::new(source),
            })?;
        let authenticator = Arc::new(Authenticator::new(tokens, trust_domain));
        let own = OwnCertificate { authority: Arc::clone(&authority), settings: settings.clone() };
        let (tls_sender, tls) = watch::channel(Arc::new(own.issue(iako_rt::clock::wall())?));
        scope.spawn("own certificate", own.keep_renewed(tls_sender));

        let watch = DirectoryWatch::start(&settings.directories);
        let accepted = Accepted::open(settings.accepted.clone()).map_err(|source| {
            StartError::Directory { directory: settings.accepted.clone(), source }
        })?;
        let mut mesh = Mesh::new(settings.directories.clone(), accepted);
        mesh.read().await;
        let (proxies, cache) = (Arc::new(Proxies::default()), Cache::new());
        let findings = Arc::new(Findings::default());
        let snapshots = mesh.watch();
        let planner = Planner::new(Arc::clone(&proxies), cache.clone(), Arc::clone(&findings));
        scope.spawn("planner", planner.run(mesh.watch()));
        scope.spawn("mesh", mesh.run(watch));

        let (failed, failures) = mpsc::channel(4);
        let guarded = Door::guarded(Arc::clone(&proxies), Arc::clone(&authenticator));
        let guarded = Server::new(cache.clone(), Arc::new(guarded), scope.clone());
        let open = listeners.plaintext.is_some().then(|| {
            let door = Arc::new(Door::open(Arc::clone(&proxies)));
            Server::new(cache.clone(), door, scope.clone())
        });
        let api = Api {
            started: iako_rt::clock::now(),
            trust_domain: authority.trust_domain().clone(),
            snapshots,
            servers: std::iter::once(guarded.clone()).chain(open.clone()).collect(),
            cache,
            findings,
        };
        let certificates =
            IstioCertificateServiceServer::new(Certificates::new(authority, authenticator));
        let router =
            transport::server().add_service(guarded.into_service()).add_service(certificates);
        let incoming = incoming::tls(listeners.tls, tls, &scope);
        serve(&scope, "tls xds", router, incoming, failed.clone());
        if let (Some(listener), Some(server)) = (listeners.plaintext, open) {
            let router = transport::server().add_service(server.into_service());
            let incoming = incoming::plaintext(listener, &scope);
            serve(&scope, "plaintext xds", router, incoming, failed.clone());
        }
        api::serve(&scope, api, listeners.api, listeners.metrics, &failed);
        tracing::info!(address = %settings.address, "control plane serves");
        Ok(Self { scope, failures })
    }

    /// Waits until a part of it fails for good; says which and why.
    pub async fn failed(&mut self) -> String {
        self.failures.recv().await.unwrap_or_else(|| "all of its servers ended".to_owned())
    }

    /// Ends it. Proxies keep what they have.
    pub async fn stop(self) {
        self.scope.stop();
        self.scope.finished().await;
    }
}

fn open_authority(
    settings: &ControlSettings,
    trust_domain: &TrustDomain,
) -> Result<CertificateAuthority, StartError> {
    let directory = settings.authority.clone();
    std::fs::create_dir_all(&directory)
        .map_err(|source| StartError::Directory { directory: directory.clone(), source })?;
    CertificateAuthority::open(&directory, trust_domain, iako_rt::clock::wall())
        .map_err(|source| StartError::Authority { directory, source: Box::new(source) })
}

/// The sockets of a control plane.
struct Listeners {
    tls: TcpListener,
    /// Only on loopback: what is told there is told to anybody who can connect.
    plaintext: Option<TcpListener>,
    api: TcpListener,
    metrics: TcpListener,
}

impl Listeners {
    async fn bind(address: IpAddr) -> Result<Self, StartError> {
        let plaintext = match address.is_loopback() {
            true => Some(bind(address, XDS_PLAINTEXT_PORT).await?),
            false => None,
        };
        // The API shows the whole mesh and asks for no credentials.
        let private = if address.is_loopback() { address } else { Ipv4Addr::LOCALHOST.into() };
        Ok(Self {
            tls: bind(address, XDS_TLS_PORT).await?,
            plaintext,
            api: bind(private, API_PORT).await?,
            metrics: bind(private, METRICS_PORT).await?,
        })
    }
}

async fn bind(ip: IpAddr, port: u16) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn serve(
    scope: &Scope,
    name: &'static str,
    router: tonic::transport::server::Router,
    incoming: Incoming,
    failed: mpsc::Sender<String>,
) {
    scope.spawn(name, async move {
        let reason = match router.serve_with_incoming(incoming).await {
            Ok(()) => "it ended".to_owned(),
            Err(error) => error.to_string(),
        };
        if failed.send(format!("{name}: {reason}")).await.is_err() {
            tracing::debug!(name, reason, "a server ended as the control plane did");
        }
    });
}

/// The certificate that the control plane shows to proxies.
struct OwnCertificate {
    authority: Arc<CertificateAuthority>,
    settings: ControlSettings,
}

impl OwnCertificate {
    fn issue(&self, now: SystemTime) -> Result<TlsServer, StartError> {
        let trust_domain = self.authority.trust_domain();
        let id = SpiffeId::of_service_account(trust_domain, &namespace(), &account());
        let names: Vec<&str> = OWN_NAMES
            .into_iter()
            .chain(self.settings.dns_names.iter().map(String::as_str))
            .collect();
        let svid = self
            .authority
            .server_certificate(&id, &names, &[self.settings.address], now)
            .map_err(|source| StartError::OwnCertificate(Box::new(source)))?;
        let bundles = TrustBundles::single(trust_domain.clone(), self.authority.roots().clone());
        let mut tls = ServerTls::with_certificate(Arc::clone(svid.certificate()));
        tls.alpn = vec![b"h2".to_vec()];
        // Workloads that renew show a certificate; those that join have none yet.
        tls.client_certificate =
            ClientCertificate::Optional(Trust::Spiffe { bundles, allowed: Vec::new() });
        Ok(tls.build()?)
    }

    async fn keep_renewed(self, tls: watch::Sender<Arc<TlsServer>>) {
        loop {
            time::sleep(OWN_CERTIFICATE_RENEWAL).await;
            match self.issue(iako_rt::clock::wall()) {
                Ok(server) => {
                    tls.send_replace(Arc::new(server));
                }
                Err(error) => tracing::error!(%error, "the control plane's own certificate was \
                    not renewed; the last one stays"),
            }
        }
    }
}

fn namespace() -> Namespace {
    "istio-system".parse().unwrap_or_default()
}

fn account() -> ServiceAccount {
    "istiod".parse().unwrap_or_default()
}
