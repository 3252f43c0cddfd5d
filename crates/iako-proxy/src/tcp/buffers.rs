//! The large buffers of a worker's relays.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

/// Bytes of a buffer: with bulk, fewer and larger steps cost less than a smaller memory saves.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;
/// Buffers that connections with slow receivers may keep at a time, 8 MiB a worker. Beyond that what
/// is left over is copied, and such connections move less at a time.
const KEPT_MAX: usize = 32;
/// Buffers without a user that a worker holds on to.
const FREE_MAX: usize = 2;

/// One worker's buffers. A relay reads into the one that all share, and keeps it only while its
/// receiver does not take what was read.
#[derive(Debug)]
pub(crate) struct Buffers {
    shared: RefCell<Box<[u8]>>,
    free: RefCell<Vec<Box<[u8]>>>,
    kept: Cell<usize>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { shared: RefCell::new(buffer()), free: RefCell::default(), kept: Cell::new(0) }
    }
}

fn buffer() -> Box<[u8]> {
    vec![0; BUFFER_BYTES].into_boxed_slice()
}

impl Buffers {
    /// Lends the buffer that all share. Loans do not nest.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut [u8]) -> T) -> T {
        use_it(&mut self.shared.borrow_mut())
    }

    /// Takes the shared buffer away, for what is in it at `place`; another takes its place. `None` when
    /// too many are away.
    pub(crate) fn keep(self: &Rc<Self>, place: Range<usize>) -> Option<Kept> {
        if self.kept.get() >= KEPT_MAX {
            return None;
        }
        self.kept.set(self.kept.get() + 1);
        let fresh = self.free.borrow_mut().pop().unwrap_or_else(buffer);
        let buffer = self.shared.replace(fresh);
        Some(Kept { buffer, place, home: Rc::clone(self) })
    }
}

/// A buffer that a relay keeps until its receiver has taken what is in it.
#[derive(Debug)]
pub(crate) struct Kept {
    buffer: Box<[u8]>,
    place: Range<usize>,
    home: Rc<Buffers>,
}

impl Kept {
    /// What was not taken yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.buffer.get(self.place.clone()).unwrap_or_default()
    }

    /// So many bytes were taken.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.place.start = self.place.start.saturating_add(bytes).min(self.place.end);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.home.kept.set(self.home.kept.get().saturating_sub(1));
        let mut free = self.home.free.borrow_mut();
        if free.len() < FREE_MAX {
            free.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_buffer_is_not_read_into_and_comes_back() {
        let buffers = Rc::new(Buffers::default());
        buffers.with(|bytes| bytes[..4].copy_from_slice(b"left"));
        let mut kept = buffers.keep(1..4).unwrap();
        buffers.with(|bytes| bytes.fill(b'x'));
        assert_eq!(kept.rest(), b"eft");
        kept.advance(2);
        assert_eq!(kept.rest(), b"t");
        kept.advance(9);
        assert!(kept.rest().is_empty());
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let buffers = Rc::new(Buffers::default());
        let mut kept: Vec<_> = (0..KEPT_MAX).map(|_| buffers.keep(0..1).unwrap()).collect();
        assert!(buffers.keep(0..1).is_none());
        kept.pop();
        assert!(buffers.keep(0..1).is_some());
    }
}
