//! Times as fail2ban takes them: seconds (`600`), units (`10m`, `1h`, `1d12h`, `1 week`, `1mo`, `1year`), and what is
//! calculated of them (`60*60*24`, `1y - 6mo`). See jail.conf(5), "Time abbreviation format".

use std::time::Duration;

use crate::config::MAX_TIME;

/// Longest text that is a time.
const MAX_TEXT: usize = 200;

/// Reads a time in seconds.
pub(super) fn seconds(text: &str) -> Option<f64> {
    // Python calculates it, and for Python "#" begins a comment.
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let text = &*lines.collect::<Vec<_>>().join("\n");
    let text = text.trim();
    let mut reader = Reader {
        rest: text,
        depth: 0,
    };
    let sum = reader.sum().filter(|_| text.len() <= MAX_TEXT)?;
    (reader.rest.is_empty() && sum.is_finite()).then_some(sum)
}

/// The nearest time that banjour allows, and whether that is the very same.
pub(super) fn span(seconds: f64) -> (Duration, bool) {
    let most = MAX_TIME.as_secs_f64();
    let allowed = if seconds < 0.0 {
        most
    } else {
        seconds.round().clamp(1.0, most)
    };
    let same = (allowed - seconds).abs() < 1.0 && seconds >= 1.0;
    (
        Duration::try_from_secs_f64(allowed).unwrap_or(MAX_TIME),
        same,
    )
}

/// A time as banjour's settings have it: `10min`, `1d 12h`.
pub(super) fn written(span: Duration) -> String {
    let mut rest = span.as_secs();
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)] {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    parts.join(" ")
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    /// Terms with `+` or `-` between them; two that only a space parts are added.
    fn sum(&mut self) -> Option<f64> {
        let mut sum = self.product()?;
        loop {
            if self.takes('+') {
                sum += self.product()?;
            } else if self.takes('-') {
                sum -= self.product()?;
            } else if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
                sum += self.product()?;
            } else {
                return Some(sum);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut product = self.number()?;
        loop {
            if self.takes('*') {
                product *= self.number()?;
            } else if self.takes('/') {
                product /= self.number()?;
            } else {
                return Some(product);
            }
        }
    }

    /// A number with its unit, or what stands in brackets.
    fn number(&mut self) -> Option<f64> {
        self.depth += 1;
        if self.depth > MAX_TEXT {
            return None;
        }
        if self.takes('-') {
            return self.number().map(|number| -number);
        }
        if self.takes('+') {
            return self.number();
        }
        if self.takes('(') {
            return self.sum().filter(|_| self.takes(')'));
        }
        let number = self
            .run(|c| c.is_ascii_digit() || c == '.')
            .parse::<f64>()
            .ok()?;
        let unit = self.run(|c| c.is_ascii_alphabetic());
        Some(number * unit_seconds(&unit.to_lowercase())?)
    }

    fn takes(&mut self, sign: char) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        taken
    }
}

/// A month is a twelfth of a year, and a year has 365.25 days.
fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "" | "s" | "ss" | "se" | "sec" | "second" | "seconds" => 1.0,
        "m" | "mm" | "mi" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hh" | "ho" | "hou" | "hour" | "hours" => 3600.0,
        "d" | "dd" | "da" | "day" | "days" => 86_400.0,
        "w" | "ww" | "we" | "wee" | "week" | "weeks" => 604_800.0,
        "mo" | "mon" | "month" | "months" => 2_629_800.0,
        "y" | "yy" | "ye" | "yea" | "year" | "years" => 31_557_600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config;

    #[test]
    fn times_are_what_fail2ban_makes_of_them() {
        for (text, expected) in [
            ("600", 600.0),
            ("10m", 600.0),
            ("1H", 3600.0),
            ("1d12h", 129_600.0),
            ("1d 12h", 129_600.0),
            ("1h30", 3630.0),
            ("2 weeks", 1_209_600.0),
            ("1mo", 2_629_800.0),
            ("1year-6mo", 15_778_800.0),
            ("60*60*24 # a day", 86_400.0),
            ("1h # and\n30m", 5400.0),
            ("(1h + 30m) * 2", 10_800.0),
            ("1d/2", 43_200.0),
            ("-1", -1.0),
            ("0.5h", 1800.0),
            ("600\n600", 1200.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        let deep = "(".repeat(150) + "1" + &")".repeat(150);
        let minus = "-".repeat(10_000) + "1";
        for text in [
            "",
            "soon",
            "10x",
            "1,5h",
            "(1",
            "1)",
            "1/0",
            "2**9",
            "1 h h",
            "1e3",
            "1.2.3",
            "1h # a\n[x]",
            &deep,
            &minus,
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn times_that_banjour_does_not_know_become_its_nearest() {
        for (seconds, expected) in [
            (600.0, ("10min", true)),
            (129_600.0, ("1d 12h", true)),
            (2_629_800.0, ("30d 10h 30min", true)),
            (-1.0, ("3650d", false)),
            (0.0, ("1s", false)),
            (1e30, ("3650d", false)),
        ] {
            let (span, same) = span(seconds);
            assert_eq!((&*written(span), same), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_banjours_settings(seconds in -10.0..1e9f64) {
            let (span, _) = span(seconds);
            prop_assert_eq!(config::span(&written(span)), Ok(span));
        }

        #[test]
        fn no_text_is_too_much(text in "[-+*/() 0-9a-z.#]{0,300}", any: String) {
            seconds(&text);
            seconds(&any);
        }
    }
}
