//! What is done to content while it passes: a list of steps for each direction, empty for most
//! exchanges. A step takes events and gives others; it is asked for more only when what it has was
//! taken, so that nothing piles up.

mod compress;
mod decompress;
mod throttle;

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use iako_http::{BodyEvent, Fields};

use super::filters::content::cache::Keep;
use super::filters::content::grpc_stats::CountMessages;
use super::filters::processing::pass::ProcessPass;
use super::grpc_web::{self, Coding as WebCoding};
pub(crate) use compress::{Compress, CompressedBytes};
pub(crate) use decompress::{Decompress, DecompressedBytes};
pub(crate) use throttle::{DelayUse, Delays, Throttle, ThrottleStats, TimedBucket};

/// Content that a step cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    /// That of a gRPC-Web call is no base64.
    #[error("the content is no base64")]
    NotBase64,
    /// That of a gRPC-Web call is base64 that breaks off.
    #[error("the content is base64 that breaks off")]
    CutBase64,
    /// It is not what its coding says.
    #[error("the content is not what its coding says")]
    Corrupt,
    /// Decompressed it grows beyond the allowed ratio.
    #[error("the content grows beyond the allowed ratio")]
    Inflates,
    /// The service that sees it answers the client, or failed; the answer stands beside the exchange.
    #[error("a service that sees the content ends the exchange")]
    Processed,
}

/// Where content comes from: the next event of it.
pub(crate) type Source<'s, E> = dyn FnMut(&mut Context<'_>) -> Poll<Result<BodyEvent, E>> + 's;

/// One change to content.
#[derive(Debug)]
pub(crate) enum ContentStep {
    /// Keeps what came until it is known where it goes.
    Held(VecDeque<BodyEvent>),
    /// Reads the base64 of a browser.
    WebText(WebText),
    /// Writes as a browser reads gRPC: trailers become the last part of the content.
    WebFrames(WebFrames),
    /// Compresses.
    Compress(Box<Compress>),
    /// Decompresses.
    Decompress(Box<Decompress>),
    /// Lets it pass no faster than allowed.
    Throttle(Box<Throttle>),
    /// Keeps a copy for the next request.
    Keep(Box<Keep>, Option<BodyEvent>),
    /// Counts messages of gRPC.
    CountMessages(Box<CountMessages>),
    /// Shows it to a service.
    Process(Box<ProcessPass>),
}

impl ContentStep {
    /// Takes an event; asked only after there was nothing to give.
    fn give(&mut self, event: BodyEvent) -> Result<(), ContentError> {
        match self {
            Self::Held(events) => events.push_back(event),
            Self::WebText(step) => step.give(event)?,
            Self::WebFrames(step) => step.give(event),
            Self::Compress(step) => step.give(event)?,
            Self::Decompress(step) => step.give(event),
            Self::Throttle(step) => step.give(event),
            Self::Keep(step, next) => {
                step.note(&event);
                *next = Some(event);
            }
            Self::CountMessages(step) => step.give(event),
            Self::Process(step) => step.give(event)?,
        }
        Ok(())
    }

    /// Nothing more is there for now; whether that gives it something to do.
    fn rests(&mut self) -> Result<bool, ContentError> {
        match self {
            Self::Process(step) => step.rests(),
            Self::Held(_)
            | Self::WebText(_)
            | Self::WebFrames(_)
            | Self::Compress(_)
            | Self::Decompress(_)
            | Self::Throttle(_)
            | Self::Keep(..)
            | Self::CountMessages(_) => Ok(false),
        }
    }

    /// The next event; none when it needs another one first.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<BodyEvent>, ContentError>> {
        Poll::Ready(Ok(match self {
            Self::Held(events) => events.pop_front(),
            Self::WebText(step) => step.next.take(),
            Self::WebFrames(step) => step.next.pop_front(),
            Self::Compress(step) => step.take(),
            Self::Decompress(step) => step.take()?,
            Self::Throttle(step) => return step.poll_take(context).map(Ok),
            Self::Keep(_, next) => next.take(),
            Self::CountMessages(step) => step.take(),
            Self::Process(step) => return step.poll_take(context),
        }))
    }
}

/// The steps of one direction, the first one nearest to where content comes from.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<ContentStep>);

