//! What two processes of one proxy say to each other: JSON in packets of a Unix socket, with file
//! descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg, socket_with, sockopt,
    },
    process::geteuid,
};
use serde_json::{Value, json};
use tokio::{io::Interest, net::UnixDatagram};

use super::MeetingPlace;

/// Version of the conversation. A process refuses one that speaks another.
pub(super) const VERSION: u64 = 1;
/// Time for an answer of a process that works.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Sockets in one packet; the system allows 253.
pub(super) const SOCKETS_MAX: usize = 64;
/// Numbers in one packet.
pub(super) const NUMBERS_MAX: usize = 128;
/// Bytes of a packet. Names of statistics are below 400 bytes in all that is known; a packet of them that
/// is too long is left out.
const PACKET_BYTES_MAX: usize = 128 * 1024;
/// Processes that may wait to be heard.
const BACKLOG: i32 = 8;

/// What one process tells the other.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// The new process is there.
    Hello {
        /// What it speaks.
        version: u64,
    },
    /// The old one answers.
    Welcome {
        /// How many processes came before it.
        epoch: u32,
    },
    /// The old one takes no successor now.
    Refused {
        /// Why.
        reason: String,
    },
    /// The new one asks for the sockets of this name.
    Lend(String),
    /// They are beside this packet, and others in further packets.
    Lent {
        /// Whether further packets follow.
        more: bool,
    },
    /// The new one serves from now on.
    TakeOver,
    /// The old one accepts no more.
    TakenOver,
    /// What the old one counted since it told last.
    Numbers(Numbers),
}

/// Differences of statistics since the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Of counters.
    pub(super) counters: Vec<(String, u64)>,
    /// Of gauges that add up over processes.
    pub(super) gauges: Vec<(String, i64)>,
    /// Connections that are left.
    pub(super) connections: u64,
}

impl Word {
    fn to_json(&self) -> Value {
        match self {
            Self::Hello { version } => json!({"say": "hello", "version": version}),
            Self::Welcome { epoch } => json!({"say": "welcome", "epoch": epoch}),
            Self::Refused { reason } => json!({"say": "refused", "reason": reason}),
            Self::Lend(name) => json!({"say": "lend", "name": name}),
            Self::Lent { more } => json!({"say": "lent", "more": more}),
            Self::TakeOver => json!({"say": "take over"}),
            Self::TakenOver => json!({"say": "taken over"}),
            Self::Numbers(Numbers { counters, gauges, connections }) => json!({
                "say": "numbers",
                "counters": counters,
                "gauges": gauges,
                "connections": connections,
            }),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |field: &str| value.get(field)?.as_u64();
        let text = |field: &str| Some(value.get(field)?.as_str()?.to_owned());
        Some(match value.get("say")?.as_str()? {
            "hello" => Self::Hello { version: number("version")? },
            "welcome" => Self::Welcome { epoch: u32::try_from(number("epoch")?).ok()? },
            "refused" => Self::Refused { reason: text("reason")? },
            "lend" => Self::Lend(text("name")?),
            "lent" => Self::Lent { more: value.get("more")?.as_bool()? },
            "take over" => Self::TakeOver,
            "taken over" => Self::TakenOver,
            "numbers" => Self::Numbers(Numbers {
                counters: pairs(value.get("counters")?, Value::as_u64)?,
                gauges: pairs(value.get("gauges")?, Value::as_i64)?,
                connections: number("connections")?,
            }),
            _ => return None,
        })
    }
}

fn pairs<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<(String, T)>> {
    let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), read(pair.get(1)?)?));
    value.as_array()?.iter().map(pair).collect()
}

/// A conversation with one other process.
#[derive(Debug)]
pub(super) struct Line(UnixDatagram);

impl Line {
    /// Calls the process at a place; none where nobody is.
    pub(super) fn call(place: &MeetingPlace) -> io::Result<Option<Self>> {
        let socket = new_socket()?;
        match connect(&socket, &address_of(place)?) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Self::of_own_user(socket).map(Some)
    }

    /// Refuses to talk to a process of another user.
    fn of_own_user(socket: OwnedFd) -> io::Result<Self> {
        let other = sockopt::socket_peercred(&socket)?.uid;
        if other != geteuid() {
            let text = format!("a process of another user (id {other})");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Self(registered(socket)?))
    }

    pub(super) async fn say(&self, word: &Word) -> io::Result<()> {
        self.hand(word, &[]).await
    }

