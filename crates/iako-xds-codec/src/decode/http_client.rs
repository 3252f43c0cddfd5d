//! Who the client of an HTTP connection manager is, and what upstreams are told about it.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use iako_xds_api::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early;
use iako_xds_api::envoy::extensions::http::original_ip_detection::{
    custom_header::v3::CustomHeaderConfig, xff::v3::XffConfig,
};
use pb::http_connection_manager as inner;
use prost::Name as _;
use prost_types::Any;

use super::{header, match_tree, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ClientCertDetails, ForwardClientCert, ForwardClientCertRule, HeaderEdit, HttpConnectionManager,
    IpDetection, SchemeChange, ServerHeader,
};

pub(super) fn client(
    config: &pb::HttpConnectionManager,
    value: &mut HttpConnectionManager,
    at: &At<'_>,
) -> Result<(), Fault> {
    if !config.server_name.is_empty() {
        value.server_name.clone_from(&config.server_name);
    }
    use inner::ServerHeaderTransformation as Transformation;
    let at_server = at.field("server_header_transformation");
    value.server_header =
        match wire::known::<Transformation>(config.server_header_transformation, &at_server)? {
            Transformation::Overwrite => ServerHeader::Overwrite,
            Transformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
            Transformation::PassThrough => ServerHeader::PassThrough,
        };
    value.use_remote_address = config.use_remote_address.unwrap_or(false);
    value.xff_trusted_hops = config.xff_num_trusted_hops;
    value.skip_xff_append = config.skip_xff_append;
    value.via.clone_from(&config.via);
    if let Some(internal) = &config.internal_address_config {
        let at = at.field("internal_address_config");
        value.internal_addresses = wire::cidrs(&internal.cidr_ranges, &at.field("cidr_ranges"))?;
    }
    let at_cert = at.field("forward_client_cert_details");
    value.forward_client_cert = forward(config.forward_client_cert_details, &at_cert)?;
    value.client_cert_details = details(config.set_current_client_cert_details.as_ref());
    value.client_cert_rules = cert_rules(config, &at.field("forward_client_cert_matcher"))?;
    value.ip_detection = wire::list(
        &config.original_ip_detection_extensions,
        &at.field("original_ip_detection_extensions"),
        ip_detection,
    )?;
    if !value.ip_detection.is_empty() && (value.use_remote_address || value.xff_trusted_hops > 0) {
        let help = "leave use_remote_address and xff_num_trusted_hops out";
        let problem = "is set beside use_remote_address or xff_num_trusted_hops";
        return Err(at.field("original_ip_detection_extensions").invalid(problem, help));
    }
    value.early_headers = early_headers(config, at)?;
    value.add_user_agent = config.add_user_agent.unwrap_or(false);
    value.scheme = scheme(config.scheme_header_transformation.as_ref(), at)?;
    value.generate_request_id = config.generate_request_id.unwrap_or(true);
    value.preserve_external_request_id = config.preserve_external_request_id;
    value.request_id_in_response = config.always_set_request_id_in_response;
    Ok(())
}

fn forward(value: i32, at: &At<'_>) -> Result<ForwardClientCert, Fault> {
    use inner::ForwardClientCertDetails as Forward;
    Ok(match wire::known::<Forward>(value, at)? {
        Forward::Sanitize => ForwardClientCert::Sanitize,
        Forward::ForwardOnly => ForwardClientCert::ForwardOnly,
        Forward::AppendForward => ForwardClientCert::AppendForward,
        Forward::SanitizeSet => ForwardClientCert::SanitizeSet,
        Forward::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
    })
}

fn details(config: Option<&inner::SetCurrentClientCertDetails>) -> ClientCertDetails {
    config.map_or_else(ClientCertDetails::default, |details| ClientCertDetails {
        subject: details.subject.unwrap_or(false),
        cert: details.cert,
        chain: details.chain,
        dns: details.dns,
        uri: details.uri,
    })
}

