//! What passes between this proxy and the services that its filters ask: values to bytes and back.
//! The values stand in `iako-proxy-config`; framing and calls are the proxy's.

pub mod check;
pub mod limit;
pub mod load;
pub mod log;
pub mod otel_log;
pub mod processing;
pub mod span;
mod value;

use iako_proxy_config::{AppendAction, ServiceHeader};
use iako_xds_api::envoy::config::core::v3 as core;

/// A change of a header as a service asks for it.
fn header(option: &core::HeaderValueOption) -> ServiceHeader {
    use core::header_value_option::HeaderAppendAction as Action;
    let header = option.header.clone().unwrap_or_default();
    let action = Action::try_from(option.append_action).unwrap_or_default();
    ServiceHeader {
        name: header.key,
        value: if header.raw_value.is_empty() {
            header.value.into_bytes()
        } else {
            header.raw_value.to_vec()
        },
        action: match (action, option.append) {
            (Action::AppendIfExistsOrAdd, Some(true) | None) => AppendAction::AppendOrAdd,
            (Action::AddIfAbsent, _) => AppendAction::AddIfAbsent,
            (Action::AppendIfExistsOrAdd, Some(false)) | (Action::OverwriteIfExistsOrAdd, _) => {
                AppendAction::OverwriteOrAdd
            }
            (Action::OverwriteIfExists, _) => AppendAction::OverwriteIfExists,
        },
        named: option.append.is_some() || action != Action::AppendIfExistsOrAdd,
        keep_empty: option.keep_empty_value,
    }
}

fn headers(options: &[core::HeaderValueOption]) -> Vec<ServiceHeader> {
    options.iter().map(header).collect()
}
