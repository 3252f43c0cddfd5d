//! Where configuration comes from: one conversation with the control plane, one for each server
//! and type besides it, and one watch for each file.
//!
//! The configuration task says what it wants of whom; this starts what is needed for that, passes
//! wishes on, and ends what nobody needs any more.

mod file;

pub(crate) use file::watch_moves;

use std::{collections::BTreeMap, sync::Arc};

use iako_proxy_config::ConfigOrigin;
use iako_rt::Scope;
use iako_xds::Service;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{
    ads::{self, ControlPlane, Conversation},
    config_task::{Event, ResourceKind, Subscriptions, WantedOfOrigin},
    shared::Shared,
};

/// What following sources needs.
#[derive(Debug)]
pub(crate) struct SourceParts {
    pub(crate) shared: Arc<Shared>,
    /// How the control plane is reached; none without one.
    pub(crate) control_plane: Option<ControlPlane>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) subscriptions: watch::Receiver<Subscriptions>,
}

/// One conversation or watch: whom it is with, and about which kind where it is about one only.
type Key = (ConfigOrigin, Option<ResourceKind>);

/// A conversation or watch under way; it ends when this is dropped.
struct Running {
    wanted: watch::Sender<WantedOfOrigin>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows what is wanted for as long as the configuration task lives.
pub(crate) async fn follow(scope: Scope, mut parts: SourceParts) {
    let mut running: BTreeMap<Key, Running> = BTreeMap::new();
    if let Some(control_plane) = parts.control_plane.clone() {
        // It is talked to even before anything is wanted of it: being connected is of use.
        let wanted = watch::Sender::new(WantedOfOrigin::new());
        let conversation = parts.conversation(Service::Aggregated, ConfigOrigin::Ads, &wanted);
        let task = ads::start(&scope, control_plane, conversation);
        running.insert((ConfigOrigin::Ads, None), Running { wanted, task });
    }
    parts.subscriptions.mark_changed();
    while parts.subscriptions.changed().await.is_ok() {
        let wishes = split(parts.subscriptions.borrow_and_update().clone());
        running.retain(|key, one| {
            let stays = wishes.contains_key(key) || key.0 == ConfigOrigin::Ads;
            if stays {
                let wish = wishes.get(key).cloned().unwrap_or_default();
                one.wanted.send_if_modified(|current| {
                    let changed = *current != wish;
                    *current = wish;
                    changed
                });
            }
            stays
        });
        for (key, wish) in wishes {
            if !running.contains_key(&key)
                && let Some(one) = parts.start(&scope, &key, wish)
            {
                running.insert(key, one);
            }
        }
    }
}

/// Everything that is wanted, by the conversation or watch that brings it.
fn split(subscriptions: Subscriptions) -> BTreeMap<Key, WantedOfOrigin> {
    let mut wishes = BTreeMap::new();
    for (origin, wanted) in subscriptions.0 {
        if origin == ConfigOrigin::Ads {
            wishes.insert((origin, None), wanted);
            continue;
        }
        let each = wanted.into_iter().map(|(kind, wanted)| {
            ((origin.clone(), Some(kind)), WantedOfOrigin::from([(kind, wanted)]))
        });
        wishes.extend(each);
    }
    wishes
}

impl SourceParts {
    fn conversation(
        &self,
        service: Service,
        origin: ConfigOrigin,
        wanted: &watch::Sender<WantedOfOrigin>,
    ) -> Conversation {
        Conversation {
            service,
            origin,
            node: self.shared.node.node.clone(),
            events: self.events.clone(),
            wanted: wanted.subscribe(),
        }
    }

    fn start(&self, scope: &Scope, key: &Key, wish: WantedOfOrigin) -> Option<Running> {
        let wanted = watch::Sender::new(wish);
        let task = match key {
            (ConfigOrigin::Grpc(grpc), Some(kind)) => {
                let service = Service::Of(kind.type_url());
                let conversation = self.conversation(service, key.0.clone(), &wanted);
                ads::start(scope, ads::by_cluster(&self.shared, grpc), conversation)
            }
            (ConfigOrigin::File(file), Some(kind)) => {
                let watching =
                    file::watch(file.clone(), *kind, wanted.subscribe(), self.events.clone());
                scope.spawn("xds file", watching)
            }
            // Without a control plane in the bootstrap nobody can be asked.
            (ConfigOrigin::Ads, _) | (_, None) => return None,
        };
        Some(Running { wanted, task })
    }
}
