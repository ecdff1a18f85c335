//! Charts as SVG that stands in the page: its colours and letters are the page's (`page.css`), so that they follow it into
//! the dark and onto paper. `plotters` draws its own into the picture, which can't.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::words::{number, percent, some};
use crate::report::{Axis, local};

/// Room for the numbers left of a chart.
const LEFT: f64 = 52.0;
/// Room for the words below one.
const BELOW: f64 = 24.0;
/// Room for the title above one.
const ABOVE: f64 = 26.0;

/// Columns over something, with a scale.
struct Panel<'a> {
    class: &'a str,
    title: &'a str,
    numbers: &'a [u64],
    /// What each column tells when it is pointed at.
    told: &'a [String],
    width: f64,
    height: f64,
    top: f64,
    /// How fine the scale is.
    parts: u64,
}

impl Panel<'_> {
    fn draw(&self) -> Markup {
        let most = self.numbers.iter().copied().max().unwrap_or(0);
        let ticks = ticks(most, self.parts);
        let scale = ticks.last().copied().unwrap_or(1).max(1);
        let (top, bottom) = (self.top + ABOVE, self.top + ABOVE + self.height);
        let y = |value: u64| bottom - self.height * ratio(value, scale);
        let slot = (self.width - LEFT) / ratio(self.numbers.len().max(1) as u64, 1);
        let gap = (slot * 0.16).min(3.0);
        html! {
            text.title x=(px(LEFT)) y=(px(self.top + 13.0)) { (self.title) }
            @for tick in &ticks {
                line.grid x1=(px(LEFT)) x2=(px(self.width)) y1=(px(y(*tick))) y2=(px(y(*tick))) {}
                text.scale x=(px(LEFT - 8.0)) y=(px(y(*tick) + 4.0)) text-anchor="end" { (number(*tick)) }
            }
            @for (index, value) in self.numbers.iter().enumerate() {
                g {
                    title { (self.told[index]) }
                    // What is pointed at is the whole slot, since a small number's column is hard to meet.
                    rect.slot x=(px(LEFT + slot * ratio(index as u64, 1))) y=(px(top)) width=(px(slot)) height=(px(self.height)) {}
                    @if *value > 0 {
                        rect class=(self.class) x=(px(LEFT + slot * ratio(index as u64, 1) + gap / 2.0)) y=(px(y(*value).min(bottom - 1.0)))
                            width=(px(slot - gap)) height=(px((bottom - y(*value)).max(1.0))) {}
                    }
                }
            }
            line.axis x1=(px(LEFT)) x2=(px(self.width)) y1=(px(bottom)) y2=(px(bottom)) {}
        }
    }
}

/// Attempts and bans over time, one above the other.
pub(super) fn over_time(axis: &Axis, zone: &TimeZone) -> Markup {
    const WIDTH: f64 = 960.0;
    const ATTEMPTS: f64 = 150.0;
    const BANS: f64 = 64.0;
    let step = axis.step_name();
    let attempts: Vec<u64> = axis.bars.iter().map(|bar| bar.attempts).collect();
    let bans: Vec<u64> = axis.bars.iter().map(|bar| bar.bans).collect();
    let told: Vec<String> = axis
        .bars
        .iter()
        .map(|bar| {
            format!(
                "{}: {}, {}",
                local(bar.from, zone).strftime("%a %b %-d, %H:%M"),
                some(bar.attempts, "attempt", "attempts"),
                some(bar.bans, "ban", "bans")
            )
        })
        .collect();
    let second = ABOVE + ATTEMPTS + 16.0;
    let bottom = second + ABOVE + BANS;
    let slot = (WIDTH - LEFT) / ratio(axis.bars.len() as u64, 1);
    let panel = |class, title, numbers, height, top, parts| Panel {
        class,
        title,
        numbers,
        told: &told,
        width: WIDTH,
        height,
        top,
        parts,
    };
    let (of_attempts, of_bans) = (format!("Attempts per {step}"), format!("Bans per {step}"));
    html! {
        svg.wide viewBox={ "0 0 " (px(WIDTH)) " " (px(bottom + BELOW)) } role="img" aria-label="Attempts and bans over time" {
            (panel("attempts", of_attempts.as_str(), &attempts, ATTEMPTS, 0.0, 5).draw())
            (panel("bans", of_bans.as_str(), &bans, BANS, second, 3).draw())
            @for (index, label) in labels(axis, zone) {
                line.axis x1=(px(LEFT + slot * ratio(index, 1))) x2=(px(LEFT + slot * ratio(index, 1))) y1=(px(bottom)) y2=(px(bottom + 5.0)) {}
                text.scale x=(px(LEFT + slot * ratio(index, 1) + 3.0)) y=(px(bottom + 17.0)) { (label) }
            }
        }
    }
}

