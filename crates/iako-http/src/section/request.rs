//! Heads of requests (RFC 9113 §8.3.1, §8.5, RFC 8441 §4).

use super::error::SectionError;
use super::read::{PseudoFields, Section, body_length};
use crate::h2::{ConnectProtocol, Ends};
use crate::head::{BodyLength, Persistence, RequestHead, Scheme, TargetForm, TargetText, Version};
use crate::hpack::Pseudo;
use crate::method::Method;
use crate::parse::{is_authority, is_target};
use crate::scan::{Span, is_token};

/// The pseudo-header fields of a request as they come.
#[derive(Debug, Default)]
pub(super) struct RequestPseudo {
    method: Option<Method>,
    /// `None` inside for a scheme other than http and https.
    scheme: Option<Option<Scheme>>,
    authority: Option<Span>,
    path: Option<Span>,
    protocol: Option<Span>,
}

impl PseudoFields for RequestPseudo {
    fn take(
        &mut self,
        pseudo: Pseudo,
        value: &[u8],
        section: &mut Section<'_>,
    ) -> Result<(), SectionError> {
        let malformed = SectionError::MalformedPseudo(pseudo);
        let repeated = match pseudo {
            Pseudo::Method => self.method.replace(Method::parse(value).ok_or(malformed)?).is_some(),
            Pseudo::Scheme => {
                if !is_scheme(value) {
                    return Err(malformed);
                }
                self.scheme.replace(Scheme::parse(value)).is_some()
            }
            Pseudo::Authority => {
                if value.is_empty() || !is_authority(value) {
                    return Err(malformed);
                }
                self.authority.replace(section.append(value)).is_some()
            }
            Pseudo::Path => {
                if !is_target(value) {
                    return Err(malformed);
                }
                self.path.replace(section.append(value)).is_some()
            }
            Pseudo::Protocol => {
                if !is_token(value) {
                    return Err(malformed);
                }
                self.protocol.replace(section.append(value)).is_some()
            }
            Pseudo::Status => return Err(SectionError::UnexpectedPseudo(pseudo)),
        };
        if repeated { Err(SectionError::RepeatedPseudo(pseudo)) } else { Ok(()) }
    }
}

impl RequestPseudo {
    /// Puts the head together.
    pub(super) fn head(
        mut self,
        mut section: Section<'_>,
        ends: Ends,
        connect: ConnectProtocol,
    ) -> Result<RequestHead, SectionError> {
        let missing = SectionError::MissingPseudo;
        let host = section.take_host()?;
        let method = self.method.take().ok_or_else(|| missing(Pseudo::Method))?;
        let is_connect = method == Method::Connect;
        if self.protocol.is_some() && (!is_connect || connect == ConnectProtocol::Refuse) {
            return Err(SectionError::UnexpectedPseudo(Pseudo::Protocol));
        }
        let authority = match (self.authority, host) {
            (Some(authority), _) => authority,
            // RFC 9113 §8.5: only `:authority` says whom CONNECT means.
            (None, Some(host)) if !is_connect => {
                let text = section.text(host);
                if text.is_empty() || !is_authority(text) {
                    return Err(SectionError::Host);
                }
                host
            }
            (None, _) => return Err(missing(Pseudo::Authority)),
        };
        let length = body_length(ends, section.content_length()?)?;
        let mut head = RequestHead {
            method,
            version: Version::Http2,
            scheme: self.scheme.flatten(),
            form: TargetForm::Authority,
            target: TargetText::default(),
            protocol: self.protocol.unwrap_or_default(),
            length,
            persistence: Persistence::KeepAlive,
            host_name: None,
            fields: crate::head::Fields::default(),
        };
        if is_connect {
            // What follows is the tunnel's; `content-length` has no meaning there (RFC 9110 §9.3.6).
            head.length = BodyLength::Tunnel;
            section.drop_content_length();
        }
        let path = if is_connect && self.protocol.is_none() {
            self.plain_connect()?;
            Span::default()
        } else {
            if self.scheme.is_none() {
                return Err(missing(Pseudo::Scheme));
            }
            let path = self.path.ok_or_else(|| missing(Pseudo::Path))?;
            head.form = target_form(section.text(path), &head.method)?;
            path
        };
        head.target = TargetText::new(section.text(authority), section.text(path));
        head.fields = section.fields();
        Ok(head)
    }

    /// RFC 9113 §8.5: neither scheme nor path.
    fn plain_connect(&self) -> Result<(), SectionError> {
        if self.scheme.is_some() {
            return Err(SectionError::UnexpectedPseudo(Pseudo::Scheme));
        }
        if self.path.is_some() {
            return Err(SectionError::UnexpectedPseudo(Pseudo::Path));
        }
        Ok(())
    }
}

/// `:path` begins with `/`, or is `*` for OPTIONS.
fn target_form(path: &[u8], method: &Method) -> Result<TargetForm, SectionError> {
    match path {
        [b'/', ..] => Ok(TargetForm::Origin),
        [b'*'] if *method == Method::Options => Ok(TargetForm::Asterisk),
        _ => Err(SectionError::MalformedPseudo(Pseudo::Path)),
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &[u8]) -> bool {
    let more = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(more)
}
