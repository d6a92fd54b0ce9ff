//! Pure: the keys of what a server with too much to do puts off or refuses.

use common::config::ConfigError;

use crate::config::values::Values;
use crate::pipeline::throttle::ThrottleOptions;
use crate::pipeline::token_bucket::{BucketOptions, Weights};

/// `largeRequestMaxBytes` where it is not set to anything sensible.
const LARGE_TOTAL_BYTES: i64 = 100 << 20;

/// Reads them.
///
/// # Errors
/// The first value that its key does not take.
pub fn throttles(values: &Values) -> Result<ThrottleOptions, ConfigError> {
    let number = |key: &str| values.required::<i64>(key);
    let threshold = number("largeRequestThreshold")?;
    let total = number("largeRequestMaxBytes")?;
    let positive = |number: i64, default: i64| if number > 0 { number } else { default };
    Ok(ThrottleOptions {
        connections: bucket(values)?,
        max_requests: usize::try_from(number("request_throttle_max_requests")?).unwrap_or(0),
        refuse_after_ms: number("throttled_op_wait_time")?,
        drop_stale: values.flag("request_throttle_drop_stale")
            && values.flag("request_stale_latency_check"),
        // Nothing but -1 and positive numbers counts.
        large_bytes: usize::try_from(threshold).ok().filter(|bytes| *bytes > 0),
        large_total_bytes: usize::try_from(positive(total, LARGE_TOTAL_BYTES)).unwrap_or(0),
    })
}

fn bucket(values: &Values) -> Result<BucketOptions, ConfigError> {
    let number = |name: &str| values.required::<i64>(&format!("connection_throttle_{name}"));
    let decimal = |name: &str| {
        let key = format!("connection_throttle_{name}");
        let text = values.text(&key).unwrap_or_default().trim();
        text.parse::<f64>()
            .map_err(|_| values.reject(&key, format!("{text} is not a number")))
    };
    let weights = Weights::of(
        number("global_session_weight")?,
        number("local_session_weight")?,
        number("renew_session_weight")?,
    );
    Ok(BucketOptions {
        tokens: number("tokens")?,
        fill_ms: number("fill_time")?,
        fill_count: number("fill_count")?,
        freeze_ms: number("freeze_time")?,
        drop_increase: decimal("drop_increase")?,
        drop_decrease: decimal("drop_decrease")?,
        decrease_ratio: decimal("decrease_ratio")?,
        weights: values
            .flag("connection_throttle_weight_enabled")
            .then_some(weights),
    })
}
