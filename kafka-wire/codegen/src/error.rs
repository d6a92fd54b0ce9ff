//! Pure: what can go wrong while generating.

use thiserror::Error;

/// A reason to stop; nothing half-made is kept.
#[derive(Debug, Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A jar is no zip archive.
    #[error("{path}: {source}")]
    Jar {
        /// Which jar.
        path: String,
        /// Why.
        source: zip::result::ZipError,
    },
    /// A definition is no JSON, or has a field that is not understood.
    #[error("{entry}: {source}")]
    Json {
        /// Which entry of which jar.
        entry: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A definition uses something that this generator does not know.
    #[error("{message}: {reason}")]
    Unsupported {
        /// Which message.
        message: String,
        /// What is not known.
        reason: String,
    },
    /// A message that should be generated is in none of the jars.
    #[error("no definition of {0} in the jars")]
    Missing(String),
    /// rustfmt refused the generated code.
    #[error("rustfmt failed: {0}")]
    Rustfmt(String),
}
