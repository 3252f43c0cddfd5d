//! A DNS server that answers as a case says.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::{bootstrap::WRITTEN, case::DnsReply};

/// Where it listens.
pub(crate) const PORT: u16 = 22053;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const RCODE_NO_NAME: u16 = 3;

/// A server for the names of one world.
#[derive(Debug)]
pub(crate) struct Dns {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Dns {
    /// Listens; an address that is written as that of the cases is the world's.
    pub(crate) fn start(
        address: Ipv4Addr,
        names: BTreeMap<String, Vec<DnsReply>>,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, PORT))?;
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || serve(&socket, address, &names, &stop));
        Ok(Self { address: SocketAddr::from((address, PORT)), over, thread })
    }

    pub(crate) fn finish(self) {
        self.over.store(true, Ordering::SeqCst);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(b"end", self.address).unwrap();
        self.thread.join().unwrap();
    }
}

fn serve(
    socket: &UdpSocket,
    own: Ipv4Addr,
    names: &BTreeMap<String, Vec<DnsReply>>,
    over: &AtomicBool,
) {
    let mut counts: BTreeMap<(String, u16), usize> = BTreeMap::new();
    let mut packet = [0_u8; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let Some((name, kind, question)) = question(&packet[..length]) else { continue };
        let replies = names.get(&name).map_or(&[][..], Vec::as_slice);
        let count = counts.entry((name, kind)).or_default();
        let reply = replies.get(*count).or_else(|| replies.last());
        *count += 1;
        if reply.is_some_and(|reply| reply.silent) {
            continue;
        }
        let answer = answer(&packet[..2], question, kind, reply, own);
        // Who asked may be gone.
        drop(socket.send_to(&answer, from));
    }
}

/// The name, type and bytes of the only question of a packet.
fn question(packet: &[u8]) -> Option<(String, u16, &[u8])> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = packet.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    Some((labels.join("."), kind, packet.get(12..at + 4)?))
}

fn answer(
    id: &[u8],
    question: &[u8],
    kind: u16,
    reply: Option<&DnsReply>,
    own: Ipv4Addr,
) -> Vec<u8> {
    let default = DnsReply::default();
    let code = reply.map_or(RCODE_NO_NAME, |reply| reply.rcode);
    let reply = reply.unwrap_or(&default);
    let addresses = match kind {
        TYPE_A => &reply.a,
        TYPE_AAAA => &reply.aaaa,
        _ => &Vec::new(),
    };
    let mut packet = id.to_vec();
    packet.extend_from_slice(&(0x8180 | code).to_be_bytes());
    let count = u16::try_from(addresses.len()).unwrap();
    for number in [1, count, 0, 0] {
        packet.extend_from_slice(&u16::to_be_bytes(number));
    }
    packet.extend_from_slice(question);
    for address in addresses {
        let address = if address == WRITTEN { IpAddr::V4(own) } else { address.parse().unwrap() };
        packet.extend_from_slice(&[0xc0, 12]);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&1_u16.to_be_bytes());
        packet.extend_from_slice(&reply.ttl.unwrap_or(60).to_be_bytes());
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        packet.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        packet.extend_from_slice(&bytes);
    }
    packet
}
