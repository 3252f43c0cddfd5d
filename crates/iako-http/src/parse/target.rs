//! The request target in its four forms (RFC 9112 §3.2).

use bytes::BytesMut;

use crate::error::ParseError;
use crate::head::{Scheme, TargetForm};
use crate::method::Method;
use crate::scan::{Span, is_visible};

pub(super) struct Target {
    pub(super) form: TargetForm,
    pub(super) scheme: Option<Scheme>,
    pub(super) authority: Option<Span>,
    pub(super) path: Span,
}

/// Reads a target where it stands. A target without a path gets its `/` by moving what precedes it one
/// byte to the front, over the space that ends the method.
pub(super) fn parse(
    target: Span,
    block: &mut BytesMut,
    method: &Method,
) -> Result<Target, ParseError> {
    let text = target.of(block);
    if !is_target(text) {
        let has_control = text.iter().any(u8::is_ascii_control);
        return Err(if has_control {
            ParseError::TargetCharacter
        } else {
            ParseError::RequestLine
        });
    }
    if *method == Method::Connect {
        return if is_host_and_port(text) {
            Ok(Target {
                form: TargetForm::Authority,
                scheme: None,
                authority: Some(target),
                path: Span { start: target.start, len: 0 },
            })
        } else {
            Err(ParseError::Target)
        };
    }
    match text {
        [b'/', ..] => {
            Ok(Target { form: TargetForm::Origin, scheme: None, authority: None, path: target })
        }
        [b'*'] if *method == Method::Options => {
            Ok(Target { form: TargetForm::Asterisk, scheme: None, authority: None, path: target })
        }
        [b'*'] => Err(ParseError::Target),
        _ => absolute(target, block, method),
    }
}

fn absolute(target: Span, block: &mut BytesMut, method: &Method) -> Result<Target, ParseError> {
    let text = target.of(block);
    let colon = crate::scan::find(b':', text).ok_or(ParseError::RequestLine)?;
    let Some([b'/', b'/', rest @ ..]) = text.get(colon + 1..) else {
        return Err(ParseError::RequestLine);
    };
    let scheme = text.get(..colon).and_then(Scheme::parse).ok_or(ParseError::Scheme)?;
    let authority_len =
        rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority_text = rest.get(..authority_len).unwrap_or_default();
    if authority_text.is_empty() || !is_authority(authority_text) {
        return Err(ParseError::Target);
    }
    let has_path = rest.get(authority_len) == Some(&b'/');
    let path_len = rest.len() - authority_len;
    // RFC 9112 §3.2.4: without path and query, OPTIONS asks about the server as a whole.
    let is_asterisk = *method == Method::Options && path_len == 0;
    let mut authority_start = target.start as usize + colon + 3;
    let mut path_start = authority_start + authority_len;
    if !has_path {
        let start = target.start as usize;
        block.copy_within(start..path_start, start - 1);
        authority_start -= 1;
        path_start -= 1;
        if let Some(slash) = block.get_mut(path_start) {
            *slash = if is_asterisk { b'*' } else { b'/' };
        }
    }
    Ok(Target {
        form: if is_asterisk { TargetForm::Asterisk } else { TargetForm::Absolute },
        scheme: Some(scheme),
        authority: Some(Span::new(authority_start, authority_len)),
        path: Span::new(path_start, path_len + usize::from(!has_path)),
    })
}

/// Visible ASCII: octets beyond it come escaped (RFC 3986 §2), and readers disagree about the rest.
pub(crate) fn is_target(text: &[u8]) -> bool {
    !text.is_empty() && is_visible(text) && text.is_ascii()
}

/// Characters of host and port (RFC 3986 §3.2.2). User information is refused: nothing behind us should
/// see a password that was meant for nobody, and `a@b` has fooled host checks before.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    text.iter().all(|byte| AUTHORITY.get(usize::from(*byte)).copied().unwrap_or_default())
}

static AUTHORITY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: usize = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
    #[expect(clippy::cast_possible_truncation, reason = "byte counts to 255")]
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'['
                | b']'
        );
        byte += 1;
    }
    table
};

fn is_host_and_port(text: &[u8]) -> bool {
    let Some(colon) = text.iter().rposition(|byte| *byte == b':') else { return false };
    let (host, port) = (text.get(..colon), text.get(colon + 1..));
    let port = port.and_then(super::framing::decimal);
    host.is_some_and(|host| !host.is_empty() && is_authority(host))
        && port.is_some_and(|port| port <= u64::from(u16::MAX))
}
