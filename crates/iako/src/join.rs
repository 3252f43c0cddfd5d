//! A proxy that joins a control plane: its identity, its configuration, its life.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use iako_identity::{
    ClientTls, IdentitySource, PeerNames, RenewalSettings, SanMatcher, TlsClient, Trust,
    TrustBundle, keep_renewed,
};
use iako_proxy::{ControlPlane, Proxy, ProxyHandle, ProxySettings};
use iako_proxy_config::{AdminAddress, Bootstrap, Node};
use iako_rt::{Rng, Scope};
use iako_supervise::SidecarControl;
use iako_types::{Namespace, ServiceAccount, SpiffeId, TrustDomain};
use iako_xds::{Dialled, Variant, certificates, transport};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Channel;

use crate::{
    output,
    place::{ADMIN_PORT, HEALTH_PORT, StateDirectory},
};

/// The name that the control plane's certificate must carry. Source: Istio.
const CONTROL_NAME: &str = "istiod.istio-system.svc";
/// The DNS domain of services. Istio's default.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Where every proxy's metrics are, as people know it from Istio.
const PROMETHEUS_PORT: u16 = 15090;
/// Where metrics of application and proxy are merged in Istio; ours are the proxy's.
const MERGED_METRICS_PORT: u16 = 15020;

/// Who joins, and whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct JoinArguments {
    /// Who it is, as NAMESPACE/SERVICE-ACCOUNT
    #[arg(long = "as", value_name = "NS/SA", default_value = "default/default")]
    identity: String,
    /// The name of the instance [default: the service account]
    #[arg(long)]
    name: Option<String>,
    /// The workload that the instance belongs to [default: the name]
    #[arg(long)]
    workload: Option<String>,
    /// The address on which others reach it
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    address: IpAddr,
    /// The control plane [default: the one of --state]
    #[arg(long, env = "IAKO_CONTROL", value_name = "IP:PORT")]
    control: Option<SocketAddr>,
    /// The root certificate that vouches for the control plane [default: that of --state]
    #[arg(long, env = "IAKO_ROOT", value_name = "FILE")]
    root: Option<PathBuf>,
    /// The join token, by which it proves who it is until it has a certificate; iako token makes
    /// one [default: one made with the keys of --state]
    #[arg(long, env = "IAKO_TOKEN", value_name = "FILE")]
    token: Option<PathBuf>,
    /// The state directory of a control plane of this machine [default: the one started last]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The trust domain of its identity
    #[arg(long, default_value = "cluster.local")]
    trust_domain: String,
    /// A label of the instance; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// An annotation of the instance; repeatable
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    /// Worker threads [default: the CPUs, at most 2 for a sidecar]
    #[arg(long)]
    concurrency: Option<usize>,
    /// How long certificates are asked for, as in 24h
    #[arg(long, default_value = "24h", value_parser = crate::commands::parse_duration)]
    certificate_lifetime: Duration,
    /// Longest time that open connections have when it ends, as in 5s
    #[arg(long, default_value = "5s", value_parser = crate::commands::parse_duration)]
    drain: Duration,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, found {text}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What the proxy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JoinRole {
    /// It stands beside an application that listens at this address on these ports.
    Sidecar {
        /// The address of the application.
        app_address: IpAddr,
        /// Its ports.
        ports: Vec<u16>,
    },
    /// It stands at the edge.
    Gateway,
}

/// A proxy that has joined.
pub(crate) struct Joined {
    proxy: ProxyHandle,
    // Ends the renewal of the identity when dropped.
    _scope: Scope,
}

impl JoinArguments {
    fn account(&self) -> anyhow::Result<(Namespace, ServiceAccount)> {
        let (namespace, account) = self.identity.split_once('/').with_context(|| {
            format!("expected NAMESPACE/SERVICE-ACCOUNT, found {}", self.identity)
        })?;
        let named = |what: &str| format!("{what} of {} is not allowed", self.identity);
        Ok((
            namespace.parse().with_context(|| named("the namespace"))?,
            account.parse().with_context(|| named("the service account"))?,
        ))
    }

    /// The address on which the instance is reached.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The namespace and the name of the instance.
    pub(crate) fn full_name(&self) -> anyhow::Result<(Namespace, String)> {
        let (namespace, account) = self.account()?;
        let name = self.name.clone().unwrap_or_else(|| account.to_string());
        Ok((namespace, name))
    }

