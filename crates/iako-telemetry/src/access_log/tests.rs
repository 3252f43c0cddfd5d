use std::time::{Duration, UNIX_EPOCH};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::flags::ResponseFlag;
use crate::stats::StatsRegistry;

const REQUEST: [(&str, &str); 5] = [
    (":method", "GET"),
    (":path", "/charge?card=1"),
    (":authority", "payment-service"),
    ("user-agent", "shop/1.0 \"beta\""),
    ("x-request-id", "9f4c7b1e-0000-4000-8000-1234567890ab"),
];
const RESPONSE: [(&str, &str); 1] = [("x-envoy-upstream-service-time", "11")];

fn record() -> AccessRecord<'static> {
    AccessRecord {
        duration: Some(Duration::from_micros(12_900)),
        request_headers: &REQUEST,
        response_headers: &RESPONSE,
        protocol: Some("HTTP/1.1"),
        response_code: Some(503),
        response_code_details: Some("upstream_reset_before_response_started"),
        flags: ResponseFlag::UpstreamConnectionFailure.into(),
        bytes_received: 3,
        bytes_sent: 95,
        route_name: Some("default"),
        downstream: DownstreamFacts {
            local_address: Some("127.15.1.2:15001".parse().unwrap()),
            remote_address: Some("127.15.1.2:40112".parse().unwrap()),
            server_name: Some("outbound_.80_._.payment-service"),
            ..DownstreamFacts::default()
        },
        upstream: UpstreamFacts {
            host: Some("127.15.1.3:8080".parse().unwrap()),
            cluster: Some("outbound|80||payment-service.shop.svc.cluster.local"),
            attempts: 2,
            ..UpstreamFacts::default()
        },
        ..AccessRecord::new(UNIX_EPOCH + Duration::from_millis(1_795_253_400_123))
    }
}

fn line(format: &AccessLogFormat, record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    format.render(record, &mut out);
    String::from_utf8(out).unwrap()
}

fn check(format: &str, expected: &Expect) {
    expected.assert_eq(&line(&AccessLogFormat::text(format).unwrap(), &record()));
}

