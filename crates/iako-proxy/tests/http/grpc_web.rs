//! Browsers that speak gRPC-Web to servers of plain gRPC.

use serde_json::json;

use crate::bench::{self, Answer, Backend, Bench, request};

async fn started() -> Bench {
    let backend = Backend::http2_grpc().await;
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["typed_extension_protocol_options"] = bench::http2_upstream();
    let filter = json!({"name": "envoy.filters.http.grpc_web", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}});
    let routes = json!([{"match": {"prefix": "/s/"}, "route": {"cluster": "be"}}]);
    let manager = json!({"http_protocol_options": {"enable_trailers": true}});
    let settings = json!({"filters": [filter], "manager": manager});
    Bench::with_clusters(routes, json!([upstream]), settings).await
}

async fn call(bench: &Bench, path: &str, content_type: &str, content: &str) -> Answer {
    let mut client = bench.connect().await;
    let text = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\naccept: {content_type}\r\n\
         content-length: {}\r\n\r\n{content}",
        content.len()
    );
    request(&mut client, &text).await
}

#[tokio::test]
async fn a_browser_gets_messages_and_trailers_as_content() {
    let bench = started().await;
    for content_type in ["application/grpc-web", "application/grpc-web+proto"] {
        let answer = call(&bench, "/s/m", content_type, "\0\0\0\0\x02hi").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-type"), Some("application/grpc-web+proto"));
        // The marker of the trailers, 0x80, is no text.
        assert_eq!(answer.body, "\0\0\0\0\x02hi\u{fffd}\0\0\0\x0fgrpc-status:0\r\n");
        assert_eq!(answer.trailers, "");
    }
}

#[tokio::test]
async fn a_browser_that_asks_for_text_writes_and_reads_base64() {
    let bench = started().await;
    // Two messages, each padded on its own.
    let content = "AAAAAAJoaQ==AAAAAAEh";
    let answer = call(&bench, "/s/m", "application/grpc-web-text", content).await;
    assert_eq!(answer.field("content-type"), Some("application/grpc-web-text+proto"));
    assert!(answer.body.ends_with("gAAAAA9ncnBjLXN0YXR1czowDQo="), "{}", answer.body);
    assert!(answer.body.starts_with("AAAAAAJoa"), "{}", answer.body);
    let answer = call(&bench, "/s/m", "application/grpc-web-text", "AAAA?").await;
    assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
    assert_eq!(
        (answer.field("grpc-status"), answer.field("grpc-message")),
        (Some("13"), Some("Bad gRPC-web request, invalid base64 data."))
    );
}

#[tokio::test]
async fn replies_of_the_proxy_are_calls_that_failed() {
    let bench = started().await;
    let answer = call(&bench, "/missing", "application/grpc-web", "\0\0\0\0\0").await;
    assert_eq!((answer.status, answer.field("grpc-status")), (200, Some("12")));
    assert_eq!(answer.field("content-type"), Some("application/grpc-web+proto"));
    // Other content passes as it is.
    let answer = call(&bench, "/s/m", "application/octet-stream", "plain").await;
    assert_eq!((answer.body.as_str(), answer.trailers.as_str()), ("plain", "grpc-status: 0\r\n"));
}
