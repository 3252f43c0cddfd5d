//! What a URL asks for.

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `http`, `https`, or `tcp` for opaque bytes.
    pub(crate) scheme: Scheme,
    /// The host, lower-cased.
    pub(crate) host: String,
    /// The port, the scheme's own when none is written.
    pub(crate) port: u16,
    /// Host and port as a client sends them: the port only where it is written.
    pub(crate) authority: String,
    /// Path and query; `/` when there is none.
    pub(crate) path_and_query: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Tcp,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (scheme, default) = match scheme.to_ascii_lowercase().as_str() {
            "http" | "grpc" | "ws" => (Scheme::Http, Some(80)),
            "https" | "tls" => (Scheme::Https, Some(443)),
            "tcp" => (Scheme::Tcp, None),
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let path = path.split('#').next().unwrap_or_default();
        let path_and_query =
            if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            _ => (authority, None),
        };
        if host.is_empty() || host.contains('@') {
            return None;
        }
        Some(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: port.or(default)?,
            authority: authority.to_ascii_lowercase(),
            path_and_query,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::parse("http://Cart-service:8080/items?id=1#top").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("cart-service", 8080));
        assert_eq!(target.authority, "cart-service:8080");
        assert_eq!(target.path_and_query, "/items?id=1");
        assert_eq!(Target::parse("https://a").unwrap().port, 443);
        assert_eq!(Target::parse("http://a?b=c").unwrap().path_and_query, "/?b=c");
        assert!(Target::parse("ftp://a").is_none() && Target::parse("http://").is_none());
    }
}
