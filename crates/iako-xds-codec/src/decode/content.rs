//! HTTP filters that look at content, or at who made a request.

use std::num::NonZeroU64;
use std::time::Duration;

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::{RuntimeFeatureFlag, TypedExtensionConfig};
use iako_xds_api::envoy::extensions::compression as libraries;
use iako_xds_api::envoy::extensions::filters::http::{
    bandwidth_limit::v3 as bandwidth_pb, buffer::v3 as buffer_pb, cache::v3 as cache_pb,
    compressor::v3 as compressor_pb, csrf::v3 as csrf_pb, custom_response::v3 as custom_pb,
    decompressor::v3 as decompressor_pb,
};
use prost::Name as _;
use prost_types::Any;

use super::{matcher, request_step, stored, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    BandwidthLimit, BandwidthMode, BrotliMode, Buffer, Coding, CompressedContent,
    CompressedResponse, Compression, Compressor, CompressorLibrary, CompressorOverride, CsrfPolicy,
    DecompressedContent, Decompressor, FilterOverrides, FilterSettings, HttpFilterKind, Keyed,
};

/// The filter of a message, if it is one of these.
pub(super) fn kind(name: &str, any: &Any, at: &At<'_>) -> Result<Option<HttpFilterKind>, Fault> {
    Ok(Some(if name == buffer_pb::Buffer::full_name() {
        HttpFilterKind::Buffer(buffer(&wire::unpack(any, at)?, at)?)
    } else if name == compressor_pb::Compressor::full_name() {
        HttpFilterKind::Compressor(Box::new(compressor(&wire::unpack(any, at)?, at)?))
    } else if name == decompressor_pb::Decompressor::full_name() {
        HttpFilterKind::Decompressor(Box::new(decompressor(&wire::unpack(any, at)?, at)?))
    } else if name == bandwidth_pb::BandwidthLimit::full_name() {
        HttpFilterKind::BandwidthLimit(Box::new(bandwidth(&wire::unpack(any, at)?, at)?))
    } else if name == csrf_pb::CsrfPolicy::full_name() {
        HttpFilterKind::Csrf(Box::new(csrf(&wire::unpack(any, at)?, at)?))
    } else if name == custom_pb::CustomResponse::full_name() {
        let config = wire::unpack(any, at)?;
        HttpFilterKind::CustomResponse(Box::new(stored::custom_response(&config, at)?))
    } else if name == cache_pb::CacheConfig::full_name() {
        HttpFilterKind::Cache(Box::new(stored::cache(&wire::unpack(any, at)?, at)?))
    } else {
        return request_step::kind(name, any, at);
    }))
}

/// Settings of a route for one of these filters; whether they are some.
pub(super) fn settings(
    filter: &str,
    name: &str,
    any: &Any,
    value: &mut FilterOverrides,
    at: &At<'_>,
) -> Result<bool, Fault> {
    use buffer_pb::buffer_per_route::Override as ForBuffer;
    let own = if name == buffer_pb::BufferPerRoute::full_name() {
        let route: buffer_pb::BufferPerRoute = wire::unpack(any, at)?;
        match route.r#override {
            Some(ForBuffer::Buffer(own)) => {
                FilterSettings::Buffer(buffer(&own, &at.field("buffer"))?)
            }
            Some(ForBuffer::Disabled(true)) => {
                value.disabled.insert(filter.to_owned());
                return Ok(true);
            }
            Some(ForBuffer::Disabled(false)) => {
                let help = "write `true`, or `buffer`";
                return Err(at.field("disabled").invalid("must be true where it is written", help));
            }
            None => return Err(at.missing("write `disabled` or `buffer`")),
        }
    } else if name == compressor_pb::CompressorPerRoute::full_name() {
        let route: compressor_pb::CompressorPerRoute = wire::unpack(any, at)?;
        FilterSettings::Compressor(compressor_override(&route, at)?)
    } else if name == bandwidth_pb::BandwidthLimit::full_name() {
        let own: bandwidth_pb::BandwidthLimit = wire::unpack(any, at)?;
        if own.limit_kbps.is_none() {
            return Err(at.field("limit_kbps").missing("a route has to say how much may pass"));
        }
        FilterSettings::BandwidthLimit(Box::new(bandwidth(&own, at)?))
    } else if name == csrf_pb::CsrfPolicy::full_name() {
        FilterSettings::Csrf(Box::new(csrf(&wire::unpack(any, at)?, at)?))
    } else if name == custom_pb::CustomResponse::full_name() {
        let config = wire::unpack(any, at)?;
        FilterSettings::CustomResponse(Box::new(stored::custom_response(&config, at)?))
    } else {
        return request_step::settings(filter, name, any, value, at);
    };
    value.settings.insert(filter.to_owned(), own);
    Ok(true)
}

