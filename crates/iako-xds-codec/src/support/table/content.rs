//! HTTP filters that look at content, or at who made a request.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.http.buffer.v3.Buffer",
        honoured: &["max_request_bytes"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        honoured: &["disabled", "buffer"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.Compressor",
        honoured: &[
            "content_length",
            "content_type",
            "disable_on_etag_header",
            "remove_accept_encoding_header",
            "runtime_enabled",
            "compressor_library",
            "request_direction_config",
            "response_direction_config",
            "choose_first",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig",
        honoured: &["enabled", "min_content_length", "content_type", "content_type_matcher"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.Compressor.RequestDirectionConfig",
        honoured: &["common_config"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig",
        honoured: &[
            "common_config",
            "disable_on_etag_header",
            "weaken_etag_on_compress",
            "remove_accept_encoding_header",
            "uncompressible_response_codes",
            "status_header_enabled",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
        honoured: &["disabled", "overrides"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.CompressorOverrides",
        honoured: &["response_direction_config", "compressor_library"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.compressor.v3.ResponseDirectionOverrides",
        honoured: &["remove_accept_encoding_header"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.decompressor.v3.Decompressor",
        honoured: &[
            "decompressor_library",
            "request_direction_config",
            "response_direction_config",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.decompressor.v3.Decompressor.CommonDirectionConfig",
        honoured: &["enabled", "ignore_no_transform_header"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.decompressor.v3.Decompressor.RequestDirectionConfig",
        honoured: &["common_config", "advertise_accept_encoding"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.decompressor.v3.Decompressor.ResponseDirectionConfig",
        honoured: &["common_config"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.compression.gzip.compressor.v3.Gzip",
        honoured: &["compression_level"],
        warned: &[
            (
                "memory and chunks are those of the library",
                &["memory_level", "window_bits", "chunk_size"],
            ),
            ("the library has one strategy", &["compression_strategy"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.compression.brotli.compressor.v3.Brotli",
        honoured: &[
            "quality",
            "encoder_mode",
            "window_bits",
            "input_block_bits",
            "disable_literal_context_modeling",
        ],
        warned: &[("memory and chunks are those of the library", &["chunk_size"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.compression.zstd.compressor.v3.Zstd",
        honoured: &["compression_level", "enable_checksum"],
        warned: &[
            ("memory and chunks are those of the library", &["chunk_size"]),
            ("the strategy is that of the level", &["strategy"]),
        ],
        refused: &[("this proxy does not have it", &["dictionary"])],
    },
    MessageSupport {
        name: "envoy.extensions.compression.gzip.decompressor.v3.Gzip",
        honoured: &["max_inflate_ratio"],
        warned: &[
            ("windows of every size are read", &["window_bits"]),
            ("memory and chunks are those of the library", &["chunk_size"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.compression.brotli.decompressor.v3.Brotli",
        honoured: &[],
        warned: &[(
            "memory and chunks are those of the library",
            &["disable_ring_buffer_reallocation", "chunk_size"],
        )],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.compression.zstd.decompressor.v3.Zstd",
        honoured: &[],
        warned: &[("memory and chunks are those of the library", &["chunk_size"])],
        refused: &[("this proxy does not have it", &["dictionaries"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
        honoured: &[
            "stat_prefix",
            "enable_mode",
            "limit_kbps",
            "fill_interval",
            "runtime_enabled",
            "enable_response_trailers",
            "response_trailer_prefix",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
        honoured: &["filter_enabled", "shadow_enabled", "additional_origins"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.common.fault.v3.FaultRateLimit",
        honoured: &["fixed_limit", "header_limit", "percentage"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit",
        honoured: &["limit_kbps"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
];