/// What came of gathering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathered {
    /// All of it.
    Whole,
    /// More came than was asked for; what came is kept, the rest follows.
    Beyond,
}

impl Steps {
    /// Adds one behind the others.
    pub(crate) fn push(&mut self, step: ContentStep) {
        self.0.push(step);
    }

    /// The next event behind all steps.
    pub(crate) fn poll_next<E: From<ContentError>>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Source<'_, E>,
    ) -> Poll<Result<BodyEvent, E>> {
        poll_behind(&mut self.0, context, source)
    }

    /// Reads until the content is whole, or more than `bytes_max` came; the last step has to be
    /// [`ContentStep::Held`] and keeps it.
    pub(crate) fn poll_gather<E: From<ContentError>>(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: u64,
        source: &mut Source<'_, E>,
    ) -> Poll<Result<Gathered, E>> {
        let Some((ContentStep::Held(events), before)) = self.0.split_last_mut() else {
            return Poll::Ready(Ok(Gathered::Whole));
        };
        let mut bytes = bytes_of(events);
        loop {
            if bytes > bytes_max {
                return Poll::Ready(Ok(Gathered::Beyond));
            }
            let event = ready!(poll_behind(before, context, source))?;
            if let BodyEvent::Data(data) = &event {
                bytes += data.len() as u64;
            }
            let ends = matches!(event, BodyEvent::End);
            events.push_back(event);
            if ends {
                return Poll::Ready(Ok(Gathered::Whole));
            }
        }
    }

    /// Has the last step, a [`ContentStep::Process`], show what comes; ready when that was all.
    pub(crate) fn poll_feed<E: From<ContentError>>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Source<'_, E>,
    ) -> Poll<Result<(), E>> {
        let Some((ContentStep::Process(pass), before)) = self.0.split_last_mut() else {
            return Poll::Ready(Ok(()));
        };
        while pass.takes_more() {
            match poll_behind(before, context, source) {
                Poll::Ready(event) => pass.give(event?)?,
                Poll::Pending => {
                    pass.rests()?;
                    return Poll::Pending;
                }
            }
        }
        if pass.has_ended() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Has the last step, a [`ContentStep::Process`], show what is there at once; ready when nothing of
    /// it waits for an answer.
    pub(crate) fn poll_settle<E: From<ContentError>>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Source<'_, E>,
    ) -> Poll<Result<(), E>> {
        let Some((ContentStep::Process(pass), before)) = self.0.split_last_mut() else {
            return Poll::Ready(Ok(()));
        };
        while pass.is_in_burst() {
            let event = if pass.takes_more() {
                poll_behind(before, context, source)
            } else {
                Poll::Pending
            };
            match event {
                Poll::Ready(event) => pass.give(event?)?,
                Poll::Pending => {
                    pass.rests()?;
                    pass.end_burst();
                }
            }
        }
        pass.poll_settled(context).map_err(E::from)
    }

    /// Whether trailers stand behind the content that the last step keeps.
    pub(crate) fn holds_trailers(&self) -> bool {
        let is_trailers = |event: &BodyEvent| matches!(event, BodyEvent::Trailers(_));
        match self.0.last() {
            Some(ContentStep::Held(events)) => events.iter().any(is_trailers),
            Some(_) | None => false,
        }
    }

    /// Whether the last step keeps what comes.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.0.last(), Some(ContentStep::Held(_)))
    }

    /// The content that the last step keeps.
    pub(crate) fn held(&self) -> Bytes {
        match self.0.last() {
            Some(ContentStep::Held(events)) => content_of(events),
            Some(_) | None => Bytes::new(),
        }
    }

    /// Puts other content in the place of what the last step keeps.
    pub(crate) fn replace_held(&mut self, content: Bytes, gathered: Gathered) {
        if let Some(ContentStep::Held(events)) = self.0.last_mut() {
            replace(events, content, gathered);
        }
    }

    /// Bytes that the last step holds.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self.0.last() {
            Some(ContentStep::Held(events)) => bytes_of(events),
            Some(_) | None => 0,
        }
    }
}

/// The content of events, in one piece.
pub(crate) fn content_of(events: &VecDeque<BodyEvent>) -> Bytes {
    let mut content = BytesMut::new();
    for event in events {
        if let BodyEvent::Data(data) = event {
            content.extend_from_slice(data);
        }
    }
    content.freeze()
}