#[test]
fn istios_text_format_reads_as_operators_know_it() {
    check(
        ISTIO_TEXT,
        &expect![[r#"
            [2026-11-21T09:30:00.123Z] "GET /charge?card=1 HTTP/1.1" 503 UF upstream_reset_before_response_started - "-" 3 95 12 11 "-" "shop/1.0 "beta"" "9f4c7b1e-0000-4000-8000-1234567890ab" "payment-service" "127.15.1.3:8080" outbound|80||payment-service.shop.svc.cluster.local - 127.15.1.2:15001 127.15.1.2:40112 outbound_.80_._.payment-service default
        "#]],
    );
    assert!(AccessLogFormat::text(ENVOY_TEXT).is_ok());
}

#[test]
fn istios_json_format_keeps_numbers_and_nulls() {
    expect![[r#"
        {"start_time":"2026-11-21T09:30:00.123Z","method":"GET","path":"/charge?card=1","protocol":"HTTP/1.1","response_code":503,"response_flags":"UF","response_code_details":"upstream_reset_before_response_started","connection_termination_details":null,"upstream_transport_failure_reason":null,"bytes_received":3,"bytes_sent":95,"duration":12,"upstream_service_time":"11","x_forwarded_for":null,"user_agent":"shop/1.0 \"beta\"","request_id":"9f4c7b1e-0000-4000-8000-1234567890ab","authority":"payment-service","upstream_host":"127.15.1.3:8080","upstream_cluster":"outbound|80||payment-service.shop.svc.cluster.local","upstream_local_address":null,"downstream_local_address":"127.15.1.2:15001","downstream_remote_address":"127.15.1.2:40112","requested_server_name":"outbound_.80_._.payment-service","route_name":"default"}
    "#]]
    .assert_eq(&line(&AccessLogFormat::istio_json().unwrap(), &record()));
}

#[test]
fn operators_take_arguments_lengths_and_alternatives() {
    check(
        "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):7% %REQ_WITHOUT_QUERY(:PATH)% %RESP(none)% \
         %START_TIME(%Y/%m/%d %3f)% 100%% %RESPONSE_FLAGS_LONG% \
         %UPSTREAM_REQUEST_ATTEMPT_COUNT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        &expect!["/charge /charge - 2026/11/21 123 100% UpstreamConnectionFailure 2 127.15.1.2"],
    );
}

#[test]
fn json_formats_nest_mix_text_and_leave_out_what_is_empty() {
    let format = AccessLogFormat::json(&json!({
        "http": {"code": "%RESPONSE_CODE%", "line": "%REQ(:METHOD)% \"%PROTOCOL%\""},
        "version": 2,
        "tags": ["%ROUTE_NAME%", "%TRACE_ID%"],
        "trace": "%TRACE_ID%",
    }));
    expect![[r#"
        {"http":{"code":503,"line":"GET \"HTTP/1.1\""},"version":2,"tags":["default"]}
    "#]]
    .assert_eq(&line(&format.unwrap().omitting_empty(), &record()));
}

#[test]
fn a_grpc_status_is_shown_by_name_or_number() {
    let trailers = [("grpc-status", "14")];
    let request = [("content-type", "application/grpc+proto")];
    let record =
        AccessRecord { request_headers: &request, response_trailers: &trailers, ..record() };
    let format = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%";
    let shown = line(&AccessLogFormat::text(format).unwrap(), &record);
    assert_eq!(shown, "Unavailable UNAVAILABLE 14");
}

#[test]
fn a_header_cannot_forge_a_line() {
    let hostile = [("user-agent", "a\nb\u{7}\"\\ é")];
    let record = AccessRecord { request_headers: &hostile, ..record() };
    let text = AccessLogFormat::text("%REQ(USER-AGENT)%").unwrap();
    assert_eq!(line(&text, &record), "a\\x0ab\\x07\"\\ é");
    let format = AccessLogFormat::json(&json!({"ua": "%REQ(USER-AGENT)%"})).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&line(&format, &record)).unwrap();
    assert_eq!(parsed, json!({"ua": "a\nb\u{7}\"\\ é"}));
}

#[test]
fn a_format_that_cannot_work_is_refused_by_name() {
    let refusal = |format: &str| AccessLogFormat::text(format).unwrap_err().to_string();
    assert_eq!(
        refusal("%DURATION% %FILTER_STATES(x)%"),
        "the operator %FILTER_STATES% at position 11 is not known"
    );
    assert_eq!(
        refusal("%REQ%"),
        "the operator %REQ% at position 0 does not accept the argument ''"
    );
    assert_eq!(
        refusal("a %START_TIME(%n)%"),
        "the operator %START_TIME% at position 2 does not accept the argument '%n'"
    );
    assert_eq!(
        refusal("%PROTOCOL:3%"),
        "the operator %PROTOCOL% at position 0 does not accept a length"
    );
    assert_eq!(
        refusal("50% off"),
        "the operator that begins with '% off' at position 2 has no end; write %% for a percent \
         sign"
    );
    assert_eq!(AccessLogFormat::json(&json!("x")).unwrap_err(), FormatError::NoObject);
}

#[test]
fn lines_reach_the_file_and_follow_it_after_rotation() {
    let directory = std::env::temp_dir().join(format!("iako-access-log-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (path, moved) = (directory.join("access.log"), directory.join("access.log.1"));
    let stats = StatsRegistry::new(2);
    let logs = AccessLogs::new(2, &stats);
    let sink = logs.open(&LogTarget::File(path.clone())).unwrap();
    let format = AccessLogFormat::text("%RESPONSE_CODE%\n").unwrap();
    sink.log(&format, &record());
    sink.flush();
    std::fs::rename(&path, &moved).unwrap();
    logs.reopen();
    sink.log(&format, &record());
    sink.log(&format, &record());
    logs.flush();
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "503\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "503\n503\n");
    assert_eq!(stats.value("access_log.written_bytes"), Some(12));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_target_that_cannot_be_written_drops_lines_and_counts_them() {
    let stats = StatsRegistry::new(1);
    let logs = AccessLogs::new(1, &stats);
    let sink = logs.open(&LogTarget::File("/dev/full".into())).unwrap();
    let format = AccessLogFormat::text("%RESPONSE_CODE%\n").unwrap();
    (0..3).for_each(|_| sink.log(&format, &record()));
    sink.flush();
    assert_eq!(stats.value("access_log.dropped"), Some(3));
    assert!(logs.open(&LogTarget::File("/dev/null/none".into())).is_err());
}

proptest! {
    #[test]
    fn no_format_breaks_the_compiler_and_no_value_the_line(
        format in "(%[A-Z_]{0,9}(\\([^)]{0,6}\\))?(:[0-9]{1,2})?%|[a-z ]|%REQ\\(A\\):3%|%START_TIME\\(%[0-9]f\\)%){0,4}",
        value in "(?s).{0,9}",
    ) {
        let headers = [("a", value.as_str())];
        let record = AccessRecord { request_headers: &headers, ..record() };
        if let Ok(format) = AccessLogFormat::text(&format) {
            let forged = line(&format, &record).chars().any(|shown| shown.is_ascii_control());
            prop_assert!(!forged);
        }
    }
}

#[test]
fn paths_queries_and_tries_are_shown_as_envoy_does() {
    check(
        "%PATH% %PATH(NQ)% %PATH(WQ:ORIG)% %PATH:4% %QUERY_PARAM(card)% %QUERY_PARAM(none)% \
         %QUERY_PARAMS% %COALESCE({\"operators\":[\"TRACE_ID\",{\"command\":\"REQ\",\
         \"param\":\":authority\",\"max_length\":3}]})%",
        &expect![[r#"/charge?card=1 /charge - /cha 1 - card=1 pay"#]],
    );
}

#[test]
fn addresses_are_shown_as_networks() {
    check(
        "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(0)% \
         %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(200)%",
        &expect![[r#"127.0.0.0/8 0.0.0.0/0 127.15.1.2/32"#]],
    );
}