fn cert_rules(
    config: &pb::HttpConnectionManager,
    at: &At<'_>,
) -> Result<Option<Box<iako_proxy_config::MatchTree<ForwardClientCertRule>>>, Fault> {
    let Some(config) = &config.forward_client_cert_matcher else { return Ok(None) };
    let tree = match_tree::tree(config, at, &|any: &Any, at: &At<'_>| {
        let name = pool::full_name(&any.type_url);
        if name != inner::ForwardClientCertConfig::full_name() {
            let problem = format!("`{name}` is not supported");
            return Err(at.invalid(problem, "write a ForwardClientCertConfig"));
        }
        let config: inner::ForwardClientCertConfig = wire::unpack(any, at)?;
        let at_forward = at.field("forward_client_cert_details");
        Ok(ForwardClientCertRule {
            forward: forward(config.forward_client_cert_details, &at_forward)?,
            details: details(config.set_current_client_cert_details.as_ref()),
        })
    })?;
    Ok(Some(Box::new(tree)))
}

fn ip_detection(extension: &core::TypedExtensionConfig, at: &At<'_>) -> Result<IpDetection, Fault> {
    let at = at.field("typed_config");
    let any = extension.typed_config.as_ref();
    let any = any.ok_or_else(|| at.missing("write settings with `@type`"))?;
    let name = pool::full_name(&any.type_url);
    if name == XffConfig::full_name() {
        let config: XffConfig = wire::unpack(any, &at)?;
        let at_trusted = at.field("xff_trusted_cidrs");
        let trusted = config.xff_trusted_cidrs.as_ref().map_or(&[][..], |list| &list.cidrs);
        if !trusted.is_empty() && config.xff_num_trusted_hops > 0 {
            let problem = "is set beside xff_num_trusted_hops";
            return Err(at_trusted.invalid(problem, "write one of the two"));
        }
        return Ok(IpDetection::ForwardedFor {
            trusted_hops: config.xff_num_trusted_hops,
            trusted: wire::cidrs(trusted, &at_trusted.field("cidrs"))?,
            skip_append: config.skip_xff_append.unwrap_or(true),
        });
    }
    if name == CustomHeaderConfig::full_name() {
        let config: CustomHeaderConfig = wire::unpack(any, &at)?;
        let at_reject = at.field("reject_with_status");
        let status = |code: i32| wire::status(u32::try_from(code).unwrap_or(0), 400, &at_reject);
        return Ok(IpDetection::Header {
            name: wire::header_name(&config.header_name, &at.field("header_name"))?,
            trusted: config.allow_extension_to_set_address_as_trusted,
            reject_with: config.reject_with_status.map(|reject| status(reject.code)).transpose()?,
        });
    }
    Err(at.invalid(format!("`{name}` is not supported"), "use XffConfig or CustomHeaderConfig"))
}

fn early_headers(
    config: &pb::HttpConnectionManager,
    at: &At<'_>,
) -> Result<Vec<HeaderEdit>, Fault> {
    let at = at.field("early_header_mutation_extensions");
    let read = |extension: &core::TypedExtensionConfig, at: &At<'_>| {
        let at = at.field("typed_config");
        let any = extension.typed_config.as_ref();
        let any = any.ok_or_else(|| at.missing("write settings with `@type`"))?;
        let name = pool::full_name(&any.type_url);
        if name != early::HeaderMutation::full_name() {
            return Err(at.invalid(format!("`{name}` is not supported"), "use HeaderMutation"));
        }
        let config: early::HeaderMutation = wire::unpack(any, &at)?;
        wire::list(&config.mutations, &at.field("mutations"), header::edit)
    };
    let lists = wire::list(&config.early_header_mutation_extensions, &at, read)?;
    Ok(lists.into_iter().flatten().collect())
}

fn scheme(
    config: Option<&core::SchemeHeaderTransformation>,
    at: &At<'_>,
) -> Result<SchemeChange, Fault> {
    use core::scheme_header_transformation::Transformation;
    let Some(config) = config else { return Ok(SchemeChange::Keep) };
    let at = at.field("scheme_header_transformation");
    match &config.transformation {
        _ if config.match_upstream => Ok(SchemeChange::MatchUpstream),
        None => Ok(SchemeChange::Keep),
        Some(Transformation::SchemeToOverwrite(scheme)) => match scheme.as_str() {
            "http" | "https" => Ok(SchemeChange::Overwrite(scheme.clone())),
            _ => Err(at
                .field("scheme_to_overwrite")
                .invalid(format!("`{scheme}` is no scheme"), "write http or https")),
        },
    }
}
