//! What is asked for, and what is found.

use super::balancer::BalancedEndpoint;

/// What a choice depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickRequest<'a> {
    /// The request's hash, for consistent balancing.
    pub hash: Option<u64>,
    /// Metadata of the subset that the route asks for; every instance when empty.
    pub subset: &'a [(String, String)],
    /// Metadata of subsets of which the first that serves is used in place of `subset`, where the
    /// cluster allows that.
    pub subset_fallbacks: &'a [Vec<(String, String)>],
    /// Places ([`Pick::place`]) that were tried already.
    pub excluded: &'a [u32],
    /// Priorities ([`BalancedEndpoint::priority`]) that shall not be tried again as long as another
    /// one can take requests: their load is spread over the others. Source: Envoy's retry priority
    /// `previous_priorities`.
    pub tried_priorities: &'a [u32],
}

/// A chosen instance; borrows from its balancer.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'b> {
    /// The instance.
    pub endpoint: &'b BalancedEndpoint,
    /// Its place in [`crate::Balancer::endpoints`].
    pub place: u32,
    /// What led to it, where that is worth a statistic.
    pub notes: PickNotes,
}

/// What led to a choice, for statistics; usually nothing special.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PickNotes(u16);

impl PickNotes {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// Too few instances were healthy, so that health did not count. `lb_healthy_panic`.
    pub const PANIC: Self = Self(1);
    /// It stayed in this proxy's place, as all do. `lb_zone_routing_all_directly`.
    pub const ZONE_DIRECT: Self = Self(2);
    /// It stayed in this proxy's place, as a part does. `lb_zone_routing_sampled`.
    pub const ZONE_SAMPLED: Self = Self(4);
    /// It went to another place. `lb_zone_routing_cross_zone`.
    pub const ZONE_CROSS: Self = Self(8);
    /// It went to any place, for none had room. `lb_zone_no_capacity_left`.
    pub const ZONE_NO_CAPACITY: Self = Self(16);
    /// A subset fit. `lb_subsets_selected`.
    pub const SUBSET: Self = Self(32);
    /// No subset fit, and the general fallback was used. `lb_subsets_fallback`.
    pub const SUBSET_FALLBACK: Self = Self(64);
    /// That had nobody either, and any instance was used. `lb_subsets_fallback_panic`.
    pub const SUBSET_PANIC: Self = Self(128);

    /// Whether nothing special led to the choice.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all of these did.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
