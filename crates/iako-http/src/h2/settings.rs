//! What the two ends tell each other about themselves, and our own bounds.

use bytes::{BufMut, BytesMut};

use super::error::Violation;
use crate::limits::Limits;

/// Largest flow-control window (RFC 9113 §6.9.1).
pub(crate) const WINDOW_MAX: u32 = 0x7fff_ffff;

/// Every window before any setting or update (RFC 9113 §6.9.2).
pub(crate) const WINDOW_DEFAULT: u32 = 65_535;

/// Longest frame before any setting, and the one we announce (RFC 9113 §6.5.2).
pub(crate) const FRAME_BYTES_DEFAULT: u32 = 16_384;

const FRAME_BYTES_CEILING: u32 = 0xff_ffff;

/// Streams that we open before the peer has said how many it takes. RFC 9113 §6.5.2 advises against
/// limits below 100, so nobody refuses so many.
const STREAMS_BEFORE_SETTINGS: u32 = 100;

/// Bytes of one setting on the wire.
pub(crate) const SETTING_BYTES: usize = 6;

pub(crate) mod id {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(crate) const ENABLE_PUSH: u16 = 0x2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
}

/// The settings of a peer that are in force (RFC 9113 §6.5.2, RFC 8441 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that our encoder may keep in its table. RFC default: 4,096.
    pub header_table_bytes: u32,
    /// Streams that we may have open at once. RFC default: no limit; until the peer has spoken we
    /// take 100.
    pub concurrent_streams_max: u32,
    /// Window of a new stream towards the peer. RFC default: 65,535.
    pub initial_window_bytes: u32,
    /// Longest payload of a frame that the peer takes. RFC default: 16,384.
    pub frame_bytes_max: u32,
    /// Longest field section that the peer takes, by its own advice. RFC default: no limit.
    pub header_list_bytes_max: u32,
    /// Whether the peer takes extended CONNECT.
    pub connect_protocol: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_table_bytes: 4096,
            concurrent_streams_max: STREAMS_BEFORE_SETTINGS,
            initial_window_bytes: WINDOW_DEFAULT,
            frame_bytes_max: FRAME_BYTES_DEFAULT,
            header_list_bytes_max: u32::MAX,
            connect_protocol: false,
        }
    }
}

impl Settings {
    /// Takes one setting. The side that sent it matters for one: only servers may not send
    /// `ENABLE_PUSH` 1.
    pub(crate) fn take(&mut self, id: u16, value: u32, peer: Peer) -> Result<(), Violation> {
        match id {
            id::HEADER_TABLE_SIZE => self.header_table_bytes = value,
            id::ENABLE_PUSH if value > 1 || (value == 1 && peer == Peer::Server) => {
                return Err(Violation::Setting);
            }
            id::MAX_CONCURRENT_STREAMS => self.concurrent_streams_max = value,
            id::INITIAL_WINDOW_SIZE => {
                if value > WINDOW_MAX {
                    return Err(Violation::WindowOverflow);
                }
                self.initial_window_bytes = value;
            }
            id::MAX_FRAME_SIZE => {
                if !(FRAME_BYTES_DEFAULT..=FRAME_BYTES_CEILING).contains(&value) {
                    return Err(Violation::Setting);
                }
                self.frame_bytes_max = value;
            }
            id::MAX_HEADER_LIST_SIZE => self.header_list_bytes_max = value,
            id::ENABLE_CONNECT_PROTOCOL => {
                // Once allowed it must stay so (RFC 8441 §3).
                if value > 1 || (value == 0 && self.connect_protocol) {
                    return Err(Violation::Setting);
                }
                self.connect_protocol = value == 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a whole payload of SETTINGS, whose length is a multiple of six.
    pub(crate) fn take_all(&mut self, payload: &[u8], peer: Peer) -> Result<(), Violation> {
        let (settings, rest) = payload.as_chunks::<SETTING_BYTES>();
        if !rest.is_empty() {
            return Err(Violation::FrameSize);
        }
        for [high, low, a, b, c, d] in settings {
            self.take(
                u16::from_be_bytes([*high, *low]),
                u32::from_be_bytes([*a, *b, *c, *d]),
                peer,
            )?;
        }
        Ok(())
    }
}

/// Which side a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Client,
    Server,
}

/// What happens when a message breaks the rules of HTTP but its framing is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidMessage {
    /// The connection ends, with GOAWAY and `PROTOCOL_ERROR`. Envoy's default
    /// (`override_stream_error_on_invalid_http_message` false), which says no GOAWAY.
    CloseConnection,
    /// The stream is reset, as RFC 9113 §8.1.1 has it.
    ResetStream,
}

/// Whether extended CONNECT (RFC 8441) is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectProtocol {
    /// A request with `:protocol` is malformed.
    Refuse,
    /// Clients are told that they may.
    Accept,
}

