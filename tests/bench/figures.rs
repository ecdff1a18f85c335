//! Measured values in few characters.

use std::time::Duration;

/// The middle one, and the one that 99 of 100 do not exceed. What never came is longer than all others.
pub(crate) struct Spread {
    pub(crate) median: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) count: usize,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<Option<Duration>>) -> Self {
        values.sort_by_key(|value| value.unwrap_or(Duration::MAX));
        let at = |share: usize| {
            let rank = (values.len() * share).div_ceil(100).max(1) - 1;
            values.get(rank).copied().flatten()
        };
        Self {
            median: at(50),
            p99: at(99),
            count: values.len(),
        }
    }

    /// "median 4.1 ms, p99 9.8 ms, n 200"; `limit` is how long was waited.
    pub(crate) fn show(&self, limit: Duration) -> String {
        let show =
            |value: Option<Duration>| value.map_or_else(|| format!("over {}", time(limit)), time);
        format!(
            "median {}, p99 {}, n {}",
            show(self.median),
            show(self.p99),
            self.count
        )
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A time with two or three digits that mean something.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        0.1.. if seconds >= 10.0 => format!("{seconds:.0} s"),
        0.1.. if seconds >= 1.0 => format!("{seconds:.2} s"),
        0.1.. => format!("{:.0} ms", seconds * 1e3),
        0.001.. => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

/// So many in such a time, per second.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts are far below 2^52, and shown with three digits"
)]
pub(crate) fn per_second(count: u64, time: Duration) -> String {
    format!("{}/s", thousands(count as f64 / time.as_secs_f64()))
}

/// A number with commas, as in the goals.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// kB, as proc(5) has them, in MB.
#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(crate) fn megabytes(kib: u64) -> String {
    format!("{:.1} MB", kib as f64 * 1024.0 / 1e6)
}
