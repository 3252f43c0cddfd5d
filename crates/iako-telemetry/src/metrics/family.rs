//! All series of one kind, and how a worker finds its own without a lock.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::series::{HttpOutcome, KeyMap, LabelText, Labels, SeriesKey};
use crate::labels::Reporter;

/// Every series of one kind: its labels, and one store for each worker that has seen it.
#[derive(Debug)]
pub(super) struct Family<S> {
    by_key: KeyMap<usize>,
    series: Vec<Series<S>>,
    series_max: usize,
}

#[derive(Debug)]
pub(super) struct Series<S> {
    pub(super) labels: LabelText,
    stores: Vec<(usize, Arc<S>)>,
}

impl<S> Series<S> {
    pub(super) fn stores(&self) -> impl Iterator<Item = &S> {
        self.stores.iter().map(|(_, store)| &**store)
    }

    /// The sum of one number over all workers.
    pub(super) fn total(&self, number: impl Fn(&S) -> &AtomicU64) -> u64 {
        self.stores().map(|store| number(store).load(Relaxed)).sum()
    }
}

/// Where a record goes: its own series, or the one for all that find no place.
pub(super) enum Found<S> {
    Own(Arc<S>),
    Overflow(Arc<S>),
}

impl<S: Default> Family<S> {
    pub(super) fn new(series_max: usize) -> Self {
        Self { by_key: KeyMap::default(), series: Vec::new(), series_max }
    }

    pub(super) fn series(&self) -> &[Series<S>] {
        &self.series
    }

    pub(super) fn find(
        &mut self,
        worker: usize,
        key: SeriesKey,
        labels: &Labels<'_>,
        outcome: HttpOutcome,
    ) -> Found<S> {
        if self.by_key.contains_key(&key) || self.by_key.len() < self.series_max {
            return Found::Own(self.store(worker, key, || LabelText::new(labels, outcome)));
        }
        Found::Overflow(self.overflow(worker, labels.reporter))
    }

    /// The series for all that find no place; it comes on top of the bound.
    pub(super) fn overflow(&mut self, worker: usize, reporter: Reporter) -> Arc<S> {
        self.store(worker, SeriesKey::overflow(reporter), || LabelText::overflow(reporter))
    }

    fn store(
        &mut self,
        worker: usize,
        key: SeriesKey,
        labels: impl FnOnce() -> LabelText,
    ) -> Arc<S> {
        let next = self.series.len();
        let index = *self.by_key.entry(key).or_insert(next);
        if index == next {
            self.series.push(Series { labels: labels(), stores: Vec::new() });
        }
        let store = Arc::default();
        let Some(series) = self.series.get_mut(index) else { return store };
        if let Some((_, present)) = series.stores.iter().find(|(owner, _)| *owner == worker) {
            return Arc::clone(present);
        }
        series.stores.push((worker, Arc::clone(&store)));
        store
    }
}

/// What one worker remembers of a family, so that it asks the shared table once a set of labels.
#[derive(Debug)]
pub(super) struct Memory<S> {
    own: RefCell<KeyMap<Arc<S>>>,
    overflow: RefCell<KeyMap<Arc<S>>>,
    /// Keys for which there was no place; there never will be, series are not removed.
    rejected: RefCell<KeyMap<()>>,
}

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self { own: RefCell::default(), overflow: RefCell::default(), rejected: RefCell::default() }
    }
}

impl<S: Default> Memory<S> {
    /// The worker's store for these labels.
    #[inline]
    pub(super) fn find(
        &self,
        worker: usize,
        family: &Mutex<Family<S>>,
        labels: &Labels<'_>,
        outcome: HttpOutcome,
    ) -> Found<S> {
        let key = SeriesKey::new(labels, outcome);
        if let Some(series) = self.own.borrow().get(&key) {
            return Found::Own(Arc::clone(series));
        }
        if !self.is_rejected(&key) {
            let found = family.lock().find(worker, key, labels, outcome);
            match &found {
                Found::Own(series) => {
                    self.own.borrow_mut().insert(key, Arc::clone(series));
                    return found;
                }
                Found::Overflow(_) => {
                    self.rejected.borrow_mut().insert(key, ());
                }
            }
        }
        Found::Overflow(self.overflow(worker, family, labels.reporter))
    }

    /// True when asking the shared table can be spared: it said no before, or it has said no so
    /// often that the answer is no longer worth a lock.
    fn is_rejected(&self, key: &SeriesKey) -> bool {
        let rejected = self.rejected.borrow();
        rejected.contains_key(key) || rejected.len() >= REJECTED_MAX
    }

    fn overflow(&self, worker: usize, family: &Mutex<Family<S>>, reporter: Reporter) -> Arc<S> {
        let key = SeriesKey::overflow(reporter);
        if let Some(series) = self.overflow.borrow().get(&key) {
            return Arc::clone(series);
        }
        let series = family.lock().overflow(worker, reporter);
        self.overflow.borrow_mut().insert(key, Arc::clone(&series));
        series
    }
}

/// Rejected keys remembered by a worker, about 64 bytes each.
const REJECTED_MAX: usize = 4_096;
