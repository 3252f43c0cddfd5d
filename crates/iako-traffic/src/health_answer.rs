//! What health checks of this proxy are answered.

use iako_types::Percent;

/// How many endpoints a cluster has, and how many of them take requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Members {
    /// All of them.
    pub all: u64,
    /// Healthy and degraded ones.
    pub usable: u64,
}

/// What a health check is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthAnswer {
    /// Healthy; nothing was asked of clusters.
    Healthy,
    /// Healthy, as its clusters are.
    ClustersHealthy,
    /// An operator took the proxy out of service.
    Failed,
    /// A cluster does not exist.
    NoCluster,
    /// A cluster has no endpoints.
    ClusterEmpty,
    /// Too few endpoints of a cluster take requests.
    ClusterUnhealthy,
}

impl HealthAnswer {
    /// Envoy's status for it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Healthy | Self::ClustersHealthy => 200,
            Self::Failed | Self::NoCluster | Self::ClusterEmpty | Self::ClusterUnhealthy => 503,
        }
    }

    /// Envoy's response code details for it.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::Healthy => "health_check_ok",
            Self::ClustersHealthy => "health_check_ok_cluster_healthy",
            Self::Failed => "health_check_failed",
            Self::NoCluster => "health_check_failed_no_cluster_found",
            Self::ClusterEmpty => "health_check_failed_cluster_empty",
            Self::ClusterUnhealthy => "health_check_failed_cluster_unhealthy",
        }
    }
}

/// Answers by clusters: each is asked, in order, for its members and the share of them that has to
/// take requests. Source: `HealthCheck.cluster_min_healthy_percentages`.
pub fn health_of_clusters(
    clusters: impl Iterator<Item = (Option<Members>, Percent)>,
) -> HealthAnswer {
    let mut answer = HealthAnswer::Healthy;
    for (members, least) in clusters {
        answer = HealthAnswer::ClustersHealthy;
        // Envoy leaves out what is behind the point.
        let least = u64::from(least.parts_per_million() / 10_000);
        match members {
            None => return HealthAnswer::NoCluster,
            Some(Members { all: 0, .. }) if least == 0 => {}
            Some(Members { all: 0, .. }) => return HealthAnswer::ClusterEmpty,
            Some(Members { all, usable }) => {
                if usable.saturating_mul(100) < all.saturating_mul(least) {
                    return HealthAnswer::ClusterUnhealthy;
                }
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All members of a cluster and those that work, and the share that has to.
    type Told = (Option<(u64, u64)>, u32);

    #[test]
    fn the_first_cluster_that_is_not_well_decides() {
        let of = |clusters: &[Told]| {
            health_of_clusters(clusters.iter().map(|(members, least)| {
                let members = members.map(|(all, usable)| Members { all, usable });
                (members, Percent::from_whole(*least).unwrap())
            }))
        };
        assert_eq!(of(&[]), HealthAnswer::Healthy);
        assert_eq!(of(&[(Some((4, 1)), 25)]), HealthAnswer::ClustersHealthy);
        assert_eq!(of(&[(Some((4, 1)), 26)]), HealthAnswer::ClusterUnhealthy);
        assert_eq!(of(&[(Some((0, 0)), 0), (None, 0)]), HealthAnswer::NoCluster);
        assert_eq!(of(&[(Some((0, 0)), 1), (None, 0)]), HealthAnswer::ClusterEmpty);
    }
}
