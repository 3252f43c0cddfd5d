//! What answers of the proxy itself look like.

use bytes::Bytes;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

use super::{access_log, header, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{LocalReply, ReplyMapper};

pub(super) fn local_reply(config: &pb::LocalReplyConfig, at: &At<'_>) -> Result<LocalReply, Fault> {
    Ok(LocalReply {
        mappers: wire::list(&config.mappers, &at.field("mappers"), mapper)?,
        format: access_log::body_format(config.body_format.as_ref(), &at.field("body_format"))?,
    })
}

fn mapper(config: &pb::ResponseMapper, at: &At<'_>) -> Result<ReplyMapper, Fault> {
    let (at_filter, at_status) = (at.field("filter"), at.field("status_code"));
    let filter = config.filter.as_ref().ok_or_else(|| at_filter.missing("write which answers"))?;
    let at_body = at.field("body");
    let body = config.body.as_ref().map(|body| wire::data_source(body, &at_body)).transpose()?;
    let at_format = at.field("body_format_override");
    Ok(ReplyMapper {
        filter: access_log::filter(filter, &at_filter)?,
        status: config
            .status_code
            .map(|status| wire::status(status, 200, &at_status))
            .transpose()?,
        body: body.map(Bytes::from),
        format: access_log::body_format(config.body_format_override.as_ref(), &at_format)?,
        headers: header::additions(&config.headers_to_add, &at.field("headers_to_add"))?,
    })
}
