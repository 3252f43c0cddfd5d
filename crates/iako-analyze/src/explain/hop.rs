//! A request on one of its ways.

use iako_proxy_config::HttpConnectionManager;
use iako_traffic::{
    ClientAddress, ConnectionInfo, HeaderList, Metadata, RequestFacts, RequestHead,
};

/// A request as one proxy sees it.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub(crate) method: String,
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) connection: ConnectionInfo,
    pub(crate) metadata: Metadata,
}

impl Hop {
    /// The headers as the deciding code reads them.
    pub(crate) fn header_list(&self) -> HeaderList {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
    }

    /// The head of the request; `headers` is its [`Self::header_list`].
    pub(crate) fn head<'a>(&'a self, headers: &'a HeaderList) -> RequestHead<'a> {
        RequestHead {
            method: &self.method,
            scheme: self.scheme,
            authority: &self.authority,
            path_and_query: &self.path_and_query,
            headers,
        }
    }

    /// Asks `question` about the request, as a proxy with these settings would.
    pub(crate) fn ask<R>(
        &self,
        settings: &HttpConnectionManager,
        question: impl FnOnce(&RequestFacts<'_>) -> R,
    ) -> R {
        let headers = self.header_list();
        let client = ClientAddress::resolve(settings, &self.connection, &headers);
        let facts = RequestFacts {
            head: self.head(&headers),
            connection: &self.connection,
            metadata: &self.metadata,
            client: client.client,
            internal: client.internal,
        };
        question(&facts)
    }

    /// Removes a header.
    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    /// Sets a header in place of older values.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
}
