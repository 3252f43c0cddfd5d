//! Protocols that pass through as bytes.

/// A protocol that is not read: bytes pass untouched, and when the first of them came is all that is
/// counted. Source: `envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy` and those beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpaqueProtocol {
    /// Which.
    pub kind: OpaqueKind,
    /// Between the protocol's name and the names of its statistics.
    pub stat_prefix: String,
}

/// A protocol that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpaqueKind {
    /// MongoDB's.
    Mongo,
    /// MySQL's. Source: `envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy`.
    Mysql,
    /// PostgreSQL's. Source:
    /// `envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy`.
    Postgres,
    /// Redis's. The last step of a chain, whose [`Terminal::Tcp`](crate::Terminal::Tcp) then carries
    /// connections to the cluster of all keys. Source:
    /// `envoy.extensions.filters.network.redis_proxy.v3.RedisProxy`.
    Redis,
}

impl OpaqueKind {
    /// Its name in statistics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mongo => "mongo",
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}
