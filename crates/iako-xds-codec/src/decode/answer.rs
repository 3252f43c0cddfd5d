//! Answers that a route gives by itself.

use bytes::Bytes;
use iako_xds_api::envoy::config::route::v3 as pb;

use super::{access_log, matcher, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{DirectResponse, Redirect, RedirectPath, RedirectScheme};

pub(super) fn direct_response(
    config: &pb::DirectResponseAction,
    body_bytes_max: u32,
    at: &At<'_>,
) -> Result<DirectResponse, Fault> {
    let at_body = at.field("body");
    let body = match &config.body {
        Some(source) => wire::data_source(source, &at_body)?,
        None => Vec::new(),
    };
    if body.len() > usize::try_from(body_bytes_max).unwrap_or(usize::MAX) {
        let help = "raise max_direct_response_body_size_bytes of the route configuration";
        let problem = format!("has {} bytes, more than {}", body.len(), body_bytes_max);
        return Err(at_body.invalid(problem, help));
    }
    Ok(DirectResponse {
        status: wire::status(config.status, 200, &at.field("status"))?,
        body: Bytes::from(body),
        format: access_log::body_format(config.body_format.as_ref(), &at.field("body_format"))?,
    })
}

pub(super) fn redirect(config: &pb::RedirectAction, at: &At<'_>) -> Result<Redirect, Fault> {
    use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let scheme = match &config.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(RedirectScheme::Https),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
            filled(scheme).map(RedirectScheme::Scheme)
        }
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
    };
    let path = match &config.path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => filled(path).map(RedirectPath::Full),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            Some(RedirectPath::Prefix(prefix.clone()))
        }
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
            let (pattern, substitution) =
                matcher::substitution(rewrite, &at.field("regex_rewrite"))?;
            Some(RedirectPath::Regex { pattern, substitution })
        }
        Some(PathRewriteSpecifier::PathRewrite(format)) => filled(format).map(RedirectPath::Format),
    };
    let at_port = at.field("port_redirect");
    let code =
        wire::known::<RedirectResponseCode>(config.response_code, &at.field("response_code"))?;
    Ok(Redirect {
        scheme,
        host: filled(&config.host_redirect),
        port: match config.port_redirect {
            0 => None,
            port => Some(wire::port(port, &at_port)?),
        },
        path,
        status: match code {
            RedirectResponseCode::MovedPermanently => 301,
            RedirectResponseCode::Found => 302,
            RedirectResponseCode::SeeOther => 303,
            RedirectResponseCode::TemporaryRedirect => 307,
            RedirectResponseCode::PermanentRedirect => 308,
        },
        strip_query: config.strip_query,
    })
}