/// Puts other content in the place of that of events; trailers stay.
pub(crate) fn replace(events: &mut VecDeque<BodyEvent>, content: Bytes, gathered: Gathered) {
    events.retain(|event| !matches!(event, BodyEvent::Data(_)));
    if !content.is_empty() {
        events.push_front(BodyEvent::Data(content));
    }
    if gathered == Gathered::Whole && !events.iter().any(|it| matches!(it, BodyEvent::End)) {
        events.push_back(BodyEvent::End);
    }
}

fn bytes_of(events: &VecDeque<BodyEvent>) -> u64 {
    let length = |event: &BodyEvent| match event {
        BodyEvent::Data(data) => data.len() as u64,
        BodyEvent::Trailers(_) | BodyEvent::End => 0,
    };
    events.iter().map(length).sum()
}

fn poll_behind<E: From<ContentError>>(
    steps: &mut [ContentStep],
    context: &mut Context<'_>,
    source: &mut Source<'_, E>,
) -> Poll<Result<BodyEvent, E>> {
    let Some((last, before)) = steps.split_last_mut() else { return source(context) };
    loop {
        if let Some(event) = ready!(last.poll_take(context))? {
            return Poll::Ready(Ok(event));
        }
        match poll_behind(before, context, source) {
            Poll::Ready(event) => last.give(event?)?,
            Poll::Pending if last.rests()? => {}
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Reads the base64 of a browser.
#[derive(Debug, Default)]
pub(crate) struct WebText {
    decoder: grpc_web::Decoder,
    next: Option<BodyEvent>,
}

impl WebText {
    fn give(&mut self, event: BodyEvent) -> Result<(), ContentError> {
        self.next = match event {
            BodyEvent::Data(data) => {
                // Envoy counts before it reads.
                let is_cut = !self.decoder.would_be_whole(data.len());
                let wrong = if is_cut { ContentError::CutBase64 } else { ContentError::NotBase64 };
                let data = self.decoder.decode(&data).map_err(|_wrong| wrong)?;
                (!data.is_empty()).then_some(BodyEvent::Data(data))
            }
            BodyEvent::End if !self.decoder.is_whole() => return Err(ContentError::CutBase64),
            BodyEvent::Trailers(_) | BodyEvent::End => Some(event),
        };
        Ok(())
    }
}

/// Writes as a browser reads gRPC.
#[derive(Debug)]
pub(crate) struct WebFrames {
    coding: WebCoding,
    trailers: Option<Box<Fields>>,
    next: VecDeque<BodyEvent>,
}

impl WebFrames {
    /// Writes in that coding.
    pub(crate) fn new(coding: WebCoding) -> Self {
        Self { coding, trailers: None, next: VecDeque::new() }
    }

    fn give(&mut self, event: BodyEvent) {
        match event {
            BodyEvent::Data(data) => self.next.push_back(self.coded(data)),
            BodyEvent::Trailers(trailers) => self.trailers = Some(trailers),
            BodyEvent::End => {
                if let Some(trailers) = self.trailers.take() {
                    let frame = self.coded(grpc_web::trailers_frame(Some(&trailers)));
                    self.next.push_back(frame);
                }
                self.next.push_back(BodyEvent::End);
            }
        }
    }

    fn coded(&self, data: Bytes) -> BodyEvent {
        BodyEvent::Data(match self.coding {
            WebCoding::Text => grpc_web::encode(&data),
            WebCoding::Binary => data,
        })
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{BrotliMode, Coding, Compression};

    use super::*;

    const ALL: [Compression; 3] = [
        Compression::Gzip { level: 6 },
        Compression::Brotli {
            quality: 3,
            window_bits: 18,
            block_bits: 24,
            mode: BrotliMode::Generic,
            literal_contexts: true,
        },
        Compression::Zstd { level: 3, checksum: true },
    ];

    /// Everything that comes out of steps for these pieces.
    fn through(steps: Vec<ContentStep>, pieces: &[&[u8]]) -> Result<Vec<u8>, ContentError> {
        let mut steps = Steps(steps);
        let mut left: VecDeque<BodyEvent> = pieces
            .iter()
            .map(|piece| BodyEvent::Data(Bytes::copy_from_slice(piece)))
            .chain([BodyEvent::End])
            .collect();
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut all = Vec::new();
        loop {
            let mut source = |_: &mut Context<'_>| Poll::Ready(Ok(left.pop_front().unwrap()));
            let Poll::Ready(event) = steps.poll_next::<ContentError>(&mut context, &mut source)
            else {
                unreachable!("nothing waits");
            };
            match event? {
                BodyEvent::Data(data) => all.extend_from_slice(&data),
                BodyEvent::Trailers(_) => {}
                BodyEvent::End => return Ok(all),
            }
        }
    }

    fn compress(compression: Compression) -> ContentStep {
        ContentStep::Compress(Box::new(Compress::new(compression, None).unwrap()))
    }

    fn decompress(coding: Coding) -> ContentStep {
        ContentStep::Decompress(Box::new(Decompress::new(coding, 100, None).unwrap()))
    }

    #[test]
    fn what_is_compressed_is_read_however_it_is_cut() {
        // As much as comes out at once, four times: nothing is left when the end comes.
        let text: Vec<u8> =
            (0..16_384_u32).flat_map(|number| (number % 251).to_le_bytes()).collect();
        for compression in ALL {
            let written =
                through(vec![compress(compression)], &text.chunks(1000).collect::<Vec<_>>());
            let written = written.unwrap();
            assert!(written.len() < text.len());
            for cut in [1, 7, 1000, written.len()] {
                let pieces: Vec<_> = written.chunks(cut).collect();
                let read = through(vec![decompress(compression.coding())], &pieces).unwrap();
                assert!(read == text, "{compression:?} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn content_that_stands_for_too_much_is_refused() {
        let blanks = vec![b' '; 4 << 20];
        for compression in ALL {
            let written = through(vec![compress(compression)], &[&blanks]).unwrap();
            let read = through(vec![decompress(compression.coding())], &[&written]);
            assert_eq!(read, Err(ContentError::Inflates), "{compression:?}");
        }
    }

    #[test]
    fn content_that_is_not_what_it_says_is_refused() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let read =
                through(vec![decompress(coding)], &[b"this is no compressed content at all"]);
            assert_eq!(read, Err(ContentError::Corrupt), "{coding:?}");
        }
    }

    #[test]
    fn content_that_ends_too_early_is_refused() {
        for compression in ALL {
            let written = through(vec![compress(compression)], &[&[b'x'; 500]]).unwrap();
            let half = written.get(..written.len() - 3).unwrap();
            let read = through(vec![decompress(compression.coding())], &[half]);
            assert_eq!(read, Err(ContentError::Corrupt), "{compression:?}");
            let nothing = through(vec![decompress(compression.coding())], &[]);
            assert_eq!(nothing, Ok(Vec::new()));
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        proptest::proptest!(|(bytes in proptest::collection::vec(0_u8.., 0..200))| {
            for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
                drop(through(vec![decompress(coding)], &[&bytes]));
            }
            let framed = [&[0x1f, 0x8b, 8], bytes.as_slice()].concat();
            drop(through(vec![decompress(Coding::Gzip)], &[&framed]));
        });
    }

    #[test]
    fn steps_see_what_the_ones_before_them_made() {
        let held = ContentStep::Held(VecDeque::new());
        let steps = vec![compress(ALL[0]), held, decompress(Coding::Gzip)];
        assert_eq!(through(steps, &[b"he", b"llo"]).unwrap(), b"hello");
    }

    #[test]
    fn gathering_ends_with_the_content_or_beyond_the_bound() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        for (bytes_max, expected) in [(10, Gathered::Whole), (9, Gathered::Beyond)] {
            let mut steps = Steps(vec![ContentStep::Held(VecDeque::new())]);
            let mut left = VecDeque::from([&b"01234"[..], b"56789"]);
            let mut source = |_: &mut Context<'_>| {
                let next = left.pop_front().map(|piece| BodyEvent::Data(piece.into()));
                Poll::Ready(Ok::<_, ContentError>(next.unwrap_or(BodyEvent::End)))
            };
            let gathered = steps.poll_gather(&mut context, bytes_max, &mut source);
            assert!(matches!(gathered, Poll::Ready(Ok(gathered)) if gathered == expected));
            assert_eq!(steps.held_bytes(), 10);
        }
    }
}
