//! A proxy's conversation with its control plane: responses and wishes in, requests out, no I/O.

mod kind;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use self::kind::Kind;
use crate::{Request, Resource, TypeUrl, Variant, Version};

/// Which resources of a type are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// All that the control plane thinks we need.
    Everything,
    /// The same, and these, which it gives only to who names them.
    EverythingAnd(BTreeSet<Arc<str>>),
    /// These. None of them is no interest.
    Names(BTreeSet<Arc<str>>),
}

/// A response, with names found and wrappings removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingResponse {
    /// The type of everything in it.
    pub type_url: TypeUrl,
    /// The version of the list.
    pub version: String,
    /// By which we answer.
    pub nonce: String,
    /// What it brings, or why it is unreadable.
    pub resources: Result<Vec<IncomingResource>, String>,
    /// Names that do not, or no longer, exist. Only delta servers say so.
    pub removed: Vec<String>,
}

/// One resource of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingResource {
    /// The resource.
    pub resource: Resource,
    /// Other names by which it may have been asked for.
    pub aliases: Vec<String>,
    /// How long it is good without another word; for ever when absent.
    pub ttl: Option<Duration>,
    /// It has no content, and only says that what it names is still good; without a [`ttl`](Self::ttl),
    /// that there is nothing of that name.
    pub is_heartbeat: bool,
}

/// What a response means for the owner; every update is answered with a [`Verdict`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The type of everything in it.
    pub type_url: TypeUrl,
    /// The version of the list, for people.
    pub version: Version,
    /// By which the verdict is given.
    pub nonce: String,
    /// New and changed resources, all of them wanted.
    pub resources: Vec<Resource>,
    /// Names that were asked for and are answered by a resource of another name.
    pub aliases: BTreeMap<Arc<str>, Arc<str>>,
    /// Resources that are good for so long only, unless another word comes; also such as are not
    /// in this update but told to be still good.
    pub lifetimes: BTreeMap<Arc<str>, Duration>,
    /// Wanted resources that do not, or no longer, exist.
    pub removed: Vec<Arc<str>>,
}

/// The owner's answer to an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is in use.
    Accepted,
    /// None of it is in use; what was there before stays.
    Rejected {
        /// Which resources and fields are wrong, for whoever runs the control plane.
        message: String,
    },
    /// All but these resources is in use.
    PartlyAccepted {
        /// The resources that are not in use.
        rejected: BTreeSet<Arc<str>>,
        /// What is wrong with them.
        message: String,
    },
}

/// What became of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The owner must look at it.
    Update(Update),
    /// It is wrong in itself and will be rejected for this reason; the owner need not know.
    Refused(String),
    /// Nobody asked for its type.
    Ignored,
}

/// The client's end of one conversation, over any number of connections.
#[derive(Debug)]
pub struct ClientStream {
    variant: Variant,
    kinds: BTreeMap<TypeUrl, Kind>,
}

impl ClientStream {
    /// A client that wants nothing yet.
    #[must_use]
    pub const fn new(variant: Variant) -> Self {
        Self { variant, kinds: BTreeMap::new() }
    }

    /// Says which resources of a type are wanted from now on.
    pub fn subscribe(&mut self, type_url: TypeUrl, interest: Interest) {
        self.kinds.entry(type_url).or_default().want(interest);
    }

    /// A new connection is open: everything is asked for again, with what we have already.
    pub fn on_connected(&mut self) {
        self.kinds.values_mut().for_each(Kind::reset);
    }

    /// Takes a response.
    pub fn on_response(&mut self, response: IncomingResponse) -> Received {
        match self.kinds.get_mut(&response.type_url) {
            Some(kind) if kind.is_announced() => kind.on_response(response, self.variant),
            _ => Received::Ignored,
        }
    }

    /// A resource is no longer in use although nobody removed it: its time is over.
    pub fn forget(&mut self, type_url: &TypeUrl, name: &str) {
        if let Some(kind) = self.kinds.get_mut(type_url) {
            kind.forget(name);
        }
    }

    /// Takes the owner's verdict on the update with this nonce. A verdict on an update of an
    /// earlier connection counts for what we have, but is not sent.
    pub fn on_verdict(&mut self, update: &Update, verdict: Verdict) {
        if let Some(kind) = self.kinds.get_mut(&update.type_url) {
            kind.on_verdict(update, verdict);
        }
    }

    /// What is to be sent next, in the order in which types depend on each other.
    pub fn next_request(&mut self) -> Option<Request> {
        let variant = self.variant;
        self.kinds.iter_mut().find_map(|(type_url, kind)| match variant {
            Variant::Delta => {
                kind.next_delta().map(|request| Request::Delta(type_url.clone(), request))
            }
            Variant::StateOfTheWorld => {
                kind.next_state().map(|request| Request::State(type_url.clone(), request))
            }
        })
    }
}
