//! Where a workload runs.

use std::{fmt, str::FromStr};

/// A place, from wide to narrow; an empty part is unknown or not used.
///
/// Written `region/zone/subzone`. Source: `envoy.config.core.v3.Locality`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// For example `eu-central-1`.
    pub region: String,
    /// For example `eu-central-1a`.
    pub zone: String,
    /// For example a rack.
    pub sub_zone: String,
}

impl Locality {
    /// Whether no part is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.sub_zone.is_empty()
    }
}

impl FromStr for Locality {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Ok(Self { region: next(), zone: next(), sub_zone: next() })
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        for part in [&self.zone, &self.sub_zone] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}