    /// Joins: obtains an identity, asks for the configuration, serves.
    pub(crate) async fn join(self, role: JoinRole) -> anyhow::Result<Joined> {
        let (namespace, account) = self.account()?;
        let trust_domain: TrustDomain =
            self.trust_domain.parse().context("the trust domain is not allowed")?;
        let id = SpiffeId::of_service_account(&trust_domain, &namespace, &account);
        let identity = Arc::new(IdentitySource::new());
        let scope = Scope::new();
        let dialler = Arc::new(self.dialler(&namespace, &account, Arc::clone(&identity))?);
        // A wrong file must be told now, not retried for ever.
        dialler.roots()?;
        dialler.token()?;
        let settings = RenewalSettings { id, lifetime: self.certificate_lifetime };
        let (source, fetcher) = (Arc::clone(&identity), Arc::clone(&dialler));
        scope.spawn("identity", async move {
            let fetch = |csr, lifetime| {
                let fetcher = Arc::clone(&fetcher);
                async move { fetcher.certificate(csr, lifetime).await }
            };
            keep_renewed(&source, &settings, fetch, Rng::from_system()).await;
        });
        let proxy = Proxy::start(self.proxy_settings(&role, identity, dialler)?)
            .await
            .context("the proxy cannot start")?;
        Ok(Joined { proxy, _scope: scope })
    }

    /// How the control plane is reached: as told, else as the state of this machine's says.
    fn dialler(
        &self,
        namespace: &Namespace,
        account: &ServiceAccount,
        identity: Arc<IdentitySource>,
    ) -> anyhow::Result<Dialler> {
        let state = || {
            StateDirectory::existing(self.state.as_deref()).context(
                "no control plane was started on this machine; name one with --control, --root \
                 and --token",
            )
        };
        let control = match self.control {
            Some(control) => control,
            None => state()?.control().context("the control plane has not started yet")?.xds,
        };
        let root = match &self.root {
            Some(root) => root.clone(),
            None => state()?.authority().join(iako_ca::ROOT_CERTIFICATE_FILE),
        };
        let token = match &self.token {
            Some(token) => token.clone(),
            None => crate::token::write(&state()?, namespace, account)?,
        };
        Ok(Dialler { control, root, token, identity })
    }

    fn proxy_settings(
        &self,
        role: &JoinRole,
        identity: Arc<IdentitySource>,
        dialler: Arc<Dialler>,
    ) -> anyhow::Result<ProxySettings> {
        // Pages for operators are for this machine only.
        let private =
            if self.address.is_loopback() { self.address } else { Ipv4Addr::LOCALHOST.into() };
        let bootstrap = Bootstrap {
            node: self.node(role)?,
            admin: Some(AdminAddress::Socket(SocketAddr::new(private, ADMIN_PORT))),
            ..Bootstrap::default()
        };
        let dial = move || -> iako_proxy::Dialling {
            let dialler = Arc::clone(&dialler);
            Box::pin(async move { dialler.configuration().await })
        };
        Ok(ProxySettings {
            concurrency: self.concurrency,
            identity: Some(identity),
            control_plane: Some(ControlPlane::new(Variant::Delta, Arc::new(dial))),
            drain_time: self.drain,
            health: Some(SocketAddr::new(self.address, HEALTH_PORT)),
            prometheus: [PROMETHEUS_PORT, MERGED_METRICS_PORT]
                .map(|port| SocketAddr::new(self.address, port))
                .to_vec(),
            log_level: Some(Arc::new(output::set_log_level)),
            ..ProxySettings::new(bootstrap)
        })
    }

    /// Who the proxy says it is. Source: the metadata of Istio's agent.
    fn node(&self, role: &JoinRole) -> anyhow::Result<Node> {
        let (namespace, account) = self.account()?;
        let (_, name) = self.full_name()?;
        let kind = match role {
            JoinRole::Sidecar { .. } => "sidecar",
            JoinRole::Gateway => "router",
        };
        let labels: BTreeMap<_, _> = self.labels.iter().cloned().collect();
        let annotations: BTreeMap<_, _> = self.annotations.iter().cloned().collect();
        let workload = self.workload.clone().unwrap_or_else(|| name.clone());
        let mut metadata = Map::new();
        let mut set = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
        set("NAME", json!(name));
        set("NAMESPACE", json!(namespace.as_str()));
        set("SERVICE_ACCOUNT", json!(account.as_str()));
        set("WORKLOAD_NAME", json!(workload));
        set("LABELS", json!(labels));
        set("ANNOTATIONS", json!(annotations));
        set("INSTANCE_IPS", json!(self.address.to_string()));
        set("INTERCEPTION_MODE", json!("NONE"));
        set("CLUSTER_ID", json!("Kubernetes"));
        set("MESH_ID", json!(self.trust_domain));
        set("IAKO_VERSION", json!(env!("CARGO_PKG_VERSION")));
        match role {
            JoinRole::Sidecar { app_address, ports } => {
                let ports: Vec<Value> =
                    ports.iter().map(|port| json!({"containerPort": port})).collect();
                set("POD_PORTS", Value::Array(ports));
                set("IAKO_APP_ADDRESS", json!(app_address.to_string()));
            }
            JoinRole::Gateway => {
                if self.address.is_loopback() {
                    set("IAKO_PORT_SHIFT", json!(8000));
                }
            }
        }
        Ok(Node {
            id: format!(
                "{kind}~{}~{name}.{namespace}~{namespace}.svc.{CLUSTER_DOMAIN}",
                self.address
            ),
            cluster: format!("{workload}.{namespace}"),
            metadata,
            ..Node::default()
        })
    }
}

