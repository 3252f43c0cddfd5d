//! Heads between our form and the `http` crate's, which the `h2` crate speaks.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, StatusCode, Uri};
use iako_http::{
    BodyLength, Fields, FieldsBuilder, HeaderEdits, Known, Method, RequestEdits, RequestHead,
    RequestParts, ResponseEdits, ResponseHead, Scheme, Version, edited_fields,
};

use super::downstream::Content;
use super::stream::Ends;

/// The head cannot be said in HTTP/2.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the head cannot be said in HTTP/2")]
pub(crate) struct NotHttp2;

/// The head of an HTTP/2 request.
///
/// `:authority` wins over `host`; `host` alone is taken; crumbs of `cookie` are joined, for an
/// HTTP/1 server reads one line only (RFC 9113 §8.2.3).
pub(crate) fn request_from_h2(parts: &http::request::Parts, ends: Ends) -> RequestHead {
    let method = Method::parse(parts.method.as_str().as_bytes()).unwrap_or(Method::Get);
    let scheme = parts.uri.scheme_str().and_then(|scheme| Scheme::parse(scheme.as_bytes()));
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers.get(http::header::HOST).map_or(&b""[..], HeaderValue::as_bytes),
    };
    let path = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let length = length_of(&parts.headers, ends);
    RequestHead::from_parts(
        RequestParts {
            path: if method == Method::Connect && protocol.is_none() {
                b""
            } else {
                path.as_bytes()
            },
            method,
            scheme,
            authority,
            protocol: protocol.map_or(&b""[..], |protocol| protocol.as_str().as_bytes()),
            length,
        },
        collect(&parts.headers),
    )
}

/// The head of an HTTP/2 response.
pub(crate) fn response_from_h2(parts: &http::response::Parts, ends: Ends) -> ResponseHead {
    let length = length_of(&parts.headers, ends);
    let fields = collect(&parts.headers).build();
    ResponseHead::new(parts.status.as_u16(), Version::Http2, length, fields)
}

/// Trailers of an HTTP/2 message.
pub(crate) fn fields_from_h2(headers: &HeaderMap) -> Fields {
    collect(headers).build()
}

fn length_of(headers: &HeaderMap, ends: Ends) -> BodyLength {
    if ends == Ends::Here {
        return BodyLength::Empty;
    }
    headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(BodyLength::Chunked, BodyLength::Exact)
}

fn collect(headers: &HeaderMap) -> FieldsBuilder {
    let bytes =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let mut fields = FieldsBuilder::with_capacity(bytes + 128);
    for (name, value) in headers {
        if name == http::header::HOST || name == http::header::COOKIE {
            continue;
        }
        fields.push(name.as_str(), value.as_bytes());
    }
    let mut crumbs = headers.get_all(http::header::COOKIE).iter();
    if let Some(first) = crumbs.next() {
        let mut joined = first.as_bytes().to_vec();
        for crumb in crumbs {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
        }
        fields.push(Known::Cookie, &joined);
    }
    fields
}

/// A request as the `h2` crate sends it.
///
/// # Errors
/// When the target is no URI.
pub(crate) fn request_to_h2(
    head: &RequestHead,
    edits: &RequestEdits,
    content: Content,
) -> Result<Request<()>, NotHttp2> {
    let method = edits.method(head);
    let scheme = edits.scheme(head).unwrap_or(Scheme::Http);
    let mut uri = Uri::builder().scheme(scheme.as_str()).authority(edits.authority(head));
    let is_connect = *method == Method::Connect;
    let path = edits.path(head);
    let mut request = Request::new(());
    if is_connect && path.is_empty() {
        uri = Uri::builder().authority(edits.authority(head));
    } else {
        uri = uri.path_and_query(path);
    }
    *request.uri_mut() = uri.build().or(Err(NotHttp2))?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.method_mut() = HttpMethod::from_bytes(method.as_bytes()).or(Err(NotHttp2))?;
    // An upgraded HTTP/1 request is an extended CONNECT (RFC 8441 §4).
    if content == Content::Tunnel
        && !is_connect
        && let Some(protocol) = head.upgrade().and_then(|text| std::str::from_utf8(text).ok())
    {
        *request.method_mut() = HttpMethod::CONNECT;
        request.extensions_mut().insert(h2::ext::Protocol::from(protocol));
    }
    write_fields(head.fields(), &edits.fields, request.headers_mut());
    if let Content::Exact(length) = content {
        request.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(request)
}

/// A response as the `h2` crate sends it.
pub(crate) fn response_to_h2(
    head: &ResponseHead,
    edits: &ResponseEdits,
    content: Content,
) -> Response<()> {
    let mut response = Response::new(());
    let status = match edits.status(head) {
        // HTTP/2 has no 101: an accepted extended CONNECT is answered 200 (RFC 8441 §5).
        101 => 200,
        status => status,
    };
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.version_mut() = http::Version::HTTP_2;
    write_fields(head.fields(), &edits.fields, response.headers_mut());
    if let Content::Exact(length) | Content::Described(Some(length)) = content {
        response.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// Trailers as the `h2` crate sends them.
pub(crate) fn fields_to_h2(fields: &Fields, edits: &HeaderEdits) -> HeaderMap {
    let mut headers = HeaderMap::new();
    write_fields(fields, edits, &mut headers);
    headers
}

fn write_fields(fields: &Fields, edits: &HeaderEdits, headers: &mut HeaderMap) {
    for field in edited_fields(fields, edits) {
        if matches!(field.known, Some(Known::Host | Known::ContentLength)) {
            continue;
        }
        let Ok(name) = http::HeaderName::from_bytes(field.name) else { continue };
        let shared =
            fields.share(field.value).unwrap_or_else(|| Bytes::copy_from_slice(field.value));
        let Ok(value) = HeaderValue::from_maybe_shared(shared) else { continue };
        headers.append(name, value);
    }
}