/// Where the time's axis has words, and which: at midnight where there are hours, else by the date.
fn labels(axis: &Axis, zone: &TimeZone) -> Vec<(u64, String)> {
    const MOST: usize = 12;
    let format = match axis.step {
        0..=60 => "%H:%M",
        61..=1439 => "%a %-d",
        1440..=10080 => "%b %-d",
        _ => "%b %Y",
    };
    let times = axis
        .bars
        .iter()
        .map(|bar| local(bar.from, zone))
        .enumerate();
    let daily = (61..1440).contains(&axis.step);
    let all: Vec<_> = times
        .filter(|(_, at)| !daily || at.hour() == 0)
        .map(|(index, at)| (index as u64, at.strftime(format).to_string()))
        .collect();
    let every = all.len().div_ceil(MOST).max(1);
    // A word at the very end would be cut off.
    let last = (axis.bars.len() as u64).saturating_sub(axis.bars.len() as u64 / 20);
    all.into_iter()
        .step_by(every)
        .filter(|(index, _)| *index < last.max(1))
        .collect()
}

/// Attempts by the hour of the day.
pub(super) fn hours(hours: &[(u64, u64); 24]) -> Markup {
    const WIDTH: f64 = 470.0;
    const HEIGHT: f64 = 150.0;
    let attempts = hours.map(|(attempts, _)| attempts);
    let told: Vec<String> = hours
        .iter()
        .enumerate()
        .map(|(hour, (attempts, bans))| {
            format!(
                "{hour:02}:00 to {hour:02}:59: {}, {}",
                some(*attempts, "attempt", "attempts"),
                some(*bans, "ban", "bans")
            )
        })
        .collect();
    let slot = (WIDTH - LEFT) / 24.0;
    let bottom = ABOVE + HEIGHT;
    let panel = Panel {
        class: "attempts",
        title: "Attempts by the hour of the day, local time",
        numbers: &attempts,
        told: &told,
        width: WIDTH,
        height: HEIGHT,
        top: 0.0,
        parts: 5,
    };
    html! {
        svg viewBox={ "0 0 " (px(WIDTH)) " " (px(bottom + BELOW)) } role="img" aria-label="Attempts by the hour of the day" {
            (panel.draw())
            @for hour in (0..24_u64).step_by(3) {
                text.scale x=(px(LEFT + slot * (ratio(hour, 1) + 0.5))) y=(px(bottom + 17.0)) text-anchor="middle" { (hour) }
            }
        }
    }
}

/// Bars with a name before and a number behind each.
pub(super) fn across(class: &str, title: &str, rows: &[(String, u64)], shares: bool) -> Markup {
    const WIDTH: f64 = 470.0;
    const NAMES: f64 = 104.0;
    const NUMBERS: f64 = 96.0;
    const ROW: f64 = 22.0;
    let most = rows.iter().map(|(_, number)| *number).max().unwrap_or(0);
    let all: u64 = rows.iter().map(|(_, number)| *number).sum();
    let length = |value: u64| (WIDTH - NAMES - NUMBERS) * ratio(value, most.max(1));
    let height = ABOVE + ROW * ratio(rows.len() as u64, 1);
    html! {
        svg viewBox={ "0 0 " (px(WIDTH)) " " (px(height + 4.0)) } role="img" aria-label=(title) {
            text.title x="0" y="13" { (title) }
            @for (index, (name, value)) in rows.iter().enumerate() {
                @let y = ABOVE + ROW * ratio(index as u64, 1);
                text.name x=(px(NAMES - 10.0)) y=(px(y + 14.0)) text-anchor="end" { (name) }
                rect class=(class) x=(px(NAMES)) y=(px(y + 3.0)) width=(px(length(*value).max(if *value > 0 { 1.5 } else { 0.0 }))) height=(px(ROW - 8.0)) {}
                text.value x=(px(NAMES + length(*value) + 7.0)) y=(px(y + 14.0)) {
                    (number(*value))
                    @if shares { tspan.share dx="8" { (percent(*value, all)) } }
                }
            }
        }
    }
}

/// A bar for a table's cell.
pub(super) fn cell(value: u64, most: u64) -> Markup {
    html! {
        svg.cell viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.attempts x="0" y="0" height="10" width=(px((100.0 * ratio(value, most.max(1))).max(1.0))) {}
        }
    }
}

/// Round numbers from nothing up to the most, or a little more, in so many parts or fewer.
fn ticks(most: u64, parts: u64) -> Vec<u64> {
    let rough = most.div_ceil(parts).max(1);
    let round = |power: u64| {
        let quarter = power.saturating_mul(5) / 2;
        let quarter = (power >= 10).then_some(quarter);
        let two = Some(power.saturating_mul(2));
        [Some(power), two, quarter, Some(power.saturating_mul(5))]
    };
    let mut steps = (0..=19).map(|power| 10_u64.pow(power)).flat_map(round);
    let step = steps.find_map(|step| step.filter(|step| *step >= rough));
    let step = step.unwrap_or(u64::MAX);
    (0..=most.div_ceil(step).max(1))
        .map(|part| part.saturating_mul(step))
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "a picture is not that fine")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// A length in the picture, no finer than can be seen.
fn px(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_numbers() {
        for (most, parts, expected) in [
            (0, 5, vec![0, 1]),
            (1, 5, vec![0, 1]),
            (4, 5, vec![0, 1, 2, 3, 4]),
            (7, 5, vec![0, 2, 4, 6, 8]),
            (99, 3, vec![0, 50, 100]),
            (105, 5, vec![0, 25, 50, 75, 100, 125]),
            (1234, 5, vec![0, 250, 500, 750, 1000, 1250]),
        ] {
            assert_eq!(ticks(most, parts), expected, "{most}");
        }
        assert!(ticks(u64::MAX, 5).len() < 12);
    }
}
