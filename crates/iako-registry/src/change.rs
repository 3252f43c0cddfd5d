//! What can happen to the mesh.

use iako_resources::{FileContent, Resource, ResourceKey};

/// Something that happened to what a source holds.
#[derive(Debug, Clone)]
pub enum Change {
    /// An object is new or different. The source is a name such as `kubernetes`.
    Upsert {
        /// Whose object.
        source: String,
        /// The object.
        resource: Resource,
    },
    /// An object is gone.
    Delete {
        /// Whose object.
        source: String,
        /// Which.
        key: ResourceKey,
    },
    /// All that a source holds now, file by file; what it held before and does not name here is
    /// gone. An object that its file breaks, and every object of a file that cannot be read, stays
    /// as it was.
    Replace {
        /// The source, such as the directory.
        source: String,
        /// Its files.
        files: Vec<FileContent>,
    },
}
