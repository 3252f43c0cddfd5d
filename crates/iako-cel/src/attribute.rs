//! What expressions can ask about, by Envoy's names.
//!
//! Source: Envoy "Attributes".

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::Value;

macro_rules! roots {
    ($($name:literal $variant:ident $doc:literal;)*) => {
        /// The names that stand at the beginning of attributes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Root { $(#[doc = $doc] $variant,)* }

        impl Root {
            /// The root of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

roots! {
    "request" Request "The request.";
    "response" Response "The response.";
    "connection" Connection "The client's connection.";
    "upstream" Upstream "The last try to reach a server.";
    "source" Source "The client's address.";
    "destination" Destination "The address that the client reached.";
    "metadata" Metadata "What filters left.";
    "filter_state" FilterState "Objects of filters.";
    "upstream_filter_state" UpstreamFilterState "Objects of filters of the upstream's connection.";
    "xds" Xds "The configuration that serves the request.";
}

macro_rules! attributes {
    ($($root:ident $name:literal $variant:ident;)*) => {
        /// An attribute. Source: Envoy "Attributes".
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Attribute {
            $(#[doc = concat!("`", $name, "` of [`Root::", stringify!($root), "`].")] $variant,)*
        }

        impl Attribute {
            /// The attribute of this name below a root.
            #[must_use]
            pub fn find(root: Root, name: &str) -> Option<Self> {
                match (root, name) {
                    $((Root::$root, $name) => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name without the root's.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Under which root it stands.
            #[must_use]
            pub const fn root(self) -> Root {
                match self { $(Self::$variant => Root::$root,)* }
            }
        }
    };
}

attributes! {
    Request "path" RequestPath;
    Request "url_path" RequestUrlPath;
    Request "host" RequestHost;
    Request "scheme" RequestScheme;
    Request "method" RequestMethod;
    Request "headers" RequestHeaders;
    Request "headers_bytes" RequestHeadersBytes;
    Request "referer" RequestReferer;
    Request "useragent" RequestUserAgent;
    Request "time" RequestTime;
    Request "id" RequestId;
    Request "protocol" RequestProtocol;
    Request "query" RequestQuery;
    Request "duration" RequestDuration;
    Request "size" RequestSize;
    Request "total_size" RequestTotalSize;
    Response "code" ResponseCode;
    Response "code_details" ResponseCodeDetails;
    Response "flags" ResponseFlags;
    Response "grpc_status" ResponseGrpcStatus;
    Response "headers" ResponseHeaders;
    Response "headers_bytes" ResponseHeadersBytes;
    Response "trailers" ResponseTrailers;
    Response "size" ResponseSize;
    Response "total_size" ResponseTotalSize;
    Response "backend_latency" BackendLatency;
    Connection "id" ConnectionId;
    Connection "mtls" ConnectionMtls;
    Connection "requested_server_name" ServerName;
    Connection "tls_version" TlsVersion;
    Connection "subject_local_certificate" SubjectLocal;
    Connection "subject_peer_certificate" SubjectPeer;
    Connection "uri_san_local_certificate" UriSanLocal;
    Connection "uri_san_peer_certificate" UriSanPeer;
    Connection "dns_san_local_certificate" DnsSanLocal;
    Connection "dns_san_peer_certificate" DnsSanPeer;
    Connection "sha256_peer_certificate_digest" Sha256Peer;
    Connection "peer_certificate" PeerCertificate;
    Connection "termination_details" TerminationDetails;
    Connection "transport_failure_reason" DownstreamTransportFailure;
    Upstream "address" UpstreamAddress;
    Upstream "port" UpstreamPort;
    Upstream "local_address" UpstreamLocalAddress;
    Upstream "locality" UpstreamLocality;
    Upstream "transport_failure_reason" UpstreamTransportFailure;
    Upstream "cx_pool_ready_duration" PoolReadyDuration;
    Upstream "request_attempt_count" AttemptCount;
    Upstream "num_endpoints" NumEndpoints;
    Upstream "tls_version" UpstreamTlsVersion;
    Upstream "subject_local_certificate" UpstreamSubjectLocal;
    Upstream "subject_peer_certificate" UpstreamSubjectPeer;
    Upstream "uri_san_local_certificate" UpstreamUriSanLocal;
    Upstream "uri_san_peer_certificate" UpstreamUriSanPeer;
    Upstream "dns_san_local_certificate" UpstreamDnsSanLocal;
    Upstream "dns_san_peer_certificate" UpstreamDnsSanPeer;
    Upstream "sha256_peer_certificate_digest" UpstreamSha256Peer;
    Upstream "peer_certificate" UpstreamPeerCertificate;
    Source "address" SourceAddress;
    Source "port" SourcePort;
    Destination "address" DestinationAddress;
    Destination "port" DestinationPort;
    Xds "node" Node;
    Xds "cluster_name" ClusterName;
    Xds "cluster_metadata" ClusterMetadata;
    Xds "route_name" RouteName;
    Xds "route_metadata" RouteMetadata;
    Xds "virtual_host_name" VirtualHostName;
    Xds "virtual_host_metadata" VirtualHostMetadata;
    Xds "upstream_host_metadata" UpstreamHostMetadata;
    Xds "upstream_host_locality_metadata" LocalityMetadata;
    Xds "filter_chain_name" FilterChainName;
    Xds "listener_metadata" ListenerMetadata;
    Xds "listener_direction" ListenerDirection;
}

/// Which headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersOf {
    /// Of the request.
    Request,
    /// Of the response.
    Response,
    /// Trailers of the response.
    Trailers,
}

/// Whose metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataOf {
    /// What filters left.
    Dynamic,
    /// The cluster's.
    Cluster,
    /// The route's.
    Route,
    /// The endpoint's.
    Endpoint,
    /// The listener's.
    Listener,
    /// The virtual host's.
    VirtualHost,
}

/// Whose objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateOf {
    /// Of the client's connection and request.
    Downstream,
    /// Of the connection to the server.
    Upstream,
}

/// Who knows what expressions ask. Everything is absent unless it is told.
pub trait Facts {
    /// An attribute; an error where there is none.
    fn attribute(&self, attribute: Attribute) -> Option<Value<'_>>;

    /// The values of a header by its lower-case name, joined by commas. Pseudo-headers count.
    fn header(&self, of: HeadersOf, name: &str) -> Option<Cow<'_, str>>;

    /// All headers, each name once, the names in their order.
    fn headers(&self, of: HeadersOf) -> Vec<(String, String)> {
        let _: HeadersOf = of;
        Vec::new()
    }

    /// The facts under a namespace.
    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Json>>> {
        let _: (MetadataOf, &str) = (of, namespace);
        None
    }

    /// All namespaces.
    fn namespaces(&self, of: MetadataOf) -> Vec<String> {
        let _: MetadataOf = of;
        Vec::new()
    }

    /// An object of filters, as the text that it prints as.
    fn state(&self, of: StateOf, key: &str) -> Option<Cow<'_, str>> {
        let _: (StateOf, &str) = (of, key);
        None
    }
}
