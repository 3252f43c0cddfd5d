//! Who the client of an HTTP connection manager is, and what upstreams are told about it.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use iako_xds_api::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early;
use iako_xds_api::envoy::extensions::http::original_ip_detection::{
    custom_header::v3::CustomHeaderConfig,
    xff::v3::{XffConfig, XffTrustedCidrs},
};
use iako_xds_api::envoy::r#type::v3::HttpStatus;
use pb::http_connection_manager as inner;

use super::{header, match_tree, wire};
use iako_proxy_config::{
    ClientCertDetails, ForwardClientCert, HttpConnectionManager, IpDetection, SchemeChange,
    ServerHeader,
};

pub(super) fn client(value: &HttpConnectionManager, message: &mut pb::HttpConnectionManager) {
    use inner::ServerHeaderTransformation as Transformation;
    message.server_name.clone_from(&value.server_name);
    message.server_header_transformation = match value.server_header {
        ServerHeader::Overwrite => Transformation::Overwrite,
        ServerHeader::AppendIfAbsent => Transformation::AppendIfAbsent,
        ServerHeader::PassThrough => Transformation::PassThrough,
    }
    .into();
    message.use_remote_address = Some(value.use_remote_address);
    message.xff_num_trusted_hops = value.xff_trusted_hops;
    message.skip_xff_append = value.skip_xff_append;
    message.via.clone_from(&value.via);
    if !value.internal_addresses.is_empty() {
        message.internal_address_config = Some(inner::InternalAddressConfig {
            cidr_ranges: wire::cidrs(&value.internal_addresses),
            ..Default::default()
        });
    }
    message.forward_client_cert_details = forward(value.forward_client_cert);
    message.set_current_client_cert_details = details(value.client_cert_details);
    message.forward_client_cert_matcher = value.client_cert_rules.as_ref().map(|tree| {
        match_tree::tree(tree, &|rule| {
            wire::any(&inner::ForwardClientCertConfig {
                forward_client_cert_details: forward(rule.forward),
                set_current_client_cert_details: details(rule.details),
            })
        })
    });
    message.original_ip_detection_extensions =
        value.ip_detection.iter().map(ip_detection).collect();
    if !value.early_headers.is_empty() {
        let mutations = value.early_headers.iter().map(header::edit).collect();
        message.early_header_mutation_extensions =
            vec![wire::extension("early", &early::HeaderMutation { mutations })];
    }
    message.add_user_agent = value.add_user_agent.then_some(true);
    message.scheme_header_transformation = scheme(&value.scheme);
    message.generate_request_id = (!value.generate_request_id).then_some(false);
    message.preserve_external_request_id = value.preserve_external_request_id;
    message.always_set_request_id_in_response = value.request_id_in_response;
}

fn forward(value: ForwardClientCert) -> i32 {
    use inner::ForwardClientCertDetails as Forward;
    match value {
        ForwardClientCert::Sanitize => Forward::Sanitize,
        ForwardClientCert::ForwardOnly => Forward::ForwardOnly,
        ForwardClientCert::AppendForward => Forward::AppendForward,
        ForwardClientCert::SanitizeSet => Forward::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => Forward::AlwaysForwardOnly,
    }
    .into()
}

fn details(value: ClientCertDetails) -> Option<inner::SetCurrentClientCertDetails> {
    (value != ClientCertDetails::default()).then(|| inner::SetCurrentClientCertDetails {
        subject: Some(value.subject),
        cert: value.cert,
        chain: value.chain,
        dns: value.dns,
        uri: value.uri,
        ..Default::default()
    })
}

fn ip_detection(value: &IpDetection) -> core::TypedExtensionConfig {
    match value {
        IpDetection::ForwardedFor { trusted_hops, trusted, skip_append } => {
            let cidrs = || XffTrustedCidrs { cidrs: wire::cidrs(trusted) };
            let config = XffConfig {
                xff_num_trusted_hops: *trusted_hops,
                xff_trusted_cidrs: (!trusted.is_empty()).then(cidrs),
                skip_xff_append: Some(*skip_append),
            };
            wire::extension("envoy.http.original_ip_detection.xff", &config)
        }
        IpDetection::Header { name, trusted, reject_with } => {
            let config = CustomHeaderConfig {
                header_name: name.as_str().to_owned(),
                allow_extension_to_set_address_as_trusted: *trusted,
                reject_with_status: reject_with.map(|code| HttpStatus { code: code.into() }),
            };
            wire::extension("envoy.http.original_ip_detection.custom_header", &config)
        }
    }
}

fn scheme(value: &SchemeChange) -> Option<core::SchemeHeaderTransformation> {
    use core::scheme_header_transformation::Transformation;
    match value {
        SchemeChange::Keep => None,
        SchemeChange::Overwrite(scheme) => Some(core::SchemeHeaderTransformation {
            transformation: Some(Transformation::SchemeToOverwrite(scheme.clone())),
            ..Default::default()
        }),
        SchemeChange::MatchUpstream => {
            Some(core::SchemeHeaderTransformation { match_upstream: true, ..Default::default() })
        }
    }
}