fn buffer(config: &buffer_pb::Buffer, at: &At<'_>) -> Result<Buffer, Fault> {
    let at = at.field("max_request_bytes");
    let Some(bytes_max) = config.max_request_bytes else {
        return Err(at.missing("write how many bytes of content a request may have"));
    };
    Ok(Buffer { request_bytes_max: wire::non_zero(bytes_max, &at)? })
}

/// Envoy: a switch without a value is on.
fn switch(flag: Option<&RuntimeFeatureFlag>) -> Keyed<bool> {
    let on = flag.and_then(|flag| flag.default_value).unwrap_or(true);
    Keyed::new(on, flag.map_or("", |flag| &flag.runtime_key))
}

fn compressor(config: &compressor_pb::Compressor, at: &At<'_>) -> Result<Compressor, Fault> {
    let at_library = at.field("compressor_library");
    let library = config.compressor_library.as_ref();
    let library = library.ok_or_else(|| at_library.missing("name how content is compressed"))?;
    let old = compressor_pb::compressor::CommonDirectionConfig {
        enabled: config.runtime_enabled.clone(),
        min_content_length: config.content_length,
        content_type: config.content_type.clone(),
        content_type_matcher: Vec::new(),
    };
    let request = config.request_direction_config.as_ref().map(|direction| {
        let at = at.field("request_direction_config");
        let common = direction.common_config.clone().unwrap_or_default();
        compressed_content(&common, &at.field("common_config"))
    });
    let response = match &config.response_direction_config {
        Some(direction) => {
            let at = at.field("response_direction_config");
            let common = direction.common_config.clone().unwrap_or_default();
            let at_codes = at.field("uncompressible_response_codes");
            CompressedResponse {
                content: compressed_content(&common, &at.field("common_config"))?,
                skips_etag: direction.disable_on_etag_header,
                weakens_etag: direction.weaken_etag_on_compress,
                hides_accept_encoding: direction.remove_accept_encoding_header,
                spared_statuses: wire::list(
                    &direction.uncompressible_response_codes,
                    &at_codes,
                    |status, at| wire::status(*status, 200, at),
                )?,
                tells_status: direction.status_header_enabled,
            }
        }
        None => CompressedResponse {
            content: compressed_content(&old, at)?,
            skips_etag: config.disable_on_etag_header,
            hides_accept_encoding: config.remove_accept_encoding_header,
            ..CompressedResponse::default()
        },
    };
    Ok(Compressor {
        library: compressor_library(library, &at_library)?,
        names_direction: config.response_direction_config.is_some(),
        request: request.transpose()?,
        response,
        choose_first: config.choose_first,
    })
}

fn compressed_content(
    config: &compressor_pb::compressor::CommonDirectionConfig,
    at: &At<'_>,
) -> Result<CompressedContent, Fault> {
    let usual = CompressedContent::default();
    let types: Vec<_> = config.content_type.iter().map(|one| one.to_ascii_lowercase()).collect();
    let at_rules = at.field("content_type_matcher");
    Ok(CompressedContent {
        enabled: switch(config.enabled.as_ref()),
        bytes_min: config.min_content_length.unwrap_or(usual.bytes_min),
        types: if types.is_empty() { usual.types } else { types },
        type_rules: wire::list(&config.content_type_matcher, &at_rules, matcher::text)?,
    })
}

fn compressor_override(
    route: &compressor_pb::CompressorPerRoute,
    at: &At<'_>,
) -> Result<CompressorOverride, Fault> {
    use compressor_pb::compressor_per_route::Override;
    let overrides = match &route.r#override {
        Some(Override::Disabled(true)) => {
            return Ok(CompressorOverride {
                disabled: true,
                responses: false,
                hides_accept_encoding: None,
                library: None,
            });
        }
        Some(Override::Disabled(false)) => {
            let help = "write `true`, or `overrides`";
            return Err(at.field("disabled").invalid("must be true where it is written", help));
        }
        Some(Override::Overrides(overrides)) => overrides,
        None => return Err(at.missing("write `disabled` or `overrides`")),
    };
    let at = at.field("overrides");
    let at_library = at.field("compressor_library");
    let library = overrides.compressor_library.as_ref();
    let response = overrides.response_direction_config.as_ref();
    Ok(CompressorOverride {
        disabled: false,
        responses: response.is_some(),
        hides_accept_encoding: response.and_then(|own| own.remove_accept_encoding_header),
        library: library.map(|own| compressor_library(own, &at_library)).transpose()?,
    })
}

