//! What fuzz targets call; compiled always, so that it cannot rot.

use std::time::{Duration, UNIX_EPOCH};

use iako_cel::Options;
use serde_json::Value as Json;

use super::{AccessLogFormat, AccessRecord};
use crate::flags::{ResponseFlag, ResponseFlags};

/// Compiles a format, as text or, where the input is an object, as JSON too, and renders a record: what is
/// written is the same twice, and JSON is one line that can be read.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_access_log_format(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let calling = Options { string_conversion: true, string_concat: true, string_functions: true };
    if let Ok(format) = AccessLogFormat::text_with(text, calling) {
        rendered(&format);
        rendered(&format.omitting_empty());
    }
    let Ok(object) = serde_json::from_str::<Json>(text) else { return };
    if let Ok(format) = AccessLogFormat::json_with(&object, calling) {
        for format in [format.clone(), format.omitting_empty()] {
            let line = rendered(&format);
            let body = line.strip_suffix(b"\n").unwrap_or(&line);
            assert!(!body.contains(&b'\n'), "a line ends once");
            assert!(serde_json::from_slice::<Json>(body).is_ok(), "a line of JSON can be read");
        }
    }
}

fn rendered(format: &AccessLogFormat) -> Vec<u8> {
    let headers = [
        (":method", "GET"),
        (":path", "/a%20b?x=1&y=%zz"),
        (":authority", "a.test:80"),
        ("x-a", "one \"two\"\t"),
        ("content-type", "application/grpc"),
    ];
    let response = [("grpc-status", "14"), ("x-b", "\u{e4}")];
    let mut record = AccessRecord::new(UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123));
    record.request_headers = &headers;
    record.response_headers = &response;
    record.duration = Some(Duration::from_micros(2_345));
    record.response_code = Some(503);
    record.response_code_details = Some("a b");
    record.flags = ResponseFlags::NONE.with(ResponseFlag::NoRouteFound);
    record.downstream.remote_address = Some(([127, 0, 0, 1], 8_080).into());
    let render = || {
        let mut line = Vec::new();
        format.render(&record, &mut line);
        line
    };
    let line = render();
    assert_eq!(line, render(), "a line depends on nothing but the record");
    line
}
