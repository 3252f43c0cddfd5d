//! Copies of listening sockets that a successor may borrow.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use parking_lot::Mutex;

/// The sockets of a proxy by what they are asked for by. Empty where no process can take over: then no
/// socket is held twice.
///
/// A copy keeps its socket open. So it goes before the socket is closed, or clients would wait in a queue
/// that nobody empties.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spares {
    kept: Option<Arc<Mutex<Copies>>>,
}

type Copies = BTreeMap<String, Vec<OwnedFd>>;

/// One entry; gone when dropped.
#[derive(Debug)]
pub(crate) struct Spare {
    of: Spares,
    name: String,
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(kept) = &self.of.kept {
            kept.lock().remove(&self.name);
        }
    }
}

impl Spares {
    /// Copies are kept.
    pub(crate) fn kept() -> Self {
        Self { kept: Some(Arc::default()) }
    }

    /// Whether copies are kept.
    pub(crate) const fn are_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Keeps copies of these sockets; `None` where none are kept, or the system gives none.
    pub(crate) fn keep<'s, S: AsFd + 's>(
        &self,
        name: &str,
        sockets: impl IntoIterator<Item = &'s S>,
    ) -> Option<Spare> {
        let kept = self.kept.as_ref()?;
        let copies = sockets.into_iter().map(|socket| socket.as_fd().try_clone_to_owned());
        match copies.collect::<io::Result<Vec<_>>>() {
            Ok(copies) => {
                kept.lock().insert(name.to_owned(), copies);
                Some(Spare { of: self.clone(), name: name.to_owned() })
            }
            Err(error) => {
                tracing::warn!(socket = name, %error, "a next process cannot take this socket over");
                None
            }
        }
    }

    /// Copies for a successor; none of a name that is not there.
    pub(crate) fn lend(&self, name: &str) -> Vec<OwnedFd> {
        let Some(kept) = &self.kept else { return Vec::new() };
        let kept = kept.lock();
        let copies = kept.get(name).into_iter().flatten().map(OwnedFd::try_clone);
        copies.collect::<io::Result<Vec<_>>>().unwrap_or_default()
    }

    /// Lets go of all of them: a successor has what it needs.
    pub(crate) fn clear(&self) {
        if let Some(kept) = &self.kept {
            kept.lock().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_lent_socket_is_the_same_one_and_goes_when_all_copies_have() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let spares = Spares::kept();
        let spare = spares.keep("tcp", [&socket]).unwrap();
        let client = TcpStream::connect(address).unwrap();
        let mut lent = spares.lend("tcp");
        let same = TcpListener::from(lent.pop().unwrap());
        drop(socket);
        assert_eq!(same.accept().unwrap().1, client.local_addr().unwrap());
        drop((spare, same));
        assert!(spares.lend("tcp").is_empty());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn nothing_is_held_twice_where_nobody_can_take_over() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Spares::default().keep("tcp", [&socket]).is_none());
    }
}
