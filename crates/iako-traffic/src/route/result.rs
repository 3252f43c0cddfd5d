//! What follows from a route for one request.

use std::borrow::Cow;

use iako_proxy_config::{
    Action, ClusterTarget, CorsPolicy, ExtAuthzRoute, ExtProcRoute, FilterOverrides,
    FilterSettings, GlobalRateLimitRoute, HeaderMutations, HeaderName, HedgePolicy, HostRewrite,
    Mirror, PathMatch, PathRewrite, Redirect, RetryPolicy, Route, RouteAction, RouteConfiguration,
    UpgradeConfig, VirtualCluster, VirtualHost, WeightedCluster,
};
use smallvec::SmallVec;

use super::{RequestHash, TimeoutRules, Timeouts, hash, redirect, table::taken_length, timeout};
use crate::{RequestFacts, RequestHead, choose_action, header_matches};

/// The route that a request takes; borrows from its table.
#[derive(Debug, Clone, Copy)]
pub struct RouteMatchResult<'t> {
    /// The whole table.
    pub configuration: &'t RouteConfiguration,
    /// The virtual host that took the request.
    pub virtual_host: &'t VirtualHost,
    /// The route.
    pub route: &'t Route,
    /// The target that was drawn, when the route has weighted ones.
    pub weighted: Option<&'t WeightedCluster>,
}

