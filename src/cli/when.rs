//! Points in time as journalctl takes them (systemd.time(7), "Parsing Timestamps").

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp, Zoned};

/// Reads `2026-11-22 13:00:00`, `2026-11-22`, `13:00`, `now`, `today`, `yesterday`, `tomorrow`, `-2h`, `2h ago`, `@SECONDS`.
/// What has no offset is local time.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    at(text.trim(), &Zoned::now()).ok_or_else(|| {
        format!(
            "{text:?} is not a time such as \"2026-11-22 13:00\", \"2026-11-22\", \"13:00\", \"yesterday\", \"-2h\" or \
             \"@1795350000\""
        )
    })
}

fn at(text: &str, now: &Zoned) -> Option<Timestamp> {
    let midnight = |days: i64| {
        let date = now
            .date()
            .checked_add(Span::new().try_days(days).ok()?)
            .ok()?;
        local(date.at(0, 0, 0, 0), now.time_zone())
    };
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return midnight(0),
        "yesterday" => return midnight(-1),
        "tomorrow" => return midnight(1),
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
    }
    let past = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"));
    if let Some(span) = past {
        return now.timestamp().checked_sub(duration(span)?).ok();
    }
    if let Some(span) = text.strip_prefix('+') {
        return now.timestamp().checked_add(duration(span)?).ok();
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let zone = now.time_zone();
    if let Ok(date_time) = text.parse::<DateTime>() {
        return local(date_time, zone);
    }
    // journalctl wants no seconds; jiff does.
    for format in ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(date_time) = DateTime::strptime(format, text) {
            return local(date_time, zone);
        }
    }
    if let Ok(date) = text.parse::<Date>() {
        return local(date.at(0, 0, 0, 0), zone);
    }
    let time = text
        .parse::<Time>()
        .or_else(|_| Time::strptime("%H:%M", text))
        .ok()?;
    local(now.date().to_datetime(time), zone)
}

fn duration(text: &str) -> Option<jiff::SignedDuration> {
    text.trim()
        .parse::<Span>()
        .ok()?
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .ok()
}

fn local(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    time.to_zoned(zone.clone())
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_journalctl_reads_them() {
        let now: Zoned = "2026-11-22T13:14:15[UTC]".parse().unwrap();
        for (text, expected) in [
            ("now", "2026-11-22T13:14:15Z"),
            ("today", "2026-11-22T00:00:00Z"),
            ("yesterday", "2026-11-21T00:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01 07:08", "2026-11-01T07:08:00Z"),
            ("2026-11-01 07:08:09", "2026-11-01T07:08:09Z"),
            ("2026-11-01T07:08:09+01:00", "2026-11-01T06:08:09Z"),
            ("07:08", "2026-11-22T07:08:00Z"),
            ("-2h", "2026-11-22T11:14:15Z"),
            ("1d 1h ago", "2026-11-21T12:14:15Z"),
            ("@1795350000", "2026-11-22T12:20:00Z"),
        ] {
            assert_eq!(at(text, &now), Some(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "2026-13-01", "-", "@", "25:00"] {
            assert_eq!(at(text, &now), None, "{text}");
        }
    }
}
