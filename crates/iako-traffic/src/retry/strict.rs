//! Headers of clients that must be well-formed.

use iako_proxy_config::{RetryOn, StrictHeader};

use crate::RequestHead;

/// A header that is not well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictProblem {
    /// The header.
    pub name: &'static str,
    /// Its value, bad bytes replaced.
    pub value: String,
}

/// The first of the headers whose value is not what it must be. Source: Envoy
/// `Router.strict_check_headers`: 400, flag `IH`.
#[must_use]
pub fn strict_problem(headers: &[StrictHeader], head: &RequestHead<'_>) -> Option<StrictProblem> {
    headers.iter().find_map(|header| {
        let name = header.name();
        let value = head.text(name)?;
        (!is_valid(*header, &value)).then(|| StrictProblem { name, value: value.into_owned() })
    })
}

fn is_valid(header: StrictHeader, value: &str) -> bool {
    let words = |is_grpc: bool| {
        let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(RetryOn::from_word).all(|word| word.is_some_and(|on| on.is_grpc() == is_grpc))
    };
    match header {
        StrictHeader::Timeout | StrictHeader::PerTryTimeout | StrictHeader::RetriesMax => {
            value.trim().parse::<u64>().is_ok()
        }
        StrictHeader::RetryOn => words(false),
        StrictHeader::RetryGrpcOn => words(true),
    }
}
