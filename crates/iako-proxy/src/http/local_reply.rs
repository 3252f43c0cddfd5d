//! What answers of the proxy itself look like.

use bytes::Bytes;
use iako_http::FieldValue;
use iako_proxy_config::{BodyFormat, LocalReply, LogFormat, ReplyMapper};
use iako_telemetry::{AccessLogFormat, AccessRecord, access_log::FormatError};

use crate::access_log::{FilterFacts, compile, takes};

/// Changes to answers of the proxy itself, compiled.
#[derive(Debug)]
pub(crate) struct LocalReplies {
    mappers: Vec<(ReplyMapper, Option<BodyWriter>)>,
    writer: Option<BodyWriter>,
}

/// How a body is written, compiled.
#[derive(Debug)]
pub(crate) struct BodyWriter {
    format: AccessLogFormat,
    content_type: FieldValue,
}

impl BodyWriter {
    /// Compiles a format.
    ///
    /// # Errors
    /// When an operator is unknown or malformed.
    pub(crate) fn compile(format: &BodyFormat) -> Result<Self, FormatError> {
        let plain = match &format.format {
            LogFormat::Calling(format, _) => &**format,
            LogFormat::Default
            | LogFormat::Text(_)
            | LogFormat::TextOmittingEmpty(_)
            | LogFormat::Json(_) => &format.format,
        };
        let is_json = matches!(plain, LogFormat::Json(_));
        let content_type = match format.content_type.as_str() {
            "" if is_json => "application/json",
            "" => "text/plain",
            written => written,
        };
        Ok(Self {
            format: compile(&format.format)?,
            content_type: FieldValue::sanitized(content_type.to_owned()),
        })
    }

    /// What bodies are.
    pub(crate) fn content_type(&self) -> FieldValue {
        self.content_type.clone()
    }

    /// The body.
    pub(crate) fn write(&self, record: &AccessRecord<'_>) -> Bytes {
        let mut body = Vec::new();
        self.format.render(record, &mut body);
        Bytes::from(body)
    }
}

impl LocalReplies {
    /// Compiles the changes; none when nothing is changed.
    ///
    /// # Errors
    /// When an operator is unknown or malformed.
    pub(crate) fn compile(settings: &LocalReply) -> Result<Option<Self>, FormatError> {
        if *settings == LocalReply::default() {
            return Ok(None);
        }
        let writer =
            |format: &Option<BodyFormat>| format.as_ref().map(BodyWriter::compile).transpose();
        let mappers = settings.mappers.iter();
        let mappers = mappers.map(|mapper| Ok((mapper.clone(), writer(&mapper.format)?)));
        let mappers = mappers.collect::<Result<_, FormatError>>()?;
        Ok(Some(Self { mappers, writer: writer(&settings.format)? }))
    }

    /// The mapper that takes an answer, and how its body is written.
    pub(crate) fn choose(
        &self,
        record: &AccessRecord<'_>,
        facts: FilterFacts,
    ) -> (Option<&ReplyMapper>, Option<&BodyWriter>) {
        let mut mappers = self.mappers.iter();
        let found = mappers.find(|(mapper, _)| {
            mapper.filter.as_ref().is_none_or(|filter| takes(filter, record, facts))
        });
        let own = found.and_then(|(_, writer)| writer.as_ref());
        (found.map(|(mapper, _)| mapper), own.or(self.writer.as_ref()))
    }
}
