//! Route tables.

use std::time::Duration;

use iako_proxy_config::{
    Action, BackOff, ClusterTarget, FilterOverrides, Mirror, RetryPolicy, Route, RouteAction,
    RouteConfiguration, VirtualHost, WeightedCluster,
};

use super::{Runtime, Tune, all, set};

/// The time between tries of who does not say how long it is.
const BACK_OFF: &str = "upstream.base_retry_backoff_ms";

/// The share of tries that may be repeated.
const USE_RETRY: &str = "upstream.use_retry";

impl Tune for RouteConfiguration {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [
            self.virtual_hosts.tune(runtime),
            self.mirrors.tune(runtime),
            self.overrides.tune(runtime),
        ];
        changed.contains(&true)
    }

    fn may_change(&self, runtime: &Runtime) -> bool {
        self.virtual_hosts.iter().any(|host| host.may_change(runtime))
            || has_key(&self.mirrors)
            || self.overrides.may_change(runtime)
    }
}

impl Tune for VirtualHost {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [
            self.routes.tune(runtime),
            self.matcher.tune(runtime),
            self.mirrors.tune(runtime),
            self.cors.tune(runtime),
            self.retry.tune(runtime),
            self.overrides.tune(runtime),
        ];
        changed.contains(&true)
    }

    fn may_change(&self, runtime: &Runtime) -> bool {
        self.routes.iter().any(|route| route.may_change(runtime))
            || self.matcher.is_some()
            || self.cors.is_some()
            || has_key(&self.mirrors)
            || retry_may_change(self.retry.as_ref(), runtime)
            || self.overrides.may_change(runtime)
    }
}

impl Tune for Route {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let action = match &mut self.action {
            Action::Forward(action) => action.tune(runtime),
            Action::Redirect(_) | Action::Respond(_) => false,
        };
        let changed = [
            action,
            self.matcher.share.tune(runtime),
            self.overrides.tune(runtime),
            self.tracing.tune(runtime),
        ];
        changed.contains(&true)
    }

    fn may_change(&self, runtime: &Runtime) -> bool {
        let action = match &self.action {
            Action::Forward(action) => action.may_change(runtime),
            Action::Redirect(_) | Action::Respond(_) => false,
        };
        let has_share = self.matcher.share.as_ref().is_some_and(|share| share.key.is_some());
        action || has_share || self.overrides.may_change(runtime)
    }
}

impl Tune for RouteAction {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let target = match &mut self.target {
            ClusterTarget::Weighted(targets) => targets.tune(runtime),
            ClusterTarget::Cluster(_) | ClusterTarget::Header(_) | ClusterTarget::Tree(_) => false,
        };
        let changed =
            [target, self.mirrors.tune(runtime), self.cors.tune(runtime), self.retry.tune(runtime)];
        changed.contains(&true)
    }

    fn may_change(&self, runtime: &Runtime) -> bool {
        let weighted = matches!(self.target, ClusterTarget::Weighted(_));
        weighted
            || has_key(&self.mirrors)
            || self.cors.is_some()
            || retry_may_change(self.retry.as_ref(), runtime)
    }
}

fn has_key(mirrors: &[Mirror]) -> bool {
    mirrors.iter().any(|mirror| mirror.share.key.is_some())
}

fn retry_may_change(policy: Option<&RetryPolicy>, runtime: &Runtime) -> bool {
    policy.is_some() && [BACK_OFF, USE_RETRY].iter().any(|key| runtime.integer(key).is_some())
}

impl Tune for WeightedCluster {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let weight = self.weight_key.as_deref().and_then(|key| runtime.small(key));
        let changed = [set(&mut self.weight, weight), self.overrides.tune(runtime)];
        changed.contains(&true)
    }
}

impl Tune for Mirror {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.share.tune(runtime)
    }
}

impl Tune for RetryPolicy {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = set(&mut self.share, runtime.percent(USE_RETRY));
        if self.back_off != BackOff::default() {
            return changed;
        }
        // A time of zero would be a busy loop.
        let base = runtime.millis(BACK_OFF).map(|base| base.max(Duration::from_millis(1)));
        let back_off = base.map(|base| BackOff { base, max: base.saturating_mul(10) });
        set(&mut self.back_off, back_off) || changed
    }
}

impl Tune for FilterOverrides {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        all(self.settings.values_mut(), runtime)
    }

    fn may_change(&self, _runtime: &Runtime) -> bool {
        !self.settings.is_empty()
    }
}
