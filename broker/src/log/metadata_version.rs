//! Pure: the versions that `inter.broker.protocol.version` and `message.format.version` take (`MetadataVersion.java`).

#[rustfmt::skip]
const METADATA_VERSIONS: &[&str] = &[
    "0.8.0",
    "0.8.1",
    "0.8.2",
    "0.9.0",
    "0.10.0-IV0",
    "0.10.0-IV1",
    "0.10.1-IV0",
    "0.10.1-IV1",
    "0.10.1-IV2",
    "0.10.2-IV0",
    "0.11.0-IV0",
    "0.11.0-IV1",
    "0.11.0-IV2",
    "1.0-IV0",
    "1.1-IV0",
    "2.0-IV0",
    "2.0-IV1",
    "2.1-IV0",
    "2.1-IV1",
    "2.1-IV2",
    "2.2-IV0",
    "2.2-IV1",
    "2.3-IV0",
    "2.3-IV1",
    "2.4-IV0",
    "2.4-IV1",
    "2.5-IV0",
    "2.6-IV0",
    "2.7-IV0",
    "2.7-IV1",
    "2.7-IV2",
    "2.8-IV0",
    "2.8-IV1",
    "3.0-IV0",
    "3.0-IV1",
    "3.1-IV0",
    "3.2-IV0",
    "3.3-IV0",
    "3.3-IV1",
    "3.3-IV2",
    "3.3-IV3",
    "3.4-IV0",
    "3.5-IV0",
    "3.5-IV1",
    "3.5-IV2",
    "3.6-IV0",
    "3.6-IV1",
    "3.6-IV2",
    "3.7-IV0",
    "3.7-IV1",
    "3.7-IV2",
    "3.7-IV3",
    "3.7-IV4",
    "3.8-IV0",
];

/// Whether a text names a version: `3.7-IV4`, or a release such as `3.7` or `3.7.1`.
///
/// Errors: the words of `MetadataVersionValidator`.
pub fn metadata_version(text: &str) -> Result<(), String> {
    let parts = if text.starts_with("0.") { 3 } else { 2 };
    let wanted: Vec<&str> = text.split('.').take(parts).collect();
    let wanted = wanted.join(".");
    let release = |version: &&str| version.split("-IV").next().unwrap_or_default() == wanted;
    if METADATA_VERSIONS.contains(&wanted.as_str()) || METADATA_VERSIONS.iter().any(release) {
        return Ok(());
    }
    Err(format!(
        "Version {text} is not a valid version. The valid versions are {}",
        METADATA_VERSIONS.join(",")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_versions() {
        for good in [
            "3.7", "3.7.1", "3.7-IV4", "0.10.2", "0.10.2.1", "0.8.0", "2.8-IV1",
        ] {
            assert_eq!(metadata_version(good), Ok(()), "{good}");
        }
        for bad in ["", "3", "3.99", "3.7-IV9", "x"] {
            assert!(metadata_version(bad).is_err(), "{bad}");
        }
    }
}
