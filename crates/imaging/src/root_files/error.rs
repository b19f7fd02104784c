//! Why the immutable files of an image could not be listed.

use super::ENTRIES_MAX;
use crate::file_system::FileSystemError;
use crate::manifest::MANIFEST_BYTES_MAX;

/// Why the immutable files could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A selected path is not an absolute path in its shortest form.
    #[error("{path:?} is not an absolute path; write it like /usr/lib")]
    Path {
        /// The path.
        path: String,
    },
    /// The partition does not lie inside the image.
    #[error("the root partition {partition} does not lie inside the image")]
    Outside {
        /// Number of the partition.
        partition: u32,
    },
    /// The file system could not be read.
    #[error("could not read {path} in the root file system on partition {partition}")]
    FileSystem {
        /// Number of the partition.
        partition: u32,
        /// What was being read.
        path: String,
        /// Why not.
        #[source]
        source: FileSystemError,
    },
    /// Something under an immutable path cannot be described.
    #[error("{path:?} {what}; exclude it or make the image without it")]
    Unsupported {
        /// The path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// There is more than a manifest holds.
    #[error(
        "there are more than {ENTRIES_MAX} files under the immutable paths, their names and attributes fill more than the {MANIFEST_BYTES_MAX} bytes of a manifest, or their sizes add up to more than four times the partition; name fewer immutable paths"
    )]
    TooMuch,
    /// The content of a file could not be kept beside the image.
    #[error("could not keep the content of {path} beside the image")]
    Keep {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The image could not be read where a file lies.
    #[error("could not read {path} at {offset} of the image; is it cut off?")]
    Read {
        /// The file.
        path: String,
        /// Where in the image, in bytes.
        offset: u64,
        /// What the medium said.
        #[source]
        source: std::io::Error,
    },
}
