//! One HTTP request of the proxy's own.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use iako_http::{
    BodyLength, Fields, FieldsBuilder, Method, NameRef, RequestHead, RequestParts, Scheme, Version,
};
use iako_proxy_config::EndpointAddress;
use iako_rt::clock;
use iako_traffic::Headers;

use super::call::{Asked, Call};
use super::{CallError, within};
use crate::http::downstream::Content;
use crate::worker::Worker;

/// A question by HTTP.
#[derive(Debug)]
pub(crate) struct Question<'q> {
    /// Who is asked, by the cluster's name.
    pub(crate) cluster: &'q str,
    pub(crate) method: Method,
    pub(crate) authority: &'q str,
    pub(crate) path: &'q str,
    /// Further fields, in order.
    pub(crate) fields: &'q [(&'q str, &'q [u8])],
    /// Its content, whose length is announced; none for a request without.
    pub(crate) body: Option<Bytes>,
    /// Longest time for the whole answer; none where whoever asks keeps it.
    pub(crate) limit: Option<Duration>,
    /// Longest answer that is taken, in bytes.
    pub(crate) answer_bytes_max: usize,
}

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Bytes,
    /// Who answered.
    pub(crate) host: EndpointAddress,
    /// In what.
    pub(crate) version: Version,
    /// Milliseconds from the question to the head of the answer.
    took_ms: String,
}

/// Asks.
///
/// # Errors
/// When there is nobody to ask, no answer in time, or one that is too long.
pub(crate) async fn ask(worker: &Rc<Worker>, question: &Question<'_>) -> Result<Answer, CallError> {
    let head = head(question);
    let content = match &question.body {
        None => Content::None,
        Some(body) => Content::Exact(body.len() as u64),
    };
    let asked = Asked { cluster: question.cluster, version: Version::Http11, head: &head, content };
    let began = clock::now();
    let mut call = within(question.limit, Box::pin(Call::begin(worker, asked))).await?;
    if let Some(body) = question.body.as_ref().filter(|body| !body.is_empty()) {
        call.upstream().send_data(body.clone())?;
    }
    call.upstream().send_end(None)?;
    let left =
        |limit: Duration| limit.saturating_sub(clock::now().saturating_duration_since(began));
    let answered = within(question.limit.map(left), call.head()).await;
    if matches!(answered, Err(CallError::Late(_))) {
        call.late();
    }
    let head = answered?;
    let took = clock::now().saturating_duration_since(began).as_millis();
    let host = call.host().clone();
    let reading = call.finish(question.answer_bytes_max);
    let (body, _) = within(question.limit.map(left), reading).await?;
    let took_ms = took.to_string();
    Ok(Answer {
        status: head.status(),
        fields: head.fields().clone(),
        body,
        took_ms,
        host,
        version: head.version(),
    })
}

impl Headers for Answer {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        if name == SERVICE_TIME {
            return (nth == 0).then_some(self.took_ms.as_bytes());
        }
        let wanted = NameRef::from(name);
        let mut fields = self.fields.iter().filter(|field| field.is(wanted));
        fields.nth(nth).map(|field| field.value)
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for field in self.fields.iter() {
            if let Ok(name) = std::str::from_utf8(field.name) {
                visit(&name.to_ascii_lowercase(), field.value);
            }
        }
        visit(SERVICE_TIME, self.took_ms.as_bytes());
    }
}

/// Milliseconds that the service took; written into its answer, as Envoy's client does.
const SERVICE_TIME: &str = "x-envoy-upstream-service-time";

fn head(question: &Question<'_>) -> RequestHead {
    let mut fields = FieldsBuilder::with_capacity(256);
    for (name, value) in question.fields {
        fields.push(NameRef::from(name.as_bytes()), value);
    }
    let length = match &question.body {
        None => BodyLength::Empty,
        Some(body) => BodyLength::Exact(body.len() as u64),
    };
    let parts = RequestParts {
        method: question.method.clone(),
        scheme: Some(Scheme::Http),
        authority: question.authority.as_bytes(),
        path: question.path.as_bytes(),
        protocol: b"",
        length,
    };
    RequestHead::from_parts(parts, fields)
}

/// Scheme, authority, and path with query of a URL; none when it is no `http` or `https` URL.
pub(crate) fn parts_of(url: &str) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = Scheme::parse(scheme.as_bytes())?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    Some((scheme, authority, if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parts = |url| parts_of(url).map(|(_, authority, path)| (authority, path));
        assert_eq!(parts("http://a.test"), Some(("a.test", "/")));
        assert_eq!(parts("https://a.test:8/b?c"), Some(("a.test:8", "/b?c")));
        assert_eq!(parts("a.test"), None);
        assert_eq!(parts("ftp://a.test"), None);
    }
}