/// Bounds of one connection. The default is Envoy's default for the same thing, where it has it;
/// names in code letters are fields of `envoy.config.core.v3.Http2ProtocolOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Limits {
    /// Bounds of one head or trailers.
    pub head: Limits,
    /// Streams of the peer at once, and of ours. `max_concurrent_streams`, default 1,024.
    pub concurrent_streams_max: u32,
    /// Window that a stream grows to while its reader keeps up and the peer waits for it.
    /// `initial_stream_window_size`, default 16 MiB.
    pub stream_window_bytes_max: u32,
    /// Window that every stream begins with; never above `stream_window_bytes_max`. Envoy begins with
    /// the largest, so that a thousand stalled streams may hold 16 GiB. Default 256 KiB: what an
    /// upload of a few megabytes needs so as not to wait for updates longer than TCP itself starts
    /// slowly.
    pub stream_window_bytes_start: u32,
    /// Content of all streams together that may wait for readers, and largest window of the
    /// connection. `initial_connection_window_size`, default 24 MiB.
    pub connection_window_bytes_max: u32,
    /// Window that the connection begins with. Default 1 MiB.
    pub connection_window_bytes_start: u32,
    /// Bytes of HPACK's table for what the peer sends. `hpack_table_size`, default 4,096.
    pub header_table_bytes: u32,
    /// Whether extended CONNECT is taken (server). `allow_connect`, default no.
    pub connect_protocol: ConnectProtocol,
    /// What becomes of malformed messages. `override_stream_error_on_invalid_http_message`.
    pub invalid_message: InvalidMessage,
    /// Frames that wait to be written. `max_outbound_frames`, default 10,000.
    pub outbound_frames_max: u32,
    /// PING, SETTINGS and RST_STREAM frames that wait to be written. `max_outbound_control_frames`,
    /// default 1,000.
    pub outbound_control_frames_max: u32,
    /// HEADERS, CONTINUATION and DATA frames in a row without content and without END_STREAM.
    /// `max_consecutive_inbound_frames_with_empty_payload`, default 1.
    pub empty_frames_max: u32,
    /// PRIORITY frames for each stream opened, and as many more.
    /// `max_inbound_priority_frames_per_stream`, default 100.
    pub priority_frames_per_stream_max: u32,
    /// WINDOW_UPDATE frames for each DATA frame sent, twice; and two for each stream opened, and five.
    /// `max_inbound_window_update_frames_per_data_frame_sent`, default 10.
    pub window_updates_per_data_frame_max: u32,
    /// SETTINGS frames, and ten more for each stream opened. Envoy's codec takes about 1,500 in all;
    /// default 1,000.
    pub settings_frames_max: u32,
    /// Streams after which the connection ends when half of them were reset early: runtime
    /// `overload.premature_reset_total_stream_count`, default 500; it ends at 250 in any case.
    pub premature_resets_of: u32,
    /// A stream that lived so long was not reset early: runtime
    /// `overload.premature_reset_min_stream_lifetime_seconds`, default 1 s.
    pub premature_reset_millis: u32,
    /// CONTINUATION frames of one field block, and one more for each 16 KiB of
    /// [`Limits::head_bytes_max`]. Envoy's codec takes 8.
    pub continuation_frames_max: u32,
    /// DATA frames below 64 bytes that wait for their readers, all streams together. A client whose are
    /// more loses its connection, of a server's streams the one with the most. Default 262,144, whose
    /// upkeep is as much as `connection_window_bytes_max`.
    pub tiny_frames_max: u32,
}

impl Default for H2Limits {
    fn default() -> Self {
        Self {
            head: Limits::default(),
            concurrent_streams_max: 1024,
            stream_window_bytes_max: 16 << 20,
            stream_window_bytes_start: 256 << 10,
            connection_window_bytes_max: 24 << 20,
            connection_window_bytes_start: 1 << 20,
            header_table_bytes: 4096,
            connect_protocol: ConnectProtocol::Refuse,
            invalid_message: InvalidMessage::CloseConnection,
            outbound_frames_max: 10_000,
            outbound_control_frames_max: 1_000,
            empty_frames_max: 1,
            priority_frames_per_stream_max: 100,
            window_updates_per_data_frame_max: 10,
            settings_frames_max: 1_000,
            premature_resets_of: 500,
            premature_reset_millis: 1_000,
            continuation_frames_max: 8,
            tiny_frames_max: 262_144,
        }
    }
}

impl H2Limits {
    /// Window that a new stream of ours begins with.
    pub(crate) fn stream_start(&self) -> u32 {
        self.stream_window_bytes_start.min(self.stream_window_bytes_max).min(WINDOW_MAX)
    }

    /// Longest field block: compressed fields are hardly ever longer than plain ones.
    pub(crate) fn block_bytes_max(&self) -> usize {
        self.head.head_bytes_max.saturating_mul(2).max(FRAME_BYTES_DEFAULT as usize)
    }

    /// CONTINUATION frames of one field block.
    pub(crate) fn continuations_max(&self) -> u32 {
        let whole = self.head.head_bytes_max / FRAME_BYTES_DEFAULT as usize;
        self.continuation_frames_max.saturating_add(u32::try_from(whole).unwrap_or(u32::MAX))
    }

    /// Appends the payload of our SETTINGS.
    pub(crate) fn write(&self, peer: Peer, out: &mut BytesMut) {
        let mut put = |id: u16, value: u32| {
            out.put_u16(id);
            out.put_u32(value);
        };
        put(id::HEADER_TABLE_SIZE, self.header_table_bytes);
        match peer {
            Peer::Client => {
                let allowed = self.connect_protocol == ConnectProtocol::Accept;
                put(id::ENABLE_CONNECT_PROTOCOL, u32::from(allowed));
                put(id::MAX_CONCURRENT_STREAMS, self.concurrent_streams_max);
            }
            Peer::Server => put(id::ENABLE_PUSH, 0),
        }
        put(id::INITIAL_WINDOW_SIZE, self.stream_start());
        put(id::MAX_HEADER_LIST_SIZE, u32::try_from(self.head.head_bytes_max).unwrap_or(u32::MAX));
    }
}
