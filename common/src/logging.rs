//! Shell: log lines in the shape that Kafka and ZooKeeper users know, on standard output.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging to standard output. The level is `RUST_LOG`, else `default_level` (`info`, ...).
///
/// A second call has no effect, so that tests may call it freely.
pub fn init(default_level: &str) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(Log4jLine);
    // Only a second initialisation fails, and then logging is already on.
    let _ = subscriber.try_init();
}

/// `[2024-05-01 12:00:00,123] INFO message (target)`, the pattern of Kafka's stock log4j.properties.
struct Log4jLine;

impl<S, N> FormatEvent<S, N> for Log4jLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        write_timestamp(&mut writer, now.as_millis() as i64)?;
        write!(writer, " {} ", event.metadata().level())?;
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                    && !fields.is_empty()
                {
                    write!(writer, "[{} {fields}] ", span.name())?;
                }
            }
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(
            writer,
            " ({})",
            event.metadata().target().replace("::", ".")
        )
    }
}

/// Writes `[yyyy-MM-dd HH:mm:ss,SSS]` in UTC.
///
/// # Errors
/// Those of the writer.
pub fn write_timestamp(writer: &mut impl fmt::Write, epoch_ms: i64) -> fmt::Result {
    let (days, ms) = (
        epoch_ms.div_euclid(86_400_000),
        epoch_ms.rem_euclid(86_400_000),
    );
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let fraction = ms % 1000;
    write!(
        writer,
        "[{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{fraction:03}]"
    )
}

/// The civil date of a day number since 1970-01-01 (proleptic Gregorian calendar, years from March).
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_log4js() {
        let mut line = String::new();
        write_timestamp(&mut line, 951_782_400_007).unwrap();
        assert_eq!(line, "[2000-02-29 00:00:00,007]");
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_722), (2023, 12, 31));
    }
}
