//! HTTP filters that look at content, or at who made a request.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::{RuntimeFeatureFlag, TypedExtensionConfig};
use iako_xds_api::envoy::extensions::compression as libraries;
use iako_xds_api::envoy::extensions::filters::http::{
    bandwidth_limit::v3 as bandwidth_pb, buffer::v3 as buffer_pb, compressor::v3 as compressor_pb,
    csrf::v3 as csrf_pb, decompressor::v3 as decompressor_pb,
};

use super::{matcher, wire};
use iako_proxy_config::{
    BandwidthLimit, BandwidthMode, BrotliMode, Buffer, Coding, CompressedContent, Compression,
    Compressor, CompressorLibrary, CompressorOverride, CsrfPolicy, DecompressedContent,
    Decompressor, Keyed,
};

pub(super) fn buffer_for_route(value: Buffer) -> buffer_pb::BufferPerRoute {
    use buffer_pb::buffer_per_route::Override;
    buffer_pb::BufferPerRoute { r#override: Some(Override::Buffer(buffer(value))) }
}

pub(super) fn buffer(value: Buffer) -> buffer_pb::Buffer {
    buffer_pb::Buffer { max_request_bytes: Some(value.request_bytes_max.get()) }
}

fn flag(enabled: &Keyed<bool>) -> Option<RuntimeFeatureFlag> {
    Some(wire::runtime_flag(enabled))
}

pub(super) fn compressor(value: &Compressor) -> compressor_pb::Compressor {
    use compressor_pb::compressor::{
        CommonDirectionConfig, RequestDirectionConfig, ResponseDirectionConfig,
    };
    let common = |content: &CompressedContent| CommonDirectionConfig {
        enabled: flag(&content.enabled),
        min_content_length: Some(content.bytes_min),
        content_type: content.types.clone(),
        content_type_matcher: content.type_rules.iter().map(matcher::text).collect(),
    };
    let request = value
        .request
        .as_ref()
        .map(|content| RequestDirectionConfig { common_config: Some(common(content)) });
    let response = &value.response;
    let library = Some(library(&value.library));
    if !value.names_direction {
        let common = common(&response.content);
        return compressor_pb::Compressor {
            content_length: common.min_content_length,
            content_type: common.content_type,
            disable_on_etag_header: response.skips_etag,
            remove_accept_encoding_header: response.hides_accept_encoding,
            runtime_enabled: common.enabled,
            compressor_library: library,
            choose_first: value.choose_first,
            request_direction_config: request,
            ..Default::default()
        };
    }
    compressor_pb::Compressor {
        compressor_library: library,
        request_direction_config: request,
        response_direction_config: Some(ResponseDirectionConfig {
            common_config: Some(common(&response.content)),
            disable_on_etag_header: response.skips_etag,
            weaken_etag_on_compress: response.weakens_etag,
            remove_accept_encoding_header: response.hides_accept_encoding,
            uncompressible_response_codes: response
                .spared_statuses
                .iter()
                .map(|status| u32::from(*status))
                .collect(),
            status_header_enabled: response.tells_status,
        }),
        choose_first: value.choose_first,
        ..Default::default()
    }
}

fn library(value: &CompressorLibrary) -> TypedExtensionConfig {
    use libraries::brotli::compressor::v3::{Brotli, brotli::EncoderMode};
    use libraries::{gzip::compressor::v3::Gzip, zstd::compressor::v3::Zstd};
    let any = match value.coding {
        Compression::Gzip { level } => wire::any(&Gzip {
            compression_level: i32::try_from(level).unwrap_or_default(),
            ..Default::default()
        }),
        Compression::Brotli { quality, window_bits, block_bits, mode, literal_contexts } => {
            let mode = match mode {
                BrotliMode::Generic => EncoderMode::Generic,
                BrotliMode::Text => EncoderMode::Text,
                BrotliMode::Font => EncoderMode::Font,
            };
            wire::any(&Brotli {
                quality: Some(quality),
                encoder_mode: mode.into(),
                window_bits: Some(window_bits),
                input_block_bits: Some(block_bits),
                disable_literal_context_modeling: !literal_contexts,
                ..Default::default()
            })
        }
        Compression::Zstd { level, checksum } => wire::any(&Zstd {
            compression_level: Some(level),
            enable_checksum: checksum,
            ..Default::default()
        }),
    };
    TypedExtensionConfig { name: value.name.clone(), typed_config: Some(any) }
}

pub(super) fn compressor_override(value: &CompressorOverride) -> compressor_pb::CompressorPerRoute {
    use compressor_pb::compressor_per_route::Override;
    let own = if value.disabled {
        Override::Disabled(true)
    } else {
        let response = compressor_pb::ResponseDirectionOverrides {
            remove_accept_encoding_header: value.hides_accept_encoding,
        };
        Override::Overrides(compressor_pb::CompressorOverrides {
            response_direction_config: value.responses.then_some(response),
            compressor_library: value.library.as_ref().map(library),
        })
    };
    compressor_pb::CompressorPerRoute { r#override: Some(own) }
}

pub(super) fn decompressor(value: &Decompressor) -> decompressor_pb::Decompressor {
    use decompressor_pb::decompressor::{
        CommonDirectionConfig, RequestDirectionConfig, ResponseDirectionConfig,
    };
    use libraries::{
        brotli::decompressor::v3::Brotli, gzip::decompressor::v3::Gzip,
        zstd::decompressor::v3::Zstd,
    };
    let any = match value.coding {
        Coding::Gzip => {
            wire::any(&Gzip { max_inflate_ratio: Some(value.ratio_max), ..Default::default() })
        }
        Coding::Brotli => wire::any(&Brotli::default()),
        Coding::Zstd => wire::any(&Zstd::default()),
    };
    let common = |content: &DecompressedContent| CommonDirectionConfig {
        enabled: flag(&content.enabled),
        ignore_no_transform_header: content.ignores_no_transform,
    };
    decompressor_pb::Decompressor {
        decompressor_library: Some(TypedExtensionConfig {
            name: value.name.clone(),
            typed_config: Some(any),
        }),
        request_direction_config: Some(RequestDirectionConfig {
            common_config: Some(common(&value.request)),
            advertise_accept_encoding: Some(value.advertises),
        }),
        response_direction_config: Some(ResponseDirectionConfig {
            common_config: Some(common(&value.response)),
        }),
    }
}

pub(super) fn bandwidth(value: &BandwidthLimit) -> bandwidth_pb::BandwidthLimit {
    use bandwidth_pb::bandwidth_limit::EnableMode;
    let mode = match value.mode {
        BandwidthMode::Disabled => EnableMode::Disabled,
        BandwidthMode::Request => EnableMode::Request,
        BandwidthMode::Response => EnableMode::Response,
        BandwidthMode::Both => EnableMode::RequestAndResponse,
    };
    bandwidth_pb::BandwidthLimit {
        stat_prefix: value.stat_prefix.clone(),
        enable_mode: mode.into(),
        limit_kbps: value.kib_per_second.map(u64::from),
        fill_interval: Some(wire::duration(value.fill_interval)),
        runtime_enabled: flag(&value.enabled),
        enable_response_trailers: value.tells_delays,
        response_trailer_prefix: value.trailer_prefix.clone(),
    }
}

pub(super) fn csrf(value: &CsrfPolicy) -> csrf_pb::CsrfPolicy {
    csrf_pb::CsrfPolicy {
        filter_enabled: Some(wire::runtime_fraction(&value.enabled)),
        shadow_enabled: (value.shadow_enabled != Keyed::fixed(Percent::ZERO))
            .then(|| wire::runtime_fraction(&value.shadow_enabled)),
        additional_origins: value.additional_origins.iter().map(matcher::text).collect(),
    }
}
