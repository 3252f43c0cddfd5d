//! Istio's names of clusters, server names and routes, which tools and people rely on.

use iako_types::Hostname;

/// Traffic for destinations that no registry knows, sent to where the client meant it to go.
pub(crate) const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Traffic that is refused.
pub(crate) const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Captured traffic for ports that no service names.
pub(crate) const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// The route table of the explicit HTTP proxy.
pub(crate) const HTTP_PROXY_ROUTES: &str = "http_proxy";
/// The secret with the workload's own certificate and key.
pub(crate) const IDENTITY_SECRET: &str = "default";
/// The secret with the roots of the mesh.
pub(crate) const ROOTS_SECRET: &str = "ROOTCA";

/// The cluster of a service port, or of a subset of it: `outbound|80|v1|cart.shop.svc.cluster.local`.
#[must_use]
pub fn outbound_cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// The server name that the mesh's clients send: `outbound_.80_.v1_.cart.shop.svc.cluster.local`.
pub(crate) fn outbound_sni(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// The cluster of a port of the local application: `inbound|8080||`.
#[must_use]
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// Parts of an outbound cluster's name: port, subset, host.
#[must_use]
pub fn parse_outbound_cluster(name: &str) -> Option<(u16, &str, &str)> {
    let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
    Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}

/// The names under which a client in `client_namespace` may ask for a service.
///
/// The full name and its forms without the domain; inside the service's own namespace the bare
/// name too. A name outside of the cluster's domain has no short forms.
pub(crate) fn host_aliases(
    host: &Hostname,
    client_namespace: &str,
    cluster_domain: &str,
) -> Vec<String> {
    let full = host.as_str();
    let mut names = vec![full.to_owned()];
    let suffix = format!(".svc.{cluster_domain}");
    let Some(stem) = full.strip_suffix(&suffix) else { return names };
    names.push(format!("{full}."));
    names.push(stem.to_owned());
    names.push(format!("{stem}.svc"));
    if let Some((name, namespace)) = stem.rsplit_once('.')
        && namespace == client_namespace
    {
        names.push(name.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_short_names_near_by() {
        let host: Hostname = "cart.shop.svc.cluster.local".parse().unwrap();
        let near = host_aliases(&host, "shop", "cluster.local");
        assert!(near.contains(&"cart".to_owned()) && near.contains(&"cart.shop.svc".to_owned()));
        let far = host_aliases(&host, "bank", "cluster.local");
        assert!(!far.contains(&"cart".to_owned()) && far.contains(&"cart.shop".to_owned()));
        let outside: Hostname = "api.example.com".parse().unwrap();
        assert_eq!(host_aliases(&outside, "shop", "cluster.local"), ["api.example.com"]);
    }
}