/// A number in a range, with a default.
fn within(
    value: Option<u32>,
    usual: u32,
    range: std::ops::RangeInclusive<u32>,
    at: &At<'_>,
) -> Result<u32, Fault> {
    let value = value.unwrap_or(usual);
    if range.contains(&value) {
        return Ok(value);
    }
    let (from, to) = range.into_inner();
    Err(at.invalid(format!("{value} is out of range"), format!("write {from} to {to}")))
}

fn compressor_library(
    config: &TypedExtensionConfig,
    at: &At<'_>,
) -> Result<CompressorLibrary, Fault> {
    use libraries::brotli::compressor::v3::{Brotli, brotli::EncoderMode};
    use libraries::{gzip::compressor::v3::Gzip, zstd::compressor::v3::Zstd};
    let at = at.field("typed_config");
    let any = config.typed_config.as_ref().ok_or_else(|| at.missing("name gzip, br or zstd"))?;
    let name = pool::full_name(&any.type_url);
    let coding = if name == Gzip::full_name() {
        let gzip: Gzip = wire::unpack(any, &at)?;
        within(gzip.memory_level, 5, 1..=9, &at.field("memory_level"))?;
        within(gzip.window_bits, 12, 9..=15, &at.field("window_bits"))?;
        within(gzip.chunk_size, 4096, 4096..=65536, &at.field("chunk_size"))?;
        // 0 is the library's own choice; the others count from 1.
        let level = u32::try_from(gzip.compression_level).ok().filter(|level| *level > 0);
        Compression::Gzip { level: within(level, 6, 1..=9, &at.field("compression_level"))? }
    } else if name == Brotli::full_name() {
        let brotli: Brotli = wire::unpack(any, &at)?;
        within(brotli.chunk_size, 4096, 4096..=65536, &at.field("chunk_size"))?;
        Compression::Brotli {
            quality: within(brotli.quality, 3, 0..=11, &at.field("quality"))?,
            window_bits: within(brotli.window_bits, 18, 10..=24, &at.field("window_bits"))?,
            block_bits: within(
                brotli.input_block_bits,
                24,
                16..=24,
                &at.field("input_block_bits"),
            )?,
            mode: match wire::known::<EncoderMode>(brotli.encoder_mode, &at.field("encoder_mode"))?
            {
                EncoderMode::Default | EncoderMode::Generic => BrotliMode::Generic,
                EncoderMode::Text => BrotliMode::Text,
                EncoderMode::Font => BrotliMode::Font,
            },
            literal_contexts: !brotli.disable_literal_context_modeling,
        }
    } else if name == Zstd::full_name() {
        let zstd: Zstd = wire::unpack(any, &at)?;
        within(zstd.chunk_size, 4096, 4096..=65536, &at.field("chunk_size"))?;
        if zstd.dictionary.is_some() {
            let help = "remove it: browsers have no dictionary";
            return Err(at.field("dictionary").invalid("is not supported", help));
        }
        let level = within(zstd.compression_level, 3, 0..=22, &at.field("compression_level"))?;
        Compression::Zstd { level, checksum: zstd.enable_checksum }
    } else {
        let problem = format!("compressors of type `{name}` are not supported");
        return Err(at.invalid(problem, "compress by gzip, brotli or zstd"));
    };
    Ok(CompressorLibrary { name: config.name.clone(), coding })
}

