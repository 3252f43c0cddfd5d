//! Sessions that stay with one instance.
//!
//! A session is remembered by the client: the address of its instance, in base64. A cookie with a
//! life holds a small protobuf message in place of the bare address, so that it ends even if the
//! client keeps it: field 1 is the address, field 2 the end in seconds since 1970, as Envoy has it.

use iako_proxy_config::{HeaderName, SessionCookie, SessionState};

use crate::{Headers, RequestHead, base64, matching::header_texts, text::cookie_value};

/// What a request says of its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionAsked {
    /// The instance that it wants, as its address.
    pub address: Option<String>,
    /// A header of the request that becomes the upstream's own value again.
    pub restored: Option<(HeaderName, String)>,
}

/// What is done to a response, so that the client remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionMark {
    /// A cookie, as the value of `set-cookie`.
    Cookie(String),
    /// A header in place of those of its name.
    Header(HeaderName, String),
}

/// Reads what a request says of its session; none where it cannot have one. `now` is in seconds
/// since 1970.
#[must_use]
pub fn session_asked(
    state: &SessionState,
    head: &RequestHead<'_>,
    now: u64,
) -> Option<SessionAsked> {
    match state {
        SessionState::Cookie(cookie) => {
            if !is_below(head.path_and_query, &cookie.path) {
                return None;
            }
            let texts = header_texts(head, "cookie");
            let mut values =
                texts.filter_map(|text| cookie_value(&text, &cookie.name).map(decoded));
            let address = values.next().flatten().and_then(|bytes| cookie_address(&bytes, now));
            Some(SessionAsked { address, restored: None })
        }
        SessionState::Header(name) => {
            let sent = head.text(name.as_str());
            let address = sent.and_then(|text| text_of(&text));
            Some(SessionAsked { address, restored: None })
        }
        SessionState::Envelope(name) => Some(envelope(name, head)),
    }
}

/// What the client has to remember, now that the instance at `served_by` has answered; nothing when
/// it knows already.
#[must_use]
pub fn session_mark(
    state: &SessionState,
    asked: &SessionAsked,
    served_by: &str,
    response: &dyn Headers,
    now: u64,
) -> Option<SessionMark> {
    let is_known = asked.address.as_deref() == Some(served_by);
    match state {
        SessionState::Cookie(_) | SessionState::Header(_) if is_known => None,
        SessionState::Cookie(cookie) => {
            Some(SessionMark::Cookie(set_cookie(cookie, served_by, now)))
        }
        SessionState::Header(name) => {
            Some(SessionMark::Header(name.clone(), base64::encode(served_by.as_bytes())))
        }
        SessionState::Envelope(name) => {
            // Only a value of the upstream's own is an envelope, and only one.
            let own = response.value(name.as_str(), 0)?;
            if response.value(name.as_str(), 1).is_some() {
                return None;
            }
            let (address, own) = (base64::encode(served_by.as_bytes()), base64::encode(own));
            Some(SessionMark::Header(name.clone(), format!("{address};UV:{own}")))
        }
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    base64::decode(text).filter(|bytes| !bytes.is_empty())
}

fn text_of(text: &str) -> Option<String> {
    String::from_utf8(decoded(text)?).ok()
}

fn envelope(name: &HeaderName, head: &RequestHead<'_>) -> SessionAsked {
    let Some(sent) = head.text(name.as_str()) else { return SessionAsked::default() };
    let mut parts = sent.split(';').filter(|part| !part.is_empty());
    let address = parts.next().and_then(text_of);
    let own = parts.find_map(|part| part.strip_prefix("UV:")).and_then(text_of);
    match own {
        Some(own) => SessionAsked { address, restored: Some((name.clone(), own)) },
        None => SessionAsked::default(),
    }
}

/// Whether a cookie of this path belongs to a request.
fn is_below(target: &str, path: &str) -> bool {
    let Some(rest) = target.strip_prefix(path) else { return false };
    path.is_empty() || path.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?', '#'])
}

/// The address in a cookie: bare, or in a message that has not ended yet.
fn cookie_address(bytes: &[u8], now: u64) -> Option<String> {
    let (address, ends) = match message(bytes) {
        Some((address, ends)) => (address, ends),
        None => (bytes, 0),
    };
    let is_over = ends != 0 && ends < now;
    let address = std::str::from_utf8(address).ok()?;
    (!is_over && !address.is_empty()).then(|| address.to_owned())
}

/// Field 1, a text, and field 2, a number, and nothing else.
fn message(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let rest = bytes.strip_prefix(&[0x0a])?;
    let (length, rest) = number(rest)?;
    let (address, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    match rest.strip_prefix(&[0x10]) {
        Some(rest) => {
            number(rest).filter(|(_, rest)| rest.is_empty()).map(|(ends, _)| (address, ends))
        }
        None => rest.is_empty().then_some((address, 0)),
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        let shift = u32::try_from(place).ok()?.checked_mul(7)?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.split_at_checked(place.checked_add(1)?)?.1));
        }
    }
    None
}

fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn set_cookie(cookie: &SessionCookie, address: &str, now: u64) -> String {
    let mut bytes = vec![0x0a];
    push_number(&mut bytes, u64::try_from(address.len()).unwrap_or_default());
    bytes.extend_from_slice(address.as_bytes());
    if let Some(ttl) = cookie.ttl {
        bytes.push(0x10);
        push_number(&mut bytes, now.saturating_add(ttl.as_secs()));
    }
    let mut text = format!("{}=\"{}\"", cookie.name, base64::encode(&bytes));
    if let Some(ttl) = cookie.ttl {
        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
    }
    if !cookie.path.is_empty() {
        text.push_str(&format!("; Path={}", cookie.path));
    }
    for (name, value) in &cookie.attributes {
        text.push_str("; ");
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
    }
    text.push_str("; HttpOnly");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::HeaderList;

    fn cookie(ttl: Option<u64>, path: &str) -> SessionState {
        SessionState::Cookie(SessionCookie {
            name: "sess".into(),
            path: path.into(),
            ttl: ttl.map(Duration::from_secs),
            attributes: vec![("SameSite".into(), "Lax".into())],
        })
    }

    fn asked(state: &SessionState, path: &str, sent: &[(&str, &str)]) -> Option<SessionAsked> {
        let headers: HeaderList = sent.iter().copied().collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: path,
            headers: &headers,
        };
        session_asked(state, &head, 1_795_291_720)
    }

    fn mark(
        state: &SessionState,
        asked: &SessionAsked,
        sent: &[(&str, &str)],
    ) -> Option<SessionMark> {
        let headers: HeaderList = sent.iter().copied().collect();
        session_mark(state, asked, "127.77.0.1:31001", &headers, 1_795_291_720)
    }

    // As a real Envoy 1.40 wrote and read them.
    #[test]
    fn cookies_are_those_of_envoy() {
        let state = cookie(Some(120), "/p");
        let nobody = asked(&state, "/p/x", &[]).unwrap();
        assert_eq!(nobody, SessionAsked::default());
        let text = "sess=\"ChAxMjcuNzcuMC4xOjMxMDAxEMD1h9gG\"; Max-Age=120; Path=/p; SameSite=Lax; HttpOnly";
        assert_eq!(mark(&state, &nobody, &[]), Some(SessionMark::Cookie(text.to_owned())));
        let known =
            asked(&state, "/p?x", &[("cookie", "a=b; sess=ChAxMjcuNzcuMC4xOjMxMDAxEMD1h9gG")]);
        let known = known.unwrap();
        assert_eq!(known.address.as_deref(), Some("127.77.0.1:31001"));
        assert_eq!(mark(&state, &known, &[]), None, "the client knows");
        assert_eq!(asked(&state, "/path", &[]), None, "below another path");
        let over = [("cookie", "sess=ChAxMjcuNzcuMC4xOjMxMDAxEAE=")];
        assert_eq!(asked(&state, "/p", &over).unwrap().address, None, "ended long ago");
        let bare = [("cookie", "sess=MTI3Ljc3LjAuMTozMTAwMQ==")];
        let bare = asked(&cookie(None, ""), "/", &bare).unwrap();
        assert_eq!(bare.address.as_deref(), Some("127.77.0.1:31001"));
    }

    #[test]
    fn headers_and_envelopes_are_those_of_envoy() {
        let name: HeaderName = "x-sess".parse().unwrap();
        let state = SessionState::Header(name.clone());
        let other = asked(&state, "/", &[("x-sess", "MTI3Ljc3LjAuMTozMTAwMg==")]).unwrap();
        assert_eq!(other.address.as_deref(), Some("127.77.0.1:31002"));
        let wanted = SessionMark::Header(name.clone(), "MTI3Ljc3LjAuMTozMTAwMQ==".into());
        assert_eq!(mark(&state, &other, &[]), Some(wanted));
        let state = SessionState::Envelope(name.clone());
        let sent = [("x-sess", "MTI3Ljc3LjAuMTozMTAwMQ==;UV:b3JpZw==")];
        let known = asked(&state, "/", &sent).unwrap();
        assert_eq!(known.address.as_deref(), Some("127.77.0.1:31001"));
        assert_eq!(known.restored, Some((name.clone(), "orig".into())));
        let wanted = SessionMark::Header(name, "MTI3Ljc3LjAuMTozMTAwMQ==;UV:bWluZQ==".into());
        assert_eq!(mark(&state, &known, &[("x-sess", "mine")]), Some(wanted));
        assert_eq!(mark(&state, &known, &[]), None);
        assert_eq!(asked(&state, "/", &[("x-sess", "plain")]), Some(SessionAsked::default()));
    }
}