    /// Says something, with sockets beside it.
    pub(super) async fn hand(&self, word: &Word, sockets: &[OwnedFd]) -> io::Result<()> {
        let packet = word.to_json().to_string();
        let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let send = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&sockets)) {
                return Err(io::Error::other("too many sockets for one packet"));
            }
            let packet = [IoSlice::new(packet.as_bytes())];
            Ok(sendmsg(&self.0, &packet, &mut beside, SendFlags::NOSIGNAL)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// What the other one says next; an error when it is gone. Cancellation safe.
    pub(super) async fn hear(&self) -> io::Result<(Word, Vec<OwnedFd>)> {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let mut sockets = Vec::new();
        let length = self
            .0
            .async_io(Interest::READABLE, || receive(&self.0, &mut packet, &mut sockets))
            .await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let strange = || io::Error::new(io::ErrorKind::InvalidData, "not a word of this protocol");
        let value = serde_json::from_slice(packet.get(..length).unwrap_or_default())?;
        Ok((Word::from_json(&value).ok_or_else(strange)?, sockets))
    }

    /// The same, of a process that works.
    pub(super) async fn hear_soon(&self) -> io::Result<(Word, Vec<OwnedFd>)> {
        tokio::time::timeout(ANSWER_TIME, self.hear()).await?
    }
}

fn receive(
    socket: &UnixDatagram,
    packet: &mut [u8],
    sockets: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut packet = [IoSliceMut::new(packet)];
    let received = recvmsg(socket, &mut packet, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet that is too long"));
    }
    Ok(received.bytes)
}

/// Where calls are taken.
#[derive(Debug)]
pub(super) struct Porch(UnixDatagram);

impl Porch {
    /// Listens at a place where nobody is. A file that an ended process left there is replaced.
    pub(super) fn open(place: &MeetingPlace) -> io::Result<Self> {
        let MeetingPlace::Path(path) = place else { return Self::bound(place) };
        // Who looks, removes and binds does so alone: two processes that start at once would
        // remove each other's socket.
        let lock = std::fs::File::create(path.with_added_extension("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        if Line::call(place)?.is_some() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        match std::fs::symlink_metadata(path) {
            Ok(file) if is_socket(&file) => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_absent) => {}
        }
        Self::bound(place)
    }

    fn bound(place: &MeetingPlace) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let socket = new_socket()?;
        bind(&socket, &address_of(place)?)?;
        if let MeetingPlace::Path(path) = place {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        }
        listen(&socket, BACKLOG)?;
        Self::of(socket)
    }

    /// One that another process listens at, too.
    pub(super) fn of(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(registered(socket)?))
    }

    /// The next process of this user that calls. Cancellation safe.
    pub(super) async fn answer(&self) -> io::Result<Line> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = || Ok(accept_with(&self.0, flags)?);
        Line::of_own_user(self.0.async_io(Interest::READABLE, accept).await?)
    }

    /// The socket itself, for who comes next.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}

fn is_socket(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    file.file_type().is_socket()
}

/// Joins a socket to the event queue. Its kind differs from that of the type, which only asks the system to
/// tell when something can be done.
fn registered(socket: OwnedFd) -> io::Result<UnixDatagram> {
    UnixDatagram::from_std(socket.into())
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn address_of(place: &MeetingPlace) -> io::Result<SocketAddrUnix> {
    Ok(match place {
        MeetingPlace::Path(path) => SocketAddrUnix::new(path.as_path())?,
        MeetingPlace::Name(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_understood_as_it_was_said() {
        let numbers = Numbers {
            counters: vec![("cluster.a.upstream_rq_total".to_owned(), u64::MAX >> 1)],
            gauges: vec![("http.in.downstream_cx_active".to_owned(), -3)],
            connections: 7,
        };
        for word in [
            Word::Hello { version: VERSION },
            Word::Welcome { epoch: 3 },
            Word::Refused { reason: "\"no\"".to_owned() },
            Word::Lend("tcp 127.0.0.1:80".to_owned()),
            Word::Lent { more: true },
            Word::TakeOver,
            Word::TakenOver,
            Word::Numbers(numbers),
        ] {
            assert_eq!(Word::from_json(&word.to_json()), Some(word));
        }
        assert_eq!(Word::from_json(&json!({"say": "dance"})), None);
        assert_eq!(Word::from_json(&json!({"say": "welcome", "epoch": -1})), None);
    }

    #[tokio::test]
    async fn a_socket_that_is_handed_over_is_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let place = MeetingPlace::Path(folder.path().join("meet.sock"));
        let porch = Porch::open(&place).unwrap();
        let called = Line::call(&place).unwrap().unwrap();
        let answered = porch.answer().await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        called.hand(&Word::Lent { more: false }, &[listener.into()]).await.unwrap();
        let (word, mut sockets) = answered.hear().await.unwrap();
        assert_eq!(word, Word::Lent { more: false });
        let copy = std::net::TcpListener::from(sockets.pop().unwrap());
        assert_eq!(copy.local_addr().unwrap(), address);
        drop(called);
        let gone = answered.hear().await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_place_belongs_to_one_process_and_is_free_when_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meet.sock");
        let name = format!("iako-test-{}", path.display());
        for place in [MeetingPlace::Path(path), MeetingPlace::Name(name)] {
            assert!(Line::call(&place).unwrap().is_none());
            let porch = Porch::open(&place).unwrap();
            assert_eq!(Porch::open(&place).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(porch);
            assert!(Line::call(&place).unwrap().is_none());
            drop(Porch::open(&place).unwrap());
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "text").unwrap();
        let error = Porch::open(&MeetingPlace::Path(path.clone())).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "text");
    }
}
