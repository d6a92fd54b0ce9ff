//! Shell: numbers for tests and benchmarks from the environment, such as `TANDEM_SEED`.

use std::env;
use std::str::FromStr;

use anyhow::{Context, Result};

/// The number that an environment variable holds, if it is set.
///
/// # Errors
/// When it is set to something else.
pub fn given<T: FromStr>(name: &str) -> Result<Option<T>> {
    let Ok(text) = env::var(name) else {
        return Ok(None);
    };
    let parsed = text.parse().ok();
    parsed
        .map(Some)
        .with_context(|| format!("{name} must be a whole number, not {text:?}"))
}

/// The same with what is taken when it is not set.
///
/// # Errors
/// When it is set to something else.
pub fn number<T: FromStr>(name: &str, default: T) -> Result<T> {
    Ok(given(name)?.unwrap_or(default))
}

/// True if a variable is set to anything but 0.
#[must_use]
pub fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| value != "0")
}
