//! Shell: the controlled shutdown: asks the controller to move leaders away before the broker stops (KIP-49).

use std::time::Duration;

use kafka_wire::error_code::ErrorCode;
use kafka_wire::messages::controlled_shutdown::ControlledShutdownRequest;

use crate::api::context::Services;

/// The version that inter-broker protocol 3.7 uses.
const VERSION: i16 = 3;

/// Asks until the controller has no more partitions to move, at most `controlled.shutdown.max.retries` times.
pub async fn controlled_shutdown(services: &Services) {
    if !services.config.controlled_shutdown_enable {
        return;
    }
    tracing::info!("Starting controlled shutdown");
    let attempts = services.config.controlled_shutdown_max_retries;
    let backoff = u64::try_from(services.config.controlled_shutdown_retry_backoff_ms).unwrap_or(0);
    for remaining in (0..attempts).rev() {
        match ask(services).await {
            Ok(0) => {
                tracing::info!("Controlled shutdown request returned successfully");
                return;
            }
            Ok(partitions) => {
                tracing::info!("Controlled shutdown: {partitions} partitions remain to be moved");
            }
            Err(reason) => tracing::warn!("Controlled shutdown request failed: {reason}"),
        }
        if remaining > 0 {
            tokio::time::sleep(Duration::from_millis(backoff)).await;
            tracing::info!("Retrying controlled shutdown ({remaining} retries remaining)");
        }
    }
    tracing::warn!(
        "Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed"
    );
}

/// One attempt; answers how many partitions remain.
async fn ask(services: &Services) -> Result<usize, String> {
    let limit = Duration::from_millis(
        u64::try_from(services.config.controller_socket_timeout_ms).unwrap_or(0),
    );
    let request = ControlledShutdownRequest {
        broker_id: services.broker_id,
        broker_epoch: services.controller.broker_epoch(),
    };
    let response = services.to_controller.send(&request, VERSION, limit).await;
    let response = response.map_err(|error| error.to_string())?;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Ok(response.remaining_partitions.len()),
        error => Err(error.to_string()),
    }
}
