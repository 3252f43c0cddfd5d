//! Decompressing requests and responses, decided.

use iako_http::{FieldValue, HeaderEdits, Known};
use iako_proxy_config::{DecompressedContent, Decompressor};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::forbids_transforms;

use super::compressor::{Message, joined};
use crate::http::content::{Decompress, DecompressedBytes};

/// A decompressor, compiled.
#[derive(Debug)]
pub(crate) struct DecompressorStep {
    pub(crate) settings: Decompressor,
    request: DirectionStats,
    response: DirectionStats,
}

#[derive(Debug)]
struct DirectionStats {
    decompressed: Counter,
    not_decompressed: Counter,
    bytes: DecompressedBytes,
}

impl DirectionStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            decompressed: scope.counter("decompressed"),
            not_decompressed: scope.counter("not_decompressed"),
            bytes: DecompressedBytes {
                before: scope.counter("total_compressed_bytes"),
                after: scope.counter("total_uncompressed_bytes"),
            },
        }
    }
}

impl DecompressorStep {
    pub(crate) fn compile(settings: &Decompressor, http: &StatsScope) -> Self {
        let scope = http.part("decompressor").part(&settings.name);
        let scope = scope.part(settings.coding.stat_prefix());
        Self {
            settings: settings.clone(),
            request: DirectionStats::new(&scope.part("request")),
            response: DirectionStats::new(&scope.part("response")),
        }
    }

    /// Decides about a request and changes its head.
    pub(crate) fn request(
        &self,
        message: Message<'_>,
        edits: &mut HeaderEdits,
    ) -> Option<Decompress> {
        if self.settings.advertises && self.settings.response.enabled.value {
            let accepted = joined(edits, message.sent, Known::AcceptEncoding).unwrap_or_default();
            let value = accepts_also(&accepted, self.settings.coding.token());
            edits.set(Known::AcceptEncoding, FieldValue::sanitized(value));
        }
        self.decide(&self.settings.request, &self.request, message, edits)
    }

    /// Decides about a response and changes its head.
    pub(crate) fn response(
        &self,
        message: Message<'_>,
        edits: &mut HeaderEdits,
    ) -> Option<Decompress> {
        self.decide(&self.settings.response, &self.response, message, edits)
    }

    fn decide(
        &self,
        rules: &DecompressedContent,
        stats: &DirectionStats,
        message: Message<'_>,
        edits: &mut HeaderEdits,
    ) -> Option<Decompress> {
        if !message.has_content() {
            return None;
        }
        let token = self.settings.coding.token();
        let codings = joined(edits, message.sent, Known::ContentEncoding);
        let (first, rest) = codings.as_deref().map_or(("", None), |codings| {
            let (first, rest) = codings.split_once(',').unwrap_or((codings, ""));
            (first.trim(), (!rest.trim().is_empty()).then(|| rest.trim().to_owned()))
        });
        let control = joined(edits, message.sent, Known::CacheControl);
        let forbidden = !rules.ignores_no_transform
            && control.is_some_and(|control| forbids_transforms(&control));
        let wanted = rules.enabled.value && first.eq_ignore_ascii_case(token) && !forbidden;
        let coding = self.settings.coding;
        let step = wanted.then(|| {
            Decompress::new(coding, self.settings.ratio_max, Some(stats.bytes.clone())).ok()
        });
        let Some(step) = step.flatten() else {
            stats.not_decompressed.inc();
            return None;
        };
        stats.decompressed.inc();
        match rest {
            Some(rest) => edits.set(Known::ContentEncoding, FieldValue::sanitized(rest)),
            None => edits.remove(Known::ContentEncoding),
        }
        Some(step)
    }
}

/// A list of codings with one more at its end, and nothing else said of it.
fn accepts_also(list: &str, token: &str) -> String {
    let others = list.split(',').map(str::trim).filter(|member| {
        let name = member.split_once(';').map_or(*member, |(name, _)| name);
        !member.is_empty() && name != token
    });
    others.chain([token]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Case decompressor/advertised.
    #[test]
    fn a_coding_is_advertised_once_and_without_a_weight() {
        for (list, expected) in [
            ("", "gzip"),
            ("gzip;q=0", "gzip"),
            ("br, gzip;q=0.3, x", "br,x,gzip"),
            ("GZIP", "GZIP,gzip"),
            ("*;q=0.1", "*;q=0.1,gzip"),
        ] {
            assert_eq!(accepts_also(list, "gzip"), expected);
        }
    }
}
