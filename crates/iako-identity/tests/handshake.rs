//! Whom a handshake believes: real rustls on both sides, bytes carried in memory.

#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{sync::Arc, time::Duration};

use iako_identity::{
    ClientCertificate, ClientTls, Identity, IdentityError, IdentitySource, PeerError, PeerNames,
    RenewalSettings, SanMatcher, ServerTls, SigningRequest, Svid, TlsCertificate, TlsClient,
    TlsServer, TlsVersions, Trust, TrustBundle, TrustBundles, keep_renewed,
};
use iako_rt::{Rng, clock};
use iako_types::{SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const SNI: &str = "outbound_.8080_._.cart-service.shop.svc.cluster.local";

/// A root and its key.
struct Root {
    params: CertificateParams,
    key: KeyPair,
}

impl Root {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { params, key }
    }

    fn bundle(&self) -> TrustBundle {
        TrustBundle::from_pem(&self.params.self_signed(&self.key).unwrap().pem()).unwrap()
    }

    fn leaf(
        &self,
        names: &[SanType],
        edit: impl Fn(&mut CertificateParams),
    ) -> Arc<TlsCertificate> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        edit(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        Arc::new(TlsCertificate::from_pem(&leaf.pem(), &key.serialize_pem()).unwrap())
    }

    fn svid(&self, id: &str) -> Arc<TlsCertificate> {
        self.leaf(&[uri(id)], |_| {})
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn mesh(root: &Root, allowed: &[&str]) -> Trust {
    let bundles = TrustBundles::single(TrustDomain::cluster_local(), root.bundle());
    Trust::Spiffe { bundles, allowed: allowed.iter().copied().map(SanMatcher::exact_uri).collect() }
}

fn server(certificate: Arc<TlsCertificate>, clients: ClientCertificate) -> TlsServer {
    let alpn = vec![b"istio".to_vec(), b"h2".to_vec()];
    ServerTls { client_certificate: clients, alpn, ..ServerTls::with_certificate(certificate) }
        .build()
        .unwrap()
}

fn client(certificate: Option<Arc<TlsCertificate>>, trust: Trust) -> TlsClient {
    let alpn = vec![b"istio".to_vec()];
    ClientTls { certificate, alpn, ..ClientTls::believing(trust) }.build().unwrap()
}

/// Carries bytes both ways until the handshake is over or one side gives up, then lets tickets
/// through.
fn shake(
    client: &TlsClient,
    server: &TlsServer,
    sni: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = TlsClient::server_name(Some(sni), [127, 0, 0, 1].into()).unwrap();
    let mut near = ClientConnection::new(Arc::clone(client.config()), name)?;
    let mut far = ServerConnection::new(Arc::clone(server.config()))?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while near.wants_write() {
            near.write_tls(&mut wire).unwrap();
        }
        far.read_tls(&mut wire.as_slice()).unwrap();
        far.process_new_packets()?;
        wire.clear();
        while far.wants_write() {
            far.write_tls(&mut wire).unwrap();
        }
        near.read_tls(&mut wire.as_slice()).unwrap();
        near.process_new_packets()?;
    }
    assert!(!near.is_handshaking() && !far.is_handshaking());
    Ok((near, far))
}

/// Our own reason inside rustls's error.
fn reason(error: &rustls::Error) -> Option<PeerError> {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = error else {
        return None;
    };
    other.0.downcast_ref::<PeerError>().cloned()
}

#[test]
fn two_workloads_of_a_mesh_recognise_each_other_over_tls_1_3_with_a_hybrid_key_exchange() {
    let root = Root::new();
    let server = server(root.svid(CART), ClientCertificate::Required(mesh(&root, &[])));
    let client = client(Some(root.svid(WEB)), mesh(&root, &[CART]));
    let (near, far) = shake(&client, &server, SNI).unwrap();
    assert_eq!(far.server_name(), Some(SNI));
    assert_eq!(far.alpn_protocol(), Some(b"istio".as_slice()));
    assert_eq!(near.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = near.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    let now = clock::wall();
    let web = server.peer(&far, now).unwrap().unwrap();
    assert_eq!(web.spiffe_id.as_ref().unwrap().as_str(), WEB);
    assert_eq!(web.sha256_hex().len(), 64);
    assert!(web.leaf_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let cart = client.peer(&near, now).unwrap().unwrap();
    assert_eq!(cart.facts.uri_sans, [CART]);
}

#[test]
fn a_server_of_another_identity_is_refused_by_name() {
    let root = Root::new();
    let server = server(root.svid(WEB), ClientCertificate::NotRequested);
    let error = shake(&client(None, mesh(&root, &[CART])), &server, SNI).unwrap_err();
    assert!(
        matches!(reason(&error), Some(PeerError::NotExpected { presented }) if presented == WEB)
    );
}

#[test]
fn a_root_vouches_for_its_own_trust_domain_only() {
    // Both roots are believed, each for its own domain. The other domain's root signs one of ours.
    let (ours, theirs) = (Root::new(), Root::new());
    let bundles: TrustBundles = [
        (TrustDomain::cluster_local(), ours.bundle()),
        ("other".parse().unwrap(), theirs.bundle()),
    ]
    .into_iter()
    .collect();
    let trust = Trust::Spiffe { bundles, allowed: Vec::new() };
    let server = server(theirs.svid(CART), ClientCertificate::NotRequested);
    let error = shake(&client(None, trust.clone()), &server, SNI).unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    assert!(reason(&error).is_none(), "the chain fails before any name is looked at");
    let honest = self::server(theirs.svid("spiffe://other/x"), ClientCertificate::NotRequested);
    shake(&client(None, trust), &honest, SNI).unwrap();
    let error = shake(&client(None, mesh(&ours, &[])), &honest, SNI).unwrap_err();
    assert!(matches!(reason(&error), Some(PeerError::ForeignTrustDomain { .. })));
}

#[test]
fn certificates_that_break_the_rules_for_svids_are_refused() {
    let root = Root::new();
    let two = root.leaf(&[uri(CART), uri(WEB)], |_| {});
    let none = root.leaf(&[dns("cart")], |_| {});
    let signer = root.leaf(&[uri(CART)], |params| {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    });
    let half = root.leaf(&[uri(CART)], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let root_of_domain = root.svid("spiffe://cluster.local");
    for certificate in [two, none, signer, half, root_of_domain] {
        let server = server(Arc::clone(&certificate), ClientCertificate::NotRequested);
        let error = shake(&client(None, mesh(&root, &[])), &server, SNI).unwrap_err();
        let svid = matches!(reason(&error), Some(PeerError::Svid(_)));
        assert!(svid, "{:?}: {error}", certificate.facts());
    }
    let chain = iako_identity::certificates_to_pem(root.svid(CART).chain());
    let stranger = KeyPair::generate().unwrap().serialize_pem();
    assert!(Svid::from_pem(&chain, &stranger).is_err(), "a key of another certificate");
}

#[test]
fn an_expired_certificate_is_refused_in_the_handshake() {
    let root = Root::new();
    let expired = root.leaf(&[uri(CART)], |params| {
        params.not_after = (clock::wall() - Duration::from_secs(5)).into();
    });
    let server = server(expired, ClientCertificate::NotRequested);
    let error = shake(&client(None, mesh(&root, &[])), &server, SNI).unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn a_client_certificate_may_be_demanded_or_offered() {
    let root = Root::new();
    let naked = client(None, mesh(&root, &[]));
    let required = server(root.svid(CART), ClientCertificate::Required(mesh(&root, &[])));
    assert!(shake(&naked, &required, SNI).is_err());
    let optional = server(root.svid(CART), ClientCertificate::Optional(mesh(&root, &[WEB])));
    let (_, far) = shake(&naked, &optional, SNI).unwrap();
    assert_eq!(optional.peer(&far, clock::wall()).unwrap(), None);
    // What is shown must be good, also when nothing had to be shown.
    let wrong = client(Some(root.svid(CART)), mesh(&root, &[]));
    assert!(shake(&wrong, &optional, SNI).is_err());
}

#[test]
fn a_resumed_session_keeps_its_peer_and_ends_when_the_peer_has_expired() {
    let root = Root::new();
    let server = server(root.svid(CART), ClientCertificate::Required(mesh(&root, &[])));
    let soon = clock::wall() + Duration::from_secs(3600);
    let web = root.leaf(&[uri(WEB)], |params| params.not_after = soon.into());
    let client = client(Some(Arc::clone(&web)), mesh(&root, &[CART]));
    shake(&client, &server, SNI).unwrap();
    let (near, far) = shake(&client, &server, SNI).unwrap();
    assert_eq!(near.handshake_kind(), Some(HandshakeKind::Resumed));
    let peer = server.peer(&far, clock::wall()).unwrap().unwrap();
    assert_eq!(peer.facts.uri_sans, [WEB]);
    let late = server.peer(&far, soon + Duration::from_secs(1));
    assert!(matches!(late, Err(PeerError::NotValidNow)));
    // Settings built anew, as after a change of trust, do not honour old tickets.
    let rebuilt = self::server(root.svid(CART), ClientCertificate::Required(mesh(&root, &[])));
    let (near, _) = shake(&client, &rebuilt, SNI).unwrap();
    assert_ne!(near.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_gateway_shows_the_certificate_of_the_asked_name_to_clients_of_the_open_internet() {
    let root = Root::new();
    let (shop, any) =
        (root.leaf(&[dns("shop.example.com")], |_| {}), root.leaf(&[dns("*.example.com")], |_| {}));
    let gateway =
        ServerTls { certificates: vec![any, shop], ..ServerTls::with_certificate(root.svid(CART)) };
    let gateway = gateway.build().unwrap();
    let trust = Trust::Roots { bundle: root.bundle(), names: PeerNames::ServerName };
    let browser = client(None, trust);
    let (near, _) = shake(&browser, &gateway, "blog.example.com").unwrap();
    let names = browser.peer(&near, clock::wall()).unwrap().unwrap().facts.dns_sans.clone();
    assert_eq!(names, ["*.example.com"]);
    assert!(shake(&browser, &gateway, "shop.example.org").is_err());
    let listed = PeerNames::OneOf(vec![SanMatcher::exact_dns("api.example.com")]);
    let listed = client(None, Trust::Roots { bundle: root.bundle(), names: listed });
    shake(&listed, &gateway, "shop.example.org").unwrap();
    let anything = client(None, Trust::Unverified);
    shake(&anything, &server(Root::new().svid(CART), ClientCertificate::NotRequested), SNI)
        .unwrap();
}

#[test]
fn sides_without_a_common_version_do_not_talk() {
    let root = Root::new();
    let modern = ServerTls {
        versions: TlsVersions::ONLY_1_3,
        ..ServerTls::with_certificate(root.svid(CART))
    };
    let v12 = iako_identity::TlsVersion::V1_2;
    let old = ClientTls {
        versions: TlsVersions::new(v12, v12).unwrap(),
        ..ClientTls::believing(mesh(&root, &[]))
    };
    assert!(shake(&old.clone().build().unwrap(), &modern.build().unwrap(), SNI).is_err());
    let both = ServerTls::with_certificate(root.svid(CART)).build().unwrap();
    let (near, _) = shake(&old.build().unwrap(), &both, SNI).unwrap();
    assert_eq!(near.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

/// Signs whatever is asked for, for `id`.
fn issue(root: &Root, csr_pem: &str, id: &str) -> Vec<String> {
    let request = rcgen::CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(id)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let issuer = Issuer::from_params(&root.params, &root.key);
    let leaf = params.signed_by(&request.public_key, &issuer).unwrap();
    vec![leaf.pem(), iako_identity::certificates_to_pem(root.bundle().roots())]
}

#[test]
fn an_issued_certificate_is_taken_only_when_it_is_ours() {
    let (root, other) = (Root::new(), Root::new());
    let cart: SpiffeId = CART.parse().unwrap();
    let take = |elements: &[String], request: SigningRequest| {
        Identity::from_issued(elements, request.into_key(), &cart, clock::wall())
    };
    let request = || SigningRequest::generate(&cart).unwrap();
    let (good, foreign, strange) = (request(), request(), request());
    let elements = issue(&root, good.csr_pem(), CART);
    assert!(matches!(take(&elements, foreign), Err(IdentityError::Svid(_))), "another key");
    assert_eq!(take(&elements, good).unwrap().svid.id(), &cart);
    let elements = issue(&root, strange.csr_pem(), WEB);
    assert!(matches!(take(&elements, strange), Err(IdentityError::OtherIdentity { .. })));
    let unvouched = request();
    let mut elements = issue(&other, unvouched.csr_pem(), CART);
    elements[1] = iako_identity::certificates_to_pem(root.bundle().roots());
    assert!(matches!(take(&elements, unvouched), Err(IdentityError::Unverified(_))));
    assert!(matches!(take(&elements[..1], request()), Err(IdentityError::Incomplete { .. })));
}

#[tokio::test]
async fn the_first_identity_is_published_to_whoever_waits() {
    let root = Root::new();
    let source = IdentitySource::new();
    let settings = RenewalSettings { id: CART.parse().unwrap(), lifetime: Duration::from_secs(60) };
    let fetch = |csr: String, _: Duration| {
        let elements = issue(&root, &csr, CART);
        async move { Ok::<_, std::io::Error>(elements) }
    };
    let renewing = keep_renewed(&source, &settings, fetch, Rng::from_seed(1));
    let identity = tokio::select! {
        () = renewing => unreachable!("renewing never ends"),
        identity = source.first() => identity,
    };
    assert_eq!(identity.svid.id().as_str(), CART);
    assert_eq!(*source.changes().borrow(), 1);
    assert_eq!(source.renewal().failures, 0);
}