fn decompressor(
    config: &decompressor_pb::Decompressor,
    at: &At<'_>,
) -> Result<Decompressor, Fault> {
    use libraries::{
        brotli::decompressor::v3::Brotli, gzip::decompressor::v3::Gzip,
        zstd::decompressor::v3::Zstd,
    };
    let at_library = at.field("decompressor_library");
    let library = config.decompressor_library.as_ref();
    let library = library.ok_or_else(|| at_library.missing("name how content is read"))?;
    let at_library = at_library.field("typed_config");
    let any = library.typed_config.as_ref();
    let any = any.ok_or_else(|| at_library.missing("name gzip, br or zstd"))?;
    let name = pool::full_name(&any.type_url);
    let mut ratio_max = 100;
    let coding = if name == Gzip::full_name() {
        let gzip: Gzip = wire::unpack(any, &at_library)?;
        within(gzip.window_bits, 15, 9..=15, &at_library.field("window_bits"))?;
        let at_ratio = at_library.field("max_inflate_ratio");
        ratio_max = within(gzip.max_inflate_ratio, 100, 1..=1032, &at_ratio)?;
        Coding::Gzip
    } else if name == Brotli::full_name() {
        wire::unpack::<Brotli>(any, &at_library)?;
        Coding::Brotli
    } else if name == Zstd::full_name() {
        let zstd: Zstd = wire::unpack(any, &at_library)?;
        if !zstd.dictionaries.is_empty() {
            let help = "remove them: browsers have no dictionary";
            return Err(at_library.field("dictionaries").invalid("is not supported", help));
        }
        Coding::Zstd
    } else {
        let problem = format!("decompressors of type `{name}` are not supported");
        return Err(at_library.invalid(problem, "read gzip, brotli or zstd"));
    };
    let content = |common: Option<&decompressor_pb::decompressor::CommonDirectionConfig>| {
        DecompressedContent {
            enabled: switch(common.and_then(|common| common.enabled.as_ref())),
            ignores_no_transform: common.is_some_and(|common| common.ignore_no_transform_header),
        }
    };
    let request = config.request_direction_config.as_ref();
    let response = config.response_direction_config.as_ref();
    Ok(Decompressor {
        name: library.name.clone(),
        coding,
        ratio_max,
        request: content(request.and_then(|direction| direction.common_config.as_ref())),
        advertises: request.and_then(|own| own.advertise_accept_encoding).unwrap_or(true),
        response: content(response.and_then(|direction| direction.common_config.as_ref())),
    })
}

fn bandwidth(config: &bandwidth_pb::BandwidthLimit, at: &At<'_>) -> Result<BandwidthLimit, Fault> {
    use bandwidth_pb::bandwidth_limit::EnableMode;
    if config.stat_prefix.is_empty() {
        return Err(at.field("stat_prefix").missing("name its statistics"));
    }
    let at_limit = at.field("limit_kbps");
    let at_interval = at.field("fill_interval");
    let fill_interval =
        wire::duration_or(config.fill_interval.as_ref(), Duration::from_millis(50), &at_interval)?;
    let range = Duration::from_millis(20)..=Duration::from_secs(1);
    if !range.contains(&fill_interval) {
        return Err(at_interval.invalid("is out of range", "write 0.020s to 1s"));
    }
    let limit = config.limit_kbps.map(|limit| wire::non_zero_long(limit, &at_limit));
    let kib_per_second: Option<NonZeroU64> = limit.transpose()?;
    let mode = match wire::known::<EnableMode>(config.enable_mode, &at.field("enable_mode"))? {
        EnableMode::Disabled => BandwidthMode::Disabled,
        EnableMode::Request => BandwidthMode::Request,
        EnableMode::Response => BandwidthMode::Response,
        EnableMode::RequestAndResponse => BandwidthMode::Both,
    };
    Ok(BandwidthLimit {
        stat_prefix: config.stat_prefix.clone(),
        mode,
        kib_per_second,
        fill_interval,
        enabled: switch(config.runtime_enabled.as_ref()),
        tells_delays: config.enable_response_trailers,
        trailer_prefix: config.response_trailer_prefix.clone(),
    })
}

fn csrf(config: &csrf_pb::CsrfPolicy, at: &At<'_>) -> Result<CsrfPolicy, Fault> {
    let Some(enabled) = &config.filter_enabled else {
        return Err(at.field("filter_enabled").missing("write which share of requests is refused"));
    };
    let origins = at.field("additional_origins");
    let at_shadow = at.field("shadow_enabled");
    Ok(CsrfPolicy {
        enabled: wire::runtime_fraction(
            Some(enabled),
            Percent::HUNDRED,
            &at.field("filter_enabled"),
        )?,
        shadow_enabled: wire::runtime_fraction(
            config.shadow_enabled.as_ref(),
            Percent::ZERO,
            &at_shadow,
        )?,
        additional_origins: wire::list(&config.additional_origins, &origins, matcher::text)?,
    })
}