/// What becomes of the host towards an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChange<'a> {
    /// It becomes this.
    To(Cow<'a, str>),
    /// It becomes the host name of the chosen instance.
    EndpointHostname,
    /// It becomes what this text with operators gives.
    Format(&'a str),
}

impl<'t> RouteMatchResult<'t> {
    /// How the request is sent on, when the route forwards.
    #[must_use]
    pub fn forward(&self) -> Option<&'t RouteAction> {
        match &self.route.action {
            Action::Forward(action) => Some(action),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// The cluster that the request goes to; none when the route does not forward or the header
    /// that should name it is missing (Envoy: `cluster_not_found`).
    #[must_use]
    pub fn cluster<'a>(&self, facts: &RequestFacts<'a>) -> Option<Cow<'a, str>>
    where
        't: 'a,
    {
        let head = &facts.head;
        match &self.forward()?.target {
            ClusterTarget::Cluster(cluster) => Some(Cow::Borrowed(cluster)),
            ClusterTarget::Weighted(_) => {
                let target = self.weighted?;
                match &target.cluster_header {
                    None => Some(Cow::Borrowed(target.cluster.as_str())),
                    Some(name) => named_by(name, head),
                }
            }
            ClusterTarget::Header(name) => named_by(name, head),
            ClusterTarget::Tree(tree) => {
                choose_action(tree, facts).map(|cluster| Cow::Borrowed(cluster.as_str()))
            }
        }
    }

    /// The sort of requests that this one is counted with: its place among those of the virtual host,
    /// which is behind the last for requests of no sort. None where there are no sorts.
    #[must_use]
    pub fn virtual_cluster(&self, head: &RequestHead<'_>) -> Option<usize> {
        let sorts = &self.virtual_host.virtual_clusters;
        let is_of =
            |sort: &VirtualCluster| sort.headers.iter().all(|wanted| header_matches(wanted, head));
        (!sorts.is_empty()).then(|| sorts.iter().position(is_of).unwrap_or(sorts.len()))
    }

    /// Metadata that the chosen instance must have; every instance when empty.
    #[must_use]
    pub fn subset(&self) -> &'t [(String, String)] {
        let own = self.weighted.map(|target| target.subset.as_slice());
        let route = || self.forward().map_or(&[][..], |action| &action.subset);
        own.filter(|own| !own.is_empty()).unwrap_or_else(route)
    }

    /// Whether slow tries run beside others: the route's policy, else the virtual host's.
    #[must_use]
    pub fn hedge(&self) -> HedgePolicy {
        let own = self.forward().and_then(|action| action.hedge);
        own.or(self.virtual_host.hedge).unwrap_or_default()
    }

    /// How much of the request's body is kept for another try, in bytes, where that is configured.
    #[must_use]
    pub fn body_bytes_kept_max(&self) -> Option<u64> {
        self.route.body_bytes_kept_max.or(self.virtual_host.body_bytes_kept_max)
    }

    /// Header edits in the order in which they are applied: weighted target, route, virtual host,
    /// table; with `most_specific_last` weighted target, table, virtual host, route.
    #[must_use]
    pub fn header_mutations(&self) -> SmallVec<[&'t HeaderMutations; 4]> {
        let mut levels: SmallVec<[&HeaderMutations; 4]> =
            self.weighted.map(|target| &target.headers).into_iter().collect();
        let wide = [&self.route.headers, &self.virtual_host.headers, &self.configuration.headers];
        if self.configuration.most_specific_last {
            levels.extend(wide.into_iter().rev());
        } else {
            levels.extend(wide);
        }
        levels.retain(|level| !level.is_empty());
        levels
    }

    /// The target to send upstream, query kept; none when the route does not rewrite it.
    #[must_use]
    pub fn rewritten_path(&self, path_and_query: &str) -> Option<String> {
        let rewrite = self.forward()?.path_rewrite.as_ref()?;
        let (path, rest) = cut_query(path_and_query);
        let mut out = match rewrite {
            PathRewrite::Prefix(prefix) => {
                let taken = taken_length(&self.route.matcher.path, path);
                format!("{prefix}{}", path.get(taken..).unwrap_or_default())
            }
            PathRewrite::Regex { pattern, substitution } => pattern.replace_all(path, substitution),
            PathRewrite::Full(full) => full.clone(),
            PathRewrite::Template(rewrite) => {
                let PathMatch::Template(template) = &self.route.matcher.path else { return None };
                template.rewrite(path, rewrite)?
            }
            PathRewrite::Format(_) => return None,
        };
        out.push_str(rest);
        Some(out)
    }

    /// The text with operators that becomes the path, when the route rewrites it so. The query is
    /// added to it.
    #[must_use]
    pub fn path_format(&self) -> Option<&'t str> {
        match self.forward()?.path_rewrite.as_ref()? {
            PathRewrite::Format(format) => Some(format),
            PathRewrite::Prefix(_)
            | PathRewrite::Regex { .. }
            | PathRewrite::Full(_)
            | PathRewrite::Template(_) => None,
        }
    }

    /// What becomes of the host; none when it stays as it is.
    #[must_use]
    pub fn host_change<'a>(&self, head: &RequestHead<'a>) -> Option<HostChange<'a>>
    where
        't: 'a,
    {
        let action = self.forward()?;
        if let Some(host) = self.weighted.and_then(|target| target.host_rewrite.as_deref()) {
            return Some(HostChange::To(Cow::Borrowed(host)));
        }
        match action.host_rewrite.as_ref()? {
            HostRewrite::Literal(host) => Some(HostChange::To(Cow::Borrowed(host))),
            HostRewrite::Auto => Some(HostChange::EndpointHostname),
            HostRewrite::Header(name) => {
                head.text(name.as_str()).filter(|host| !host.is_empty()).map(HostChange::To)
            }
            HostRewrite::PathRegex { pattern, substitution } => {
                let host = pattern.replace_all(head.path(), substitution);
                Some(HostChange::To(Cow::Owned(host)))
            }
            HostRewrite::Format(format) => Some(HostChange::Format(format)),
        }
    }

    /// The `location` of a redirect. `formatted_path` is what its text with operators gives, where it
    /// has one.
    #[must_use]
    pub fn redirect_location(
        &self,
        redirect: &Redirect,
        head: &RequestHead<'_>,
        formatted_path: Option<&str>,
    ) -> String {
        redirect::location(redirect, &self.route.matcher.path, head, formatted_path)
    }

    /// The `location` of an answer with a status that wants one: the request's own address. Source:
    /// RFC 9110 §10.2.2; Envoy the same.
    #[must_use]
    pub fn own_location(status: u16, head: &RequestHead<'_>) -> Option<String> {
        (status == 201 || (300..400).contains(&status)).then(|| redirect::own_location(head))
    }

    /// The cross-origin policies that count, the narrowest first: settings of the filter of this name,
    /// or, where no level has any, those of the old form. None where the route does not forward.
    #[must_use]
    pub fn cors_policies(&self, filter: &str) -> SmallVec<[&'t CorsPolicy; 4]> {
        if self.forward().is_none() {
            return SmallVec::new();
        }
        let overrides = self.overrides();
        let policy = |level: &&'t FilterOverrides| match level.settings.get(filter) {
            Some(FilterSettings::Cors(policy)) => Some(&**policy),
            Some(_) | None => None,
        };
        let own: SmallVec<[&CorsPolicy; 4]> = overrides.0.iter().filter_map(policy).collect();
        if !own.is_empty() {
            return own;
        }
        let of_route = self.forward().and_then(|action| action.cors.as_deref());
        of_route.into_iter().chain(self.virtual_host.cors.as_deref()).collect()
    }

    /// The hash for consistent balancing, and cookies made for it. `draw` makes a cookie's value.
    #[must_use]
    pub fn hash(&self, facts: &RequestFacts<'_>, draw: u64) -> RequestHash {
        let policies = self.forward().map_or(&[][..], |action| &action.hash);
        hash::of_request(policies, facts, Some(draw))
    }

    /// Settings of filters that count for this request.
    #[must_use]
    pub fn overrides(&self) -> EffectiveOverrides<'t> {
        let narrow = self.weighted.map(|target| &target.overrides);
        let wide =
            [&self.route.overrides, &self.virtual_host.overrides, &self.configuration.overrides];
        EffectiveOverrides(
            narrow.into_iter().chain(wide).filter(|level| !level.is_empty()).collect(),
        )
    }

    /// Whether an upgrade (lower case, `connect` for CONNECT) is passed on. `general` is the
    /// connection manager's list; the route's decides first.
    #[must_use]
    pub fn allows_upgrade(&self, protocol: &str, general: &[UpgradeConfig]) -> bool {
        let own = self.forward().map_or(&[][..], |action| &action.upgrades);
        let mut lists = own.iter().chain(general);
        lists.find(|upgrade| upgrade.protocol == protocol).is_some_and(|upgrade| upgrade.enabled)
    }

    /// When a failed try is repeated: the route's policy, else the virtual host's.
    #[must_use]
    pub fn retry_policy(&self) -> Option<&'t RetryPolicy> {
        self.forward()?.retry.as_ref().or(self.virtual_host.retry.as_ref())
    }

    /// The times that count for this request.
    #[must_use]
    pub fn timeouts(&self, facts: &RequestFacts<'_>, rules: TimeoutRules) -> Timeouts {
        timeout::of_request(self.forward(), self.retry_policy(), facts, rules)
    }

    /// Who gets a copy of the request: those that the route names, else the virtual host, else the
    /// table. `draw` gives a number for each who might.
    pub fn mirrors<'d>(
        &self,
        draw: &'d mut dyn FnMut() -> u64,
    ) -> impl Iterator<Item = &'t Mirror> + use<'d, 't> {
        let own = self.forward().map_or(&[][..], |action| &action.mirrors);
        let levels = [own, &self.virtual_host.mirrors, &self.configuration.mirrors];
        let mirrors = levels.into_iter().find(|level| !level.is_empty()).unwrap_or_default();
        mirrors.iter().filter(move |mirror| mirror.share.value.takes(draw()))
    }
}

