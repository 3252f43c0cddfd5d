//! The lines of an exchange in logs: the last one, and those that are written before it.

use std::task::{Context, Poll};
use std::time::Instant;

use iako_rt::clock;
use iako_telemetry::access_log::LogType;

use super::Exchange;
use crate::http::deadlines::Expired;
use crate::http::record::{self, ExchangeFacts, Finished};

impl Exchange<'_> {
    /// Writes everything down.
    pub(in crate::http) fn finish(&mut self, now: Instant) {
        if let Some(said) = &mut self.said {
            said.done(&self.connection.worker, &mut self.request.metadata);
        }
        if self.remembered.is_some() {
            self.finish_calls();
        }
        if self.record.trace.is_some() {
            self.end_trace(now);
        }
        let finished = Finished {
            request: &self.request,
            response: self.response.as_ref().map(|head| (head, &self.response_edits)),
            upload: &self.upload,
            download: &self.download,
        };
        if let Some(said) = self.said.as_mut().filter(|said| said.awaits_outcome()) {
            said.tell_outcome(&finished.outcome(), now, self.connection.draw());
        }
        record::finish(self.connection, self.service, &self.record, &finished, now);
        self.write_line(LogType::DownstreamEnd, now);
    }

    /// What is known by now, as formats see it.
    pub(in crate::http) const fn facts(&self) -> ExchangeFacts<'_> {
        let facts = ExchangeFacts::of(self.connection, &self.record, &self.request);
        ExchangeFacts { place: self.place, ..facts }
    }

    /// Writes a line, by what is known now.
    pub(in crate::http) fn write_line(&self, log_type: LogType, now: Instant) {
        if self.service.access_log.is_empty() {
            return;
        }
        let finished = Finished {
            request: &self.request,
            response: self.response.as_ref().map(|head| (head, &self.response_edits)),
            upload: &self.upload,
            download: &self.download,
        };
        let further = ExchangeFacts { finished: Some(&finished), now: Some(now), ..self.facts() };
        record::write(&further, self.service, &finished, log_type);
    }

    /// Writes the line of a request that begins, and sees to those that follow while it goes on, as far
    /// as they are wanted.
    pub(super) fn begin_lines(&mut self) {
        let times = self.service.manager.access_log_times;
        if times.on_start {
            self.write_line(LogType::DownstreamStart, self.now);
        }
        self.next_line = times.interval.map(|interval| Box::pin(tokio::time::sleep(interval)));
    }

    /// Writes the line of a tunnel that was made, where it is wanted.
    pub(in crate::http) fn tell_tunnel(&self) {
        if self.service.manager.access_log_times.on_tunnel {
            self.write_line(LogType::TunnelEstablished, clock::now());
        }
    }

    /// Ready once a deadline has passed. Lines that are due are written meanwhile.
    pub(in crate::http) fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        if self.next_line.is_some() {
            self.poll_line(context);
        }
        self.deadlines.poll(context)
    }

    fn poll_line(&mut self, context: &mut Context<'_>) {
        let interval = self.service.manager.access_log_times.interval;
        while let Some(sleep) = &mut self.next_line {
            if sleep.as_mut().poll(context).is_pending() {
                return;
            }
            self.next_line = interval.map(|interval| Box::pin(tokio::time::sleep(interval)));
            self.write_line(LogType::DownstreamPeriodic, clock::now());
        }
    }
}
