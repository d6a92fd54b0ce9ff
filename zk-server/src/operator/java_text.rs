//! Pure: numbers and dates as Java prints them, which is what scripts parse.

use std::net::{IpAddr, SocketAddr};

use common::logging::civil_from_days;

/// A double as `Double.toString` prints it: one decimal at least, and an exponent where the
/// number is below a thousandth or from ten millions on.
pub fn double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let point = if mantissa.contains('.') { "" } else { ".0" };
        return format!("{mantissa}{point}E{exponent}");
    }
    if number.fract() == 0.0 {
        format!("{number:.1}")
    } else {
        number.to_string()
    }
}

/// An address as `InetSocketAddress` prints it, without the slash before it: those of IPv6 in
/// brackets and with all their zeros.
pub fn socket_address(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(_) => address.to_string(),
        IpAddr::V6(ip) => {
            let parts: Vec<String> = ip.segments().iter().map(|n| format!("{n:x}")).collect();
            format!("[{}]:{}", parts.join(":"), address.port())
        }
    }
}

/// A time in milliseconds since 1970 as `Date.toString` prints it in UTC.
pub fn date(epoch_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let Moment {
        year,
        month,
        day,
        clock,
        days,
    } = Moment::of(epoch_ms);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    format!("{weekday} {month} {day:02} {clock} UTC {year}")
}

/// A time in milliseconds since 1970 as HTTP's headers have it.
pub fn http_date(epoch_ms: i64) -> String {
    let date = date(epoch_ms);
    let Moment {
        year,
        month,
        day,
        clock,
        ..
    } = Moment::of(epoch_ms);
    let weekday = date.get(..3).unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year} {clock} GMT")
}

/// A time in milliseconds since 1970 to the minute, as the version says when it was built.
pub fn minute(epoch_ms: i64) -> String {
    let (year, month, day) = civil_from_days(epoch_ms.div_euclid(86_400_000));
    let minutes = epoch_ms.rem_euclid(86_400_000) / 60_000;
    let (hour, minute) = (minutes / 60, minutes % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

struct Moment {
    year: i64,
    month: &'static str,
    day: i64,
    clock: String,
    days: i64,
}

impl Moment {
    fn of(epoch_ms: i64) -> Self {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let days = epoch_ms.div_euclid(86_400_000);
        let seconds = epoch_ms.rem_euclid(86_400_000) / 1000;
        let (year, month, day) = civil_from_days(days);
        let month = usize::try_from(month - 1)
            .ok()
            .and_then(|month| MONTHS.get(month).copied());
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        Self {
            year,
            month: month.unwrap_or_default(),
            day,
            clock: format!("{hour:02}:{minute:02}:{second:02}"),
            days,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_like_javas() {
        // Captured from Double.toString of JDK 17.
        for (number, text) in [
            (0.0, "0.0"),
            (1.2346, "1.2346"),
            (0.0001, "1.0E-4"),
            (0.00012, "1.2E-4"),
            (0.001, "0.001"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (12_345_678.5, "1.23456785E7"),
            (-1.0, "-1.0"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(double(number), text);
        }
    }

    #[test]
    fn addresses_look_like_javas() {
        let text = |address: &str| address.parse().map(socket_address).unwrap_or_default();
        assert_eq!(text("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(text("[fe80::1]:80"), "[fe80:0:0:0:0:0:0:1]:80");
    }

    #[test]
    fn dates_look_like_javas() {
        let time = 1_795_440_935_000;
        assert_eq!(date(time), "Mon Nov 23 13:35:35 UTC 2026");
        assert_eq!(http_date(time), "Mon, 23 Nov 2026 13:35:35 GMT");
        assert_eq!(minute(time), "2026-11-23 13:35 UTC");
    }
}
