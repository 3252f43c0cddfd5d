//! Vectors that are used again: every message needs some of a usual size, all of a loop turn at once,
//! and the allocator keeps only a handful of them at hand.

use std::cell::RefCell;

/// Vectors that a thread keeps of each kind. What is more goes back to the allocator.
const KEPT_MAX: usize = 128;

/// A place of one thread for spare vectors of one kind.
pub(crate) type Spares<T> = RefCell<Vec<Vec<T>>>;

/// An empty vector with room for `usual` elements.
pub(crate) fn take<T>(spares: &Spares<T>, usual: usize) -> Vec<T> {
    spares.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(usual))
}

/// Keeps a vector for the next message, if it has the usual size.
pub(crate) fn keep<T>(spares: &Spares<T>, mut vector: Vec<T>, usual: usize) {
    if vector.capacity() != usual {
        return;
    }
    vector.clear();
    let mut spares = spares.borrow_mut();
    if spares.len() < KEPT_MAX {
        spares.push(vector);
    }
}