/// Opens connections to the control plane.
struct Dialler {
    control: SocketAddr,
    root: PathBuf,
    token: PathBuf,
    identity: Arc<IdentitySource>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("{0}")]
    Prepare(String),
    #[error("no connection to the control plane")]
    Connect(#[source] tonic::transport::Error),
    #[error("the control plane refused")]
    Fetch(#[source] certificates::FetchError),
}

impl Dialler {
    fn roots(&self) -> anyhow::Result<TrustBundle> {
        let text = read(&self.root, "the root certificate")?;
        TrustBundle::from_pem(&text)
            .with_context(|| format!("{} holds no root certificate", self.root.display()))
    }

    fn token(&self) -> anyhow::Result<String> {
        Ok(read(&self.token, "the join token")?.trim().to_owned())
    }

    /// Our certificate, while it is good.
    fn current(&self) -> Option<Arc<iako_identity::Identity>> {
        let now = iako_rt::clock::wall();
        self.identity.current().filter(|identity| identity.svid.not_after() > now)
    }

    /// TLS settings of this moment: roots and certificate may have changed since the last one.
    fn tls(&self) -> anyhow::Result<TlsClient> {
        let names = PeerNames::OneOf(vec![SanMatcher::exact_dns(CONTROL_NAME)]);
        let trust = Trust::Roots { bundle: self.roots()?, names };
        let mut tls = ClientTls::believing(trust);
        tls.alpn = vec![b"h2".to_vec()];
        tls.certificate = self.current().map(|identity| Arc::clone(identity.svid.certificate()));
        Ok(tls.build()?)
    }

    async fn channel(&self) -> Result<Channel, CertificateError> {
        let tls = self.tls().map_err(|error| CertificateError::Prepare(format!("{error:#}")))?;
        let control = self.control;
        let dial = move || open(tls.clone(), control);
        transport::channel(CONTROL_NAME, dial).await.map_err(CertificateError::Connect)
    }

    /// Asks for a certificate: by the one that we have, else, or if that is refused, by the token.
    async fn certificate(
        &self,
        csr: String,
        lifetime: Duration,
    ) -> Result<Vec<String>, CertificateError> {
        let channel = self.channel().await?;
        if self.current().is_some() {
            let renewed = certificates::fetch(channel.clone(), None, csr.clone(), lifetime).await;
            match renewed {
                Ok(elements) => return Ok(elements),
                Err(error) => tracing::warn!(%error, "not renewed by certificate, using the token"),
            }
        }
        let token =
            self.token().map_err(|error| CertificateError::Prepare(format!("{error:#}")))?;
        certificates::fetch(channel, Some(&token), csr, lifetime)
            .await
            .map_err(CertificateError::Fetch)
    }

    /// A connection for configuration, by our certificate; waits for the first one.
    async fn configuration(&self) -> Result<Dialled, iako_xds::DialError> {
        self.identity.first().await;
        let bearer = if self.current().is_some() { None } else { Some(self.token()?) };
        Ok(Dialled { channel: self.channel().await?, bearer })
    }
}

async fn open(tls: TlsClient, control: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(control).await?;
    stream.set_nodelay(true)?;
    let name =
        TlsClient::server_name(Some(CONTROL_NAME), control.ip()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls.config())).connect(name, stream).await?;
    tls.peer(stream.get_ref().1, iako_rt::clock::wall()).map_err(io::Error::other)?;
    Ok(stream)
}

fn read(path: &Path, what: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("{what} cannot be read from {}", path.display()))
}

impl SidecarControl for Joined {
    async fn serves(&self) {
        self.proxy.ready().await;
    }

    async fn drain(&self) {
        self.proxy.shutdown().await;
    }

    async fn failed(&self) -> String {
        self.proxy.stopped().await;
        "it was told to quit".to_owned()
    }
}
