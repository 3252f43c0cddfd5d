//! Files that hold resources.

use std::path::Path;

use iako_xds_api::envoy::service::discovery::v3::DiscoveryResponse;

use super::pool::{self, pool};
use super::text::document::Node;
use super::text::typed;

/// Reads a file that holds a `DiscoveryResponse`: protobuf when its name ends in `.pb`, protobuf's
/// text when it ends in `.pb_text`, YAML or JSON else.
///
/// # Errors
/// What is wrong, and where in the file.
pub fn discovery_response(path: &Path, content: &[u8]) -> Result<DiscoveryResponse, String> {
    message(path, content)
}

/// Reads a file that holds a message, in the same forms.
///
/// # Errors
/// What is wrong, and where in the file.
pub(crate) fn message<M: prost::Message + prost::Name + Default>(
    path: &Path,
    content: &[u8],
) -> Result<M, String> {
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    if extension == "pb" {
        return M::decode(content).map_err(|error| error.to_string());
    }
    let text = std::str::from_utf8(content).map_err(|error| format!("is no text: {error}"))?;
    // The descriptors are a constant of the program, and a test reads a file.
    let unknown = "the built-in descriptors have no response";
    let name = M::full_name();
    let message = if extension == "pb_text" {
        // The reader looks for the types of resources by itself.
        let descriptor = pool().get_message_by_name(&name).ok_or(unknown)?;
        prost_reflect::DynamicMessage::parse_text_format(descriptor, text)
            .map_err(|error| error.to_string())?
    } else {
        let place = |line: usize, problem: &str| format!("line {line}: {problem}");
        let document = Node::parse(text).map_err(|fault| place(fault.at.line, &fault.problem))?;
        let descriptor = pool::for_document(&document, &name).ok_or(unknown)?;
        typed::message(&document, &descriptor, "").map_err(|fault| {
            let path = if fault.path.is_empty() { "" } else { ": " };
            place(fault.at.line, &format!("{}{path}{}", fault.path, fault.problem))
        })?
    };
    message.transcode_to().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    const JSON: &str = r#"{"version_info": "1", "resources": [{
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a"}]}"#;
    const YAML: &str = "version_info: '1'\nresources:\n- '@type': \
        type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: a\n";
    const TEXT: &str = "version_info: \"1\" resources { \
        [type.googleapis.com/envoy.config.cluster.v3.Cluster] { name: \"a\" } }";

    #[test]
    fn the_four_forms_of_a_file_hold_the_same() {
        let json = discovery_response(Path::new("a.json"), JSON.as_bytes()).unwrap();
        assert_eq!((json.version_info.as_str(), json.resources.len()), ("1", 1));
        let read = |name: &str, bytes: &[u8]| discovery_response(Path::new(name), bytes).unwrap();
        assert_eq!(read("a.yaml", YAML.as_bytes()), json);
        assert_eq!(read("a.pb_text", TEXT.as_bytes()), json);
        assert_eq!(read("a.pb", &json.encode_to_vec()), json);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let error = discovery_response(Path::new("a.json"), b"{\n\"rezources\": []}").unwrap_err();
        assert!(error.starts_with("line 2: rezources"), "{error}");
    }
}
