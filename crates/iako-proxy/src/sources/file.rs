//! A file that holds resources, read anew whenever another one is moved in its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use iako_proxy_config::{ConfigOrigin, FileSource};
use iako_xds::{IncomingResource, read_response};
use iako_xds_codec as xds;
use iako_xds_codec::RawResource;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{ModifyKind, RenameMode},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::config_task::{Event, Reception, ResourceKind, ResourceUpdate, Wanted, WantedOfOrigin};

/// Tells what a file holds, now and whenever it is replaced, until nobody listens.
pub(super) async fn watch(
    file: FileSource,
    kind: ResourceKind,
    mut wanted: watch::Receiver<WantedOfOrigin>,
    events: mpsc::Sender<Event>,
) {
    let moved = Arc::new(Notify::new());
    let watcher = match watch_moves(&file, Arc::clone(&moved)) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::error!(path = %file.path.display(), %error, "changes of the file are not noticed");
            None
        }
    };
    let mut told = BTreeSet::new();
    loop {
        let wish = wanted.borrow_and_update().get(&kind).cloned();
        let wish = wish.unwrap_or_else(|| Wanted::Names(BTreeSet::new()));
        if tell(&file, kind, &wish, &mut told, &events).await.is_none() {
            break;
        }
        let poll = async {
            match file.poll_interval {
                Some(every) => tokio::time::sleep(every).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = moved.notified() => {}
            () = poll => {}
            changed = wanted.changed() => if changed.is_err() { break },
        }
    }
    drop(watcher);
}

/// Watches the directory of the file, or the one that the source names.
pub(crate) fn watch_moves(
    file: &FileSource,
    moved: Arc<Notify>,
) -> notify::Result<RecommendedWatcher> {
    let (directory, only) = match &file.watched_directory {
        Some(directory) => (directory.clone(), None),
        None => (directory_of(&file.path), file.path.file_name().map(ToOwned::to_owned)),
    };
    let writes = file.watch_modify;
    let heard = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        // A move within the directory is told once more as a whole, which is not looked at.
        let is_move = matches!(
            event.kind,
            EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Any))
        );
        let is_write = writes && matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        let named = only.is_none()
            || event.paths.last().is_some_and(|path| path.file_name() == only.as_deref());
        if (is_move || is_write) && named {
            moved.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(heard)?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn directory_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Reads the file and tells what it holds of what is wanted; none when nobody listens any more.
async fn tell(
    file: &FileSource,
    kind: ResourceKind,
    wish: &Wanted,
    told: &mut BTreeSet<String>,
    events: &mpsc::Sender<Event>,
) -> Option<()> {
    let origin = ConfigOrigin::File(file.clone());
    let (version, resources) = match read(file, kind).await {
        Ok(read) => read,
        Err((reception, error)) => {
            tracing::warn!(path = %file.path.display(), error,
                "the file is refused; what it held before stays");
            return events.send(Event::Heard { kind, origin, reception }).await.ok();
        }
    };
    let reception = odd(kind, &version, &resources, wish);
    if let Some(reception) = reception {
        return events.send(Event::Heard { kind, origin, reception }).await.ok();
    }
    let is_wanted = |name: &str| match wish {
        Wanted::Everything | Wanted::EverythingAnd(_) => true,
        Wanted::Names(names) => names.contains(name),
    };
    let held: BTreeSet<String> =
        resources.iter().map(|one| one.resource.name.to_string()).collect();
    // Only of these a list is whole; in the others absence says nothing.
    let gone = if kind.type_url().is_whole_in_responses() {
        told.difference(&held).cloned().collect()
    } else {
        Vec::new()
    };
    let type_url = kind.type_url().as_str().to_owned();
    let changed = resources.into_iter().filter(|one| is_wanted(&one.resource.name)).map(|one| {
        let body = RawResource { type_url: type_url.clone(), value: one.resource.body.to_vec() };
        // A file has one version; that of a resource is for people only.
        (one.resource.name.to_string(), version.clone(), body)
    });
    let (verdict, answer) = oneshot::channel();
    let changed: Vec<_> = changed.collect();
    let update = ResourceUpdate {
        kind,
        origin,
        version: version.clone(),
        changed,
        removed: gone,
        aliases: BTreeMap::new(),
        verdict,
    };
    events.send(Event::Update(update)).await.ok()?;
    // Nobody is there who would have to hear the verdict; the task has written it down.
    answer.await.ok()?;
    *told = held;
    Some(())
}

/// Of resources that are asked for by name, a file has to hold those that are; an empty one says
/// nothing.
fn odd(
    kind: ResourceKind,
    version: &str,
    resources: &[IncomingResource],
    wish: &Wanted,
) -> Option<Reception> {
    let Wanted::Names(names) = wish else { return None };
    if kind.type_url().is_full_state() {
        return None;
    }
    if resources.is_empty() {
        return Some(Reception::Empty(version.to_owned()));
    }
    let wanted = |one: &IncomingResource| names.contains(&*one.resource.name);
    if resources.iter().any(wanted) {
        return None;
    }
    tracing::warn!(?kind, ?names, "the file holds none of the resources that are asked for");
    Some(Reception::Refused)
}

/// The version and the resources of a file, or how it counts and why.
async fn read(
    file: &FileSource,
    kind: ResourceKind,
) -> Result<(String, Vec<IncomingResource>), (Reception, String)> {
    let failed = |error: String| (Reception::Failed, error);
    let refused = |error: String| (Reception::Refused, error);
    let content = tokio::fs::read(&file.path).await.map_err(|error| failed(error.to_string()))?;
    let mut response = xds::discovery_response(&file.path, &content).map_err(failed)?;
    // A file need not say what its resources say already.
    if response.type_url.is_empty() {
        kind.type_url().as_str().clone_into(&mut response.type_url);
    }
    if response.type_url != kind.type_url().as_str() {
        let problem = format!("it holds {}, not {}", response.type_url, kind.type_url());
        return Err(refused(problem));
    }
    let version = response.version_info.clone();
    let resources = read_response(response).resources.map_err(refused)?;
    let mut names = BTreeSet::new();
    if let Some(twice) = resources.iter().find(|one| !names.insert(&one.resource.name)) {
        return Err(refused(format!("the resource {} is there twice", twice.resource.name)));
    }
    Ok((version, resources))
}
