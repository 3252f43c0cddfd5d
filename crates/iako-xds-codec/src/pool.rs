//! The descriptors of every message that the codec knows, for reflection.
//!
//! All of them take ten milliseconds to read and four megabytes to hold, and a bootstrap needs a third:
//! a schema file is read when a message of it, or of a file that imports it, is asked for.

use std::collections::HashMap;
use std::io::Read as _;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::FileDescriptorProto;

use crate::text::document::Node;

/// Kept only while configuration is read or shown, see [`release_pool`].
static LIBRARY: Mutex<Option<Library>> = Mutex::new(None);

/// The schema files, read as far as they were needed.
#[derive(Default)]
struct Library {
    files: Vec<SchemaFile>,
    /// The place of the file of each message that stands in no other message.
    by_message: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
    pool: DescriptorPool,
}

struct SchemaFile {
    imports: Vec<String>,
    /// Until it is read.
    content: Option<Bytes>,
}

/// A `FileDescriptorSet` whose files are not looked into.
#[derive(prost::Message)]
struct Unread {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    files: Vec<Bytes>,
}

/// What a `FileDescriptorProto` says of itself.
#[derive(prost::Message)]
struct Head {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    imports: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Named>,
}

#[derive(prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

impl Library {
    fn open() -> Self {
        let mut bytes = Vec::new();
        let packed = iako_xds_api::DESCRIPTORS_GZ;
        let read = flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes);
        // The descriptors are a constant of the program, and a test reads all of them.
        debug_assert!(read.is_ok(), "the built-in descriptors do not unpack: {read:?}");
        let set = Unread::decode(Bytes::from(bytes));
        debug_assert!(set.is_ok(), "the built-in descriptors do not decode: {set:?}");
        let mut library = Self::default();
        for content in set.unwrap_or_default().files {
            library.shelve(content);
        }
        library
    }

    fn shelve(&mut self, content: Bytes) {
        let head = Head::decode(content.clone());
        debug_assert!(head.is_ok(), "a built-in schema does not decode: {head:?}");
        let Head { name, package, imports, messages } = head.unwrap_or_default();
        let place = self.files.len();
        for message in messages {
            self.by_message.insert(format!("{package}.{}", message.name), place);
        }
        self.by_name.insert(name, place);
        self.files.push(SchemaFile { imports, content: Some(content) });
    }

    /// Reads the files of these messages, and what they import.
    fn read<'n>(&mut self, messages: impl IntoIterator<Item = &'n str>) {
        let mut wanted = Vec::new();
        for message in messages {
            if let Some(place) = self.file_of(message) {
                self.collect(place, &mut wanted);
            }
        }
        self.add(wanted);
    }

    fn read_all(&mut self) {
        let mut wanted = Vec::new();
        for place in 0..self.files.len() {
            self.collect(place, &mut wanted);
        }
        self.add(wanted);
    }

    /// The file of a message, or of the message that it stands in.
    fn file_of(&self, message: &str) -> Option<usize> {
        let mut name = message;
        loop {
            if let Some(place) = self.by_message.get(name) {
                return Some(*place);
            }
            name = name.rsplit_once('.')?.0;
        }
    }

    /// Takes an unread file and its unread imports, imports first.
    fn collect(&mut self, place: usize, wanted: &mut Vec<FileDescriptorProto>) {
        let Some(file) = self.files.get_mut(place) else { return };
        let Some(content) = file.content.take() else { return };
        for import in std::mem::take(&mut file.imports) {
            if let Some(place) = self.by_name.get(&import) {
                self.collect(*place, wanted);
            }
        }
        let file = FileDescriptorProto::decode(content);
        debug_assert!(file.is_ok(), "a built-in schema does not decode: {file:?}");
        wanted.extend(file);
    }

    fn add(&mut self, files: Vec<FileDescriptorProto>) {
        if !files.is_empty() {
            let added = self.pool.add_file_descriptor_protos(files);
            debug_assert!(added.is_ok(), "the built-in descriptors do not fit: {added:?}");
        }
    }
}

fn with<T>(take: impl FnOnce(&mut Library) -> T) -> T {
    take(LIBRARY.lock().get_or_insert_with(Library::open))
}

/// Descriptors of all of Envoy's, xDS's and Istio's messages, as far as a mesh needs them.
pub fn pool() -> DescriptorPool {
    with(|library| {
        library.read_all();
        library.pool.clone()
    })
}

/// The message of a document, read together with the types of the extensions in it.
pub(crate) fn for_document(document: &Node, message: &str) -> Option<MessageDescriptor> {
    let extensions = document.extensions();
    with(|library| {
        library.read(extensions.into_iter().map(full_name).chain([message]));
        library.pool.get_message_by_name(message)
    })
}

/// Lets go of what was read, which weighs more than the rest of an idle proxy; the next use reads it
/// anew. Says whether anything was held. For whoever knows that no configuration is being read.
pub fn release_pool() -> bool {
    LIBRARY.lock().take().is_some()
}

/// The message that a type URL (`type.googleapis.com/envoy.config.cluster.v3.Cluster`) or a full
/// name stands for, when it is one we know. Its descriptor may not know the types of the extensions
/// that it holds: [`pool`] has all.
pub fn message(type_url: &str) -> Option<MessageDescriptor> {
    let name = full_name(type_url);
    with(|library| {
        library.read([name]);
        library.pool.get_message_by_name(name)
    })
}

/// The full names of the messages of a package, such as `envoy.config.route.v3`, in their order;
/// none when no schema has the package.
pub fn messages_of_package(package: &str) -> Vec<String> {
    let mut names: Vec<String> = with(|library| {
        let of_package =
            |name: &&String| name.rsplit_once('.').is_some_and(|(own, _)| own == package);
        library.by_message.keys().filter(of_package).cloned().collect()
    });
    names.sort_unstable();
    names
}

/// The full name of the message in a type URL: what follows the last slash.
pub(crate) fn full_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_stands_in_another_is_found_without_reading_everything() {
        let mut library = Library::open();
        let name = "envoy.config.cluster.v3.Cluster.CommonLbConfig";
        library.read([name, "no.such.Message"]);
        assert!(library.pool.get_message_by_name(name).is_some());
        let unread = library.files.iter().filter(|file| file.content.is_some()).count();
        assert!(unread > library.files.len() / 2, "{unread} of {}", library.files.len());
    }

    #[test]
    fn all_of_them_are_there_in_the_end() {
        let mut library = Library::open();
        library.read(["envoy.config.bootstrap.v3.Bootstrap"]);
        library.read_all();
        assert_eq!(library.pool.files().len(), library.files.len());
        let is_read = |name: &String| library.pool.get_message_by_name(name).is_some();
        assert!(library.by_message.keys().all(is_read));
    }
}
