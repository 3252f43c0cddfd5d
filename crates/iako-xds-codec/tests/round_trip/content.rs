//! Filters that look at content, with every field set.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use bytes::Bytes;
use iako_proxy_config::*;
use iako_types::Percent;

use crate::shared::{body_format, header_values};

pub(crate) fn buffer() -> Buffer {
    Buffer { request_bytes_max: NonZeroU32::new(77).unwrap() }
}

fn content() -> CompressedContent {
    CompressedContent {
        enabled: Keyed::new(false, "k"),
        bytes_min: 7,
        types: vec!["text/x".into()],
        type_rules: vec![StringMatch::prefix("font/")],
    }
}

fn brotli() -> CompressorLibrary {
    CompressorLibrary {
        name: "br".into(),
        coding: Compression::Brotli {
            quality: 4,
            window_bits: 17,
            block_bits: 20,
            mode: BrotliMode::Text,
            literal_contexts: false,
        },
    }
}

pub(crate) fn compressor() -> Compressor {
    Compressor {
        library: brotli(),
        request: Some(content()),
        response: CompressedResponse {
            content: content(),
            skips_etag: true,
            weakens_etag: true,
            hides_accept_encoding: true,
            spared_statuses: vec![206],
            tells_status: true,
        },
        choose_first: true,
        names_direction: true,
    }
}

pub(crate) fn old_compressor() -> Compressor {
    Compressor {
        library: CompressorLibrary { name: "gz".into(), coding: Compression::Gzip { level: 9 } },
        request: None,
        response: CompressedResponse {
            content: CompressedContent { type_rules: Vec::new(), ..content() },
            skips_etag: true,
            hides_accept_encoding: true,
            ..CompressedResponse::default()
        },
        choose_first: false,
        names_direction: false,
    }
}

pub(crate) fn compressor_override() -> CompressorOverride {
    let coding = Compression::Zstd { level: 5, checksum: true };
    CompressorOverride {
        disabled: false,
        hides_accept_encoding: Some(true),
        responses: true,
        library: Some(CompressorLibrary { name: "z".into(), coding }),
    }
}

pub(crate) fn decompressor() -> Decompressor {
    Decompressor {
        name: "gz".into(),
        coding: Coding::Gzip,
        ratio_max: 12,
        request: DecompressedContent {
            enabled: Keyed::new(false, "k"),
            ignores_no_transform: true,
        },
        advertises: false,
        response: DecompressedContent {
            enabled: Keyed::new(true, "k"),
            ignores_no_transform: true,
        },
    }
}

pub(crate) fn bandwidth_limit() -> BandwidthLimit {
    BandwidthLimit {
        stat_prefix: "s".into(),
        mode: BandwidthMode::Both,
        kib_per_second: NonZeroU64::new(9),
        fill_interval: Duration::from_millis(70),
        enabled: Keyed::new(false, "k"),
        tells_delays: true,
        trailer_prefix: "p".into(),
    }
}

pub(crate) fn csrf() -> CsrfPolicy {
    CsrfPolicy {
        enabled: Keyed::new(Percent::from_whole(50).unwrap(), "k"),
        shadow_enabled: Keyed::new(Percent::from_whole(10).unwrap(), "k"),
        additional_origins: vec![StringMatch::suffix(".test")],
    }
}

pub(crate) fn custom_response() -> CustomResponse {
    let policy = LocalResponse {
        body: Some(Bytes::from_static(b"sorry")),
        format: Some(body_format()),
        status: Some(418),
        headers: header_values(),
        details: ResponseDetails::Told("mine".into()),
    };
    let inputs = [
        ResponseInput::Status,
        ResponseInput::StatusClass,
        ResponseInput::Header("x-a".parse().unwrap()),
        ResponseInput::Request(MatchInput::RequestHeader("x-b".parse().unwrap())),
    ];
    let entries = inputs.into_iter().map(|input| {
        let wanted =
            MatchPredicate::Single { input, check: MatchCheck::Text(StringMatch::exact("a")) };
        let then = MatchThen::Action(ResponsePolicy::Local(Box::new(policy.clone())));
        (wanted, MatchOutcome { then, keep_matching: false })
    });
    let kept = LocalResponse { details: ResponseDetails::Kept, ..LocalResponse::default() };
    let kept = ResponsePolicy::Local(Box::new(kept));
    let otherwise = MatchOutcome { then: MatchThen::Action(kept), keep_matching: false };
    let redirected = |target| {
        let own = RedirectedResponse {
            target,
            status: Some(299),
            response_headers: header_values(),
            request_headers: header_values(),
        };
        let then = MatchThen::Action(ResponsePolicy::Redirect(Box::new(own)));
        let input = ResponseInput::Status;
        let check = MatchCheck::Text(StringMatch::exact("503"));
        (MatchPredicate::Single { input, check }, MatchOutcome { then, keep_matching: false })
    };
    let changed = Redirect {
        scheme: Some(RedirectScheme::Https),
        host: Some("b.test".into()),
        port: Some(8443),
        path: Some(RedirectPath::Full("/sorry".into())),
        status: 301,
        strip_query: true,
    };
    let entries = entries.chain([
        redirected(ResponseTarget::Uri("http://b.test/sorry".into())),
        redirected(ResponseTarget::Changed(Box::new(changed))),
    ]);
    CustomResponse {
        policies: Some(MatchTree {
            node: MatchNode::List(entries.collect()),
            otherwise: Some(Box::new(otherwise)),
        }),
    }
}

pub(crate) fn cache() -> Cache {
    let rule = |name: &str| QueryMatch { name: name.into(), check: QueryCheck::Present(true) };
    Cache {
        disabled: true,
        vary_allowed: vec![StringMatch::exact("accept")],
        key: CacheKey {
            excludes_scheme: true,
            excludes_host: true,
            query_included: vec![rule("a")],
            query_excluded: vec![rule("b")],
        },
        body_bytes_max: 99,
        ignores_request_control: true,
    }
}
