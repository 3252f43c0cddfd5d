//! Which streams of a worker hold how much, so that those can be reset that hold most.
//!
//! Nothing is counted while bytes move: where streams are tracked at all, each has an [`Account`] that knows
//! where its bytes are, and they are summed when memory is short.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use iako_proxy_config::TrackedFrom;
use iako_traffic::largest_streams;

use crate::http2::StreamPlace;

/// Accounts after which those that have ended are looked for.
const SWEEP_LEAST: usize = 64;

/// The streams of one worker; empty where none is tracked. At most twice as many as are open, and
/// [`SWEEP_LEAST`].
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: RefCell<Vec<Weak<Account>>>,
    sweep_at: Cell<usize>,
}

impl Ledger {
    /// Opens the account of a stream of a client; it is there as long as the stream is served.
    pub(crate) fn open(&self, place: StreamPlace) -> Rc<Account> {
        let account = Rc::new(Account {
            place,
            onward: RefCell::default(),
            kept: Cell::new(0),
            is_cut: Cell::new(false),
        });
        let mut accounts = self.accounts.borrow_mut();
        if accounts.len() >= self.sweep_at.get().max(SWEEP_LEAST) {
            accounts.retain(|account| account.strong_count() > 0);
            self.sweep_at.set(accounts.len().saturating_mul(2));
        }
        accounts.push(Rc::downgrade(&account));
        account
    }

    /// Resets the streams that hold most, as many as so much pressure asks for; how many it were.
    pub(crate) fn reset_largest(&self, from: TrackedFrom, pressure: f64) -> usize {
        let open: Vec<Rc<Account>> =
            self.accounts.borrow().iter().filter_map(Weak::upgrade).collect();
        let held: Vec<u64> = open.iter().map(|account| account.held()).collect();
        let chosen = largest_streams(&held, from, pressure);
        for account in chosen.iter().filter_map(|place| open.get(*place)) {
            account.cut();
        }
        chosen.len()
    }
}

/// Where the bytes of one stream are.
#[derive(Debug)]
pub(crate) struct Account {
    /// The client's stream.
    place: StreamPlace,
    /// The stream to the server that it goes on in, where that is one of HTTP/2.
    onward: RefCell<Option<StreamPlace>>,
    /// Content that filters gather, or that is kept for another try.
    kept: Cell<u64>,
    is_cut: Cell<bool>,
}

impl Account {
    /// The request goes on in this stream.
    pub(crate) fn goes_on(&self, place: Option<StreamPlace>) {
        self.onward.replace(place);
    }

    /// So much content is kept.
    pub(crate) fn keeps(&self, bytes: u64) {
        self.kept.set(bytes);
    }

    /// Whether the stream was reset because it held too much.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    fn held(&self) -> u64 {
        if self.is_cut() {
            return 0;
        }
        let onward = self.onward.borrow();
        let queued = self.place.held().saturating_add(onward.as_ref().map_or(0, StreamPlace::held));
        self.kept.get().saturating_add(queued as u64)
    }

    fn cut(&self) {
        self.is_cut.set(true);
        self.place.cut();
    }
}
