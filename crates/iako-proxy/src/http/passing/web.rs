//! Answers to browsers that call by gRPC, from servers that do not speak it.

use bytes::Bytes;
use iako_http::{FieldValue, Known, ResponseHead};

use super::Passing;
use super::observe::{Ends, flows};
use crate::http::content::Gathered;
use crate::http::downstream::Content;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::grpc;

/// Bytes of the content of a foreign answer that a caller is told.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

impl Exchange<'_> {
    /// Whether a browser that called by gRPC is answered in something else.
    pub(super) fn is_foreign_to_web(&self, head: &ResponseHead) -> bool {
        let content_type = self.response_edits.fields.get(head.fields(), Known::ContentType);
        self.request.web.is_some() && !content_type.is_some_and(is_of_calls)
    }

    /// Makes of an answer what the caller can read: its status and its content become those of a call
    /// that failed. One without content keeps its head but for the type.
    ///
    /// Source: Envoy `envoy.filters.http.grpc_web`.
    pub(super) async fn answer_web_call(
        &mut self,
        passing: &mut Passing,
        ends: &mut Ends<'_, '_, '_>,
    ) -> Result<Gathered, Failure> {
        let Some(web) = self.request.web else { return Ok(Gathered::Whole) };
        let content_type = FieldValue::from_static(web.content_type());
        self.response_edits.fields.set(Known::ContentType, content_type);
        if !flows(passing.content) {
            return Ok(Gathered::Whole);
        }
        let gathered = self.gather_answer(self.service.kept_bytes_max, passing, ends).await?;
        if gathered == Gathered::Beyond {
            self.refuse_response(passing);
            return Ok(gathered);
        }
        let content = self.download.held();
        self.download.replace_held(Bytes::new(), gathered);
        let told = content.get(..MESSAGE_BYTES_MAX).unwrap_or(&content);
        let status = grpc::status_of_http(self.response_edits.status(&passing.head));
        let fields = &mut self.response_edits.fields;
        fields.set(Known::GrpcStatus, FieldValue::from(u64::from(status)));
        fields.set(Known::GrpcMessage, FieldValue::sanitized(grpc::message(told)));
        passing.content = Content::Exact(0);
        Ok(gathered)
    }
}

/// Whether this is the type of an answer to a call, plain or as browsers read it. Parameters make it
/// another one, as in Envoy.
fn is_of_calls(content_type: &[u8]) -> bool {
    let plain = iako_traffic::is_grpc_content_type(content_type) && !content_type.contains(&b';');
    plain || matches!(content_type, b"application/grpc-web" | b"application/grpc-web+proto")
}
