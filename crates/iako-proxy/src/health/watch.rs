//! Watches over one version of a cluster: a session for each instance that is checked, and the
//! regular looks of outlier detection.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, btree_map::Entry},
    rc::Rc,
    sync::Arc,
};

use iako_rt::clock;
use iako_traffic::{EndpointState, HealthFlags};
use tokio::task::AbortHandle;

use super::{Room, session::Session};
use crate::{config_task::Event, snapshot::UpstreamCluster};

/// What the sessions of a cluster share.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) room: Rc<Room>,
    pub(super) cluster: Arc<UpstreamCluster>,
    /// First checks that are still to come before the cluster is warm; none once it was told.
    unchecked: Cell<Option<usize>>,
}

impl Watched {
    /// An instance was checked for the first time, or is gone.
    pub(super) async fn checked_first(&self) {
        let Some(left) = self.unchecked.get() else { return };
        self.unchecked.set(Some(left.saturating_sub(1)));
        self.tell_if_warm().await;
    }

    async fn tell_if_warm(&self) {
        if self.unchecked.get() == Some(0) {
            self.unchecked.set(None);
            // Nobody listens only at the end of the process.
            drop(self.room.events.send(Event::Checked { cluster: self.cluster.id }).await);
        }
    }
}

/// Sessions by the address of the instance's state, which they keep alive.
type Sessions = BTreeMap<usize, (Rc<Session>, AbortHandle)>;

/// Runs until the cluster is retired.
pub(super) async fn cluster(room: Rc<Room>, cluster: Arc<UpstreamCluster>) {
    let watched = Rc::new(Watched {
        room: Rc::clone(&room),
        cluster: Arc::clone(&cluster),
        unchecked: Cell::new(None),
    });
    let sessions = RefCell::new(Sessions::new());
    let mut next_look =
        cluster.config.outlier_detection.as_ref().map(|policy| clock::now() + policy.interval);
    let mut begun = false;
    loop {
        if cluster.is_retired() {
            break;
        }
        if cluster.config.health_check.is_some() && cluster.is_told() {
            let before = sessions.borrow().len();
            follow(&watched, &mut sessions.borrow_mut());
            if !std::mem::replace(&mut begun, true) {
                watched.unchecked.set(Some(sessions.borrow().len() - before));
                watched.tell_if_warm().await;
            }
            for state in cluster.take_accused() {
                if let Some((session, _)) = sessions.borrow().get(&key(&state)) {
                    session.accused();
                }
            }
        }
        let look = async {
            match next_look {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cluster.changed() => {}
            () = look => {
                cluster.look(clock::now(), &mut || room.draw());
                let interval = cluster.config.outlier_detection.as_ref().map(|it| it.interval);
                next_look = interval.map(|interval| clock::now() + interval);
            }
        }
    }
    for (_, (_, task)) in sessions.take() {
        task.abort();
    }
}

fn key(state: &Arc<EndpointState>) -> usize {
    Arc::as_ptr(state).addr()
}

/// Begins sessions of new instances and ends those of instances that are gone.
fn follow(watched: &Rc<Watched>, sessions: &mut Sessions) {
    let balancer = watched.cluster.balancer();
    let mut known = std::mem::take(sessions);
    for endpoint in balancer.endpoints() {
        if endpoint.endpoint.check.disabled {
            let failed = HealthFlags::FAILED_CHECK.with(HealthFlags::PENDING_CHECK);
            if endpoint.state.change_health(HealthFlags::default(), failed) {
                watched.cluster.state.health_changed();
            }
            continue;
        }
        let key = key(&endpoint.state);
        if let Some((session, task)) = known.remove(&key) {
            session.renew(endpoint);
            sessions.insert(key, (session, task));
        } else if let Entry::Vacant(place) = sessions.entry(key) {
            let session = Rc::new(Session::new(Rc::clone(watched), endpoint));
            let task = watched.room.scope.spawn("health session", Rc::clone(&session).run());
            place.insert((session, task));
        }
    }
    for (_, (session, task)) in known {
        task.abort();
        if !session.is_checked() {
            let watched = Rc::clone(watched);
            watched.room.scope.clone().spawn("health session gone", async move {
                watched.checked_first().await;
            });
        }
    }
    watched.cluster.count_members();
}
