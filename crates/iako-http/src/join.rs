//! Fields that stand in a head more than once and count as one, see [`KnownSet::JOINED_IN_REQUESTS`].

use bytes::BytesMut;

use crate::known::{Known, KnownSet};
use crate::scan::{Entries, Span, Travels, narrow};

/// Makes one field of all those of each name that is both repeated and joined, at the place of the
/// first. The values are copied to the end of the buffer, a comma between them.
pub(crate) fn join(
    entries: &mut Entries,
    buffer: &mut BytesMut,
    repeated: KnownSet,
    joined: KnownSet,
) {
    let mut left = repeated.both(joined);
    if left == KnownSet::default() {
        return;
    }
    while let Some(first) = entries.iter().position(|entry| is_of(entry.known, left)) {
        let known = entries.get(first).and_then(|entry| entry.known);
        let start = buffer.len();
        let mut travels = Travels::On;
        let same = entries.iter().filter(|entry| entry.known == known);
        for (place, entry) in same.enumerate() {
            if place > 0 {
                buffer.extend_from_slice(b",");
            }
            copy_within(buffer, entry.value_span());
            travels = wider(travels, entry.travels);
        }
        if let Some(entry) = entries.get_mut(first) {
            entry.value = narrow(start);
            entry.value_len = narrow(buffer.len() - start);
            entry.travels = travels;
        }
        let mut place = 0;
        entries.retain(|entry| {
            place += 1;
            place == first + 1 || entry.known != known
        });
        if let Some(known) = known {
            left.remove(known);
        }
    }
}

fn is_of(known: Option<Known>, set: KnownSet) -> bool {
    known.is_some_and(|known| set.contains(known))
}

/// What becomes of a value that holds both: secret as its most secret part, and ending here as all
/// fields that `Connection` names.
fn wider(one: Travels, other: Travels) -> Travels {
    match (one, other) {
        (Travels::EndsHere, _) | (_, Travels::EndsHere) => Travels::EndsHere,
        (Travels::Unindexed, _) | (_, Travels::Unindexed) => Travels::Unindexed,
        (Travels::On, Travels::On) => Travels::On,
    }
}

/// Appends what stands elsewhere in the buffer.
pub(crate) fn copy_within(buffer: &mut BytesMut, span: Span) {
    let start = buffer.len();
    buffer.resize(start + span.len as usize, 0);
    buffer.copy_within(span.range(), start);
}
