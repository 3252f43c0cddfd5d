//! Heads of responses (RFC 9113 §8.3.2).

use super::error::SectionError;
use super::read::{PseudoFields, Section, body_length};
use crate::h2::Ends;
use crate::head::{BodyLength, Persistence, ResponseHead, Version};
use crate::hpack::Pseudo;
use crate::parse::ResponseTo;

/// `:status`, once it has come.
#[derive(Debug, Default)]
pub(super) struct Status(Option<u16>);

impl PseudoFields for Status {
    fn take(
        &mut self,
        pseudo: Pseudo,
        value: &[u8],
        _: &mut Section<'_>,
    ) -> Result<(), SectionError> {
        if pseudo != Pseudo::Status {
            return Err(SectionError::UnexpectedPseudo(pseudo));
        }
        let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = value else {
            return Err(SectionError::MalformedPseudo(pseudo));
        };
        let digit = |byte: &u8| u16::from(byte - b'0');
        let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
        // HTTP/2 has no 101 (RFC 9113 §8.6).
        if status == 101 {
            return Err(SectionError::MalformedPseudo(pseudo));
        }
        match self.0.replace(status) {
            Some(_) => Err(SectionError::RepeatedPseudo(pseudo)),
            None => Ok(()),
        }
    }
}

impl Status {
    /// Puts the head together.
    pub(super) fn head(
        self,
        section: Section<'_>,
        ends: Ends,
        to: ResponseTo,
    ) -> Result<ResponseHead, SectionError> {
        let status = self.0.ok_or(SectionError::MissingPseudo(Pseudo::Status))?;
        let announced = section.content_length()?;
        let length = match (status, to) {
            (100..=199, _) if ends.here() => return Err(SectionError::EndedInterim),
            (100..=199 | 204, _) if announced.is_some_and(|length| length > 0) => {
                return Err(SectionError::UnexpectedLength);
            }
            (200..=299, ResponseTo::Connect | ResponseTo::Upgrade) => BodyLength::Tunnel,
            (100..=199 | 204 | 304, _) | (_, ResponseTo::Head) => BodyLength::Empty,
            (_, ResponseTo::Plain | ResponseTo::Connect | ResponseTo::Upgrade) => {
                body_length(ends, announced)?
            }
        };
        Ok(ResponseHead {
            status,
            version: Version::Http2,
            length,
            persistence: Persistence::KeepAlive,
            fields: section.fields(),
        })
    }
}