/// The cluster that a header names; none when it names none.
fn named_by<'a>(name: &HeaderName, head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
    head.text(name.as_str()).filter(|cluster| !cluster.is_empty())
}

/// Path and the rest of a target, the rest with its question mark.
pub(crate) fn cut_query(path_and_query: &str) -> (&str, &str) {
    let cut = path_and_query.find(['?', '#']).unwrap_or(path_and_query.len());
    path_and_query.split_at_checked(cut).unwrap_or((path_and_query, ""))
}

/// Settings of filters from weighted target, route, virtual host and table; the narrowest counts.
#[derive(Debug, Clone, Default)]
pub struct EffectiveOverrides<'t>(SmallVec<[&'t FilterOverrides; 4]>);

impl<'t> EffectiveOverrides<'t> {
    /// Settings of a filter on each level that has some, the narrowest first.
    pub fn levels(&self, filter: &str) -> impl Iterator<Item = &'t FilterSettings> {
        self.0.iter().filter_map(move |level| level.settings.get(filter))
    }

    /// Settings of a filter by its name, in place of its own.
    #[must_use]
    pub fn settings(&self, filter: &str) -> Option<&'t FilterSettings> {
        self.0.iter().find_map(|level| level.settings.get(filter))
    }

    /// What an authorization service is told and how, the narrowest level first.
    #[must_use]
    pub fn authz(&self, filter: &str) -> SmallVec<[&'t ExtAuthzRoute; 2]> {
        let own = |settings: &'t FilterSettings| {
            if let FilterSettings::ExtAuthz(own) = settings { Some(&**own) } else { None }
        };
        self.levels(filter).filter_map(own).collect()
    }

    /// What a service that sees requests is shown otherwise here, the narrowest level first.
    #[must_use]
    pub fn processing(&self, filter: &str) -> SmallVec<[&'t ExtProcRoute; 2]> {
        let own = |settings: &'t FilterSettings| {
            if let FilterSettings::ExtProc(own) = settings { Some(&**own) } else { None }
        };
        self.levels(filter).filter_map(own).collect()
    }

    /// What a filter that counts requests at a service does otherwise here.
    #[must_use]
    pub fn global_limit(&self, filter: &str) -> Option<&'t GlobalRateLimitRoute> {
        match self.settings(filter) {
            Some(FilterSettings::GlobalRateLimit(own)) => Some(own),
            Some(_) | None => None,
        }
    }

    /// Whether the filter of this name is switched off (`Some(true)`) or on (`Some(false)`): the
    /// narrowest level that says anything about it counts. Settings switch it on.
    #[must_use]
    pub fn switches_off(&self, filter: &str) -> Option<bool> {
        self.0.iter().find_map(|level| {
            let is_off = level.disabled.contains(filter);
            (is_off || level.settings.contains_key(filter)).then_some(is_off)
        })
    }
}
