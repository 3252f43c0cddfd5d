//! Answers that a route gives by itself.

use iako_xds_api::envoy::config::route::v3 as pb;

use super::{access_log, matcher, wire};
use iako_proxy_config::{DirectResponse, Redirect, RedirectPath, RedirectScheme};

pub(super) fn direct_response(value: &DirectResponse) -> pb::DirectResponseAction {
    pb::DirectResponseAction {
        status: value.status.into(),
        body: (!value.body.is_empty()).then(|| wire::bytes_source(&value.body)),
        body_format: value.format.as_ref().and_then(access_log::body_format),
    }
}

pub(super) fn redirect(value: &Redirect) -> pb::RedirectAction {
    use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let code = match value.status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    pb::RedirectAction {
        host_redirect: value.host.clone().unwrap_or_default(),
        port_redirect: value.port.map(u32::from).unwrap_or_default(),
        response_code: code.into(),
        strip_query: value.strip_query,
        scheme_rewrite_specifier: value.scheme.as_ref().map(|scheme| match scheme {
            RedirectScheme::Https => SchemeRewriteSpecifier::HttpsRedirect(true),
            RedirectScheme::Scheme(scheme) => {
                SchemeRewriteSpecifier::SchemeRedirect(scheme.clone())
            }
        }),
        path_rewrite_specifier: value.path.as_ref().map(|path| match path {
            RedirectPath::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
            RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.clone()),
            RedirectPath::Regex { pattern, substitution } => {
                PathRewriteSpecifier::RegexRewrite(matcher::substitution(pattern, substitution))
            }
            RedirectPath::Format(format) => PathRewriteSpecifier::PathRewrite(format.clone()),
        }),
    }
}
