//! Wall-clock time as RFC 3339 text, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How fine a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `2026-11-21T22:03:29Z`
    Seconds,
    /// `2026-11-21T22:03:29.000000001Z`
    Nanoseconds,
}

/// The present moment as RFC 3339 text.
pub fn now(precision: Precision) -> String {
    // A clock set before 1970 is told as 1970 rather than not at all.
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), precision)
}

/// A time since the epoch as RFC 3339 text.
pub fn rfc3339(since_epoch: Duration, precision: Precision) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let fraction = match precision {
        Precision::Seconds => String::new(),
        Precision::Nanoseconds => format!(".{:09}", since_epoch.subsec_nanos()),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar. The year is counted from March,
/// so that the leap day comes last and every month length follows from one linear formula.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097; // 400 years
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_date_writes_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (1_795_298_609, "2026-11-21T22:03:29Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds), Precision::Seconds), text);
        }
    }

    #[test]
    fn nanoseconds_keep_their_leading_zeroes() {
        assert_eq!(rfc3339(Duration::new(1, 42), Precision::Nanoseconds), "1970-01-01T00:00:01.000000042Z");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_day_before() {
        let mut last = civil(0);
        for day in 1..146_097 * 2 {
            let next = civil(day);
            let step = (next.0 - last.0, next.1, next.2);
            let plain = next.0 == last.0 && next.1 == last.1 && next.2 == last.2 + 1;
            let new_month = next.0 == last.0 && next.1 == last.1 + 1 && next.2 == 1 && last.2 >= 28;
            assert!(plain || new_month || step == (1, 1, 1), "{last:?} then {next:?}");
            last = next;
        }
    }
}
