//! What answers of the proxy itself look like.

use iako_xds_api::envoy::config::accesslog::v3 as log_pb;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

use super::{access_log, header, wire};
use iako_proxy_config::{LocalReply, ReplyMapper};

pub(super) fn local_reply(value: &LocalReply) -> Option<pb::LocalReplyConfig> {
    if *value == LocalReply::default() {
        return None;
    }
    Some(pb::LocalReplyConfig {
        mappers: value.mappers.iter().map(mapper).collect(),
        body_format: value.format.as_ref().and_then(access_log::body_format),
    })
}

fn mapper(value: &ReplyMapper) -> pb::ResponseMapper {
    pb::ResponseMapper {
        filter: Some(
            value.filter.as_ref().map_or_else(log_pb::AccessLogFilter::default, access_log::filter),
        ),
        status_code: value.status.map(u32::from),
        body: value.body.as_ref().map(wire::bytes_source),
        body_format_override: value.format.as_ref().and_then(access_log::body_format),
        headers_to_add: header::additions(&value.headers),
    }
}
