//! Parts of a scope of statistics.

use std::sync::Arc;

use super::{Place, StatsScope, exposition};

impl StatsScope {
    /// A part of this one: `http2` of `cluster.cart.` is `cluster.cart.http2.`, with the same label.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let place = Place {
            plain: format!("{}{name}.", self.place.plain),
            prometheus: format!("{}{}_", self.place.prometheus, exposition::metric_name(name)),
            labels: self.place.labels.clone(),
        };
        Self { registry: self.registry.clone(), place: Arc::new(place) }
    }

    /// A part with a name of its own: `vcluster` `all` of `vhost.a.` is `vhost.a.vcluster.all.`.
    #[must_use]
    pub fn named_part(&self, kind: &str, label: &'static str, name: &str) -> Self {
        self.told_apart(&format!("{kind}.{name}."), kind, (label, name.to_owned()))
    }

    /// The same by a number: `worker` 2 of `listener.a.` is `listener.a.worker_2.`.
    #[must_use]
    pub fn numbered_part(&self, kind: &str, label: &'static str, number: usize) -> Self {
        self.told_apart(&format!("{kind}_{number}."), kind, (label, number.to_string()))
    }

    /// A part of this one with nothing before its own name, which is a further label.
    #[must_use]
    pub fn labelled_part(&self, label: &'static str, name: &str) -> Self {
        let mut place = Place::clone(&self.place);
        place.plain.push_str(&format!("{name}."));
        place.labels.push((label, name.to_owned()));
        Self { registry: self.registry.clone(), place: Arc::new(place) }
    }

    fn told_apart(&self, plain: &str, kind: &str, own: (&'static str, String)) -> Self {
        let place = Place {
            plain: format!("{}{plain}", self.place.plain),
            prometheus: format!("{}{kind}_", self.place.prometheus),
            labels: self.place.labels.iter().cloned().chain([own]).collect(),
        };
        Self { registry: self.registry.clone(), place: Arc::new(place) }
    }
}
