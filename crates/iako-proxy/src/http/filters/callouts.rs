//! What filters that ask a service have in common.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use iako_http::BodyLength;
use iako_rt::clock;

use crate::http::content::Gathered;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;

impl Exchange<'_> {
    /// Whether the request has content that can be read before it is sent on: that of a tunnel cannot.
    pub(in crate::http) fn may_gather(&self) -> bool {
        let head = &self.request.head;
        match head.length() {
            BodyLength::Empty | BodyLength::Tunnel | BodyLength::Exact(0) => false,
            BodyLength::Exact(_) | BodyLength::Chunked | BodyLength::UntilClose => {
                head.upgrade().is_none()
            }
        }
    }

    /// Reads the content of the request until it is whole, or more than `bytes_max` came. What is
    /// announced of it stays so.
    pub(in crate::http) async fn gather_as_announced(
        &mut self,
        bytes_max: u64,
        downstream: &mut Downstream<'_>,
    ) -> Result<Gathered, Failure> {
        let announced = self.upload.length();
        let gathered = self.gather(bytes_max, downstream).await?;
        self.upload.set_length(announced);
        self.now = clock::now();
        Ok(gathered)
    }

    /// What comes of a question, unless the client goes or a deadline passes meanwhile.
    pub(in crate::http) async fn while_waiting<T>(
        &mut self,
        mut asking: Pin<Box<impl Future<Output = T>>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<T, Failure> {
        let asked = poll_fn(|context| {
            if let Poll::Ready(answer) = asking.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            self.poll_interrupted(context, downstream).map(Err)
        })
        .await;
        self.now = clock::now();
        asked
    }

    /// The fields of the request, as services are told them.
    pub(in crate::http) fn told_headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut fields = self.request.listed();
        let head = &self.request.head;
        if let BodyLength::Exact(length) = head.length()
            && !fields.iter().any(|(name, _)| name == "content-length")
        {
            fields.push(("content-length".to_owned(), length.to_string().into_bytes()));
        }
        fields
    }
}
