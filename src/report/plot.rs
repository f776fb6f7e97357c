//! Plots as SVG. Colors come from the page's style sheet by class, so that a plot follows the light
//! and the dark theme.
//!
//! Every plot has a title and a description for screen readers.

use std::fmt::Write as _;

/// Width of every plot, in units of its view box.
const WIDTH: f64 = 720.0;

/// Escapes a text for markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns an SVG element of this height that contains `marks`.
fn drawing(id: &str, title: &str, description: &str, height: f64, marks: &str) -> String {
    format!(
        "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" aria-labelledby=\"{id}-title {id}-text\">\
         <title id=\"{id}-title\">{}</title><desc id=\"{id}-text\">{}</desc>{marks}</svg>",
        escape(title),
        escape(description)
    )
}

fn text(marks: &mut String, x: f64, y: f64, class: &str, content: &str) {
    // Writing to a string can't fail.
    let _ = write!(marks, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(content));
}

fn line(marks: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = write!(
        marks,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

/// Returns a tick distance of 1, 2, or 5 times a power of ten that divides a range into two to six
/// parts.
fn tick(range: f64) -> f64 {
    let power = 10_f64.powf((range / 5.0).max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| range / step <= 6.0).unwrap_or(power * 10.0)
}

/// Draws the losses, each the mean of `steps` optimizer steps, their running mean, and the lower
/// bound of the loss, if there is one.
pub(crate) fn losses(losses: &[f32], steps: usize, floor: Option<f32>) -> String {
    const HEIGHT: f64 = 280.0;
    let (left, right, top_edge, bottom) = (52.0, 12.0, 12.0, 40.0);
    let losses: Vec<f64> = losses.iter().map(|loss| f64::from(*loss)).collect();
    let smooth = running_mean(&losses, (losses.len() / 20).max(1));
    let floor = floor.map(f64::from);
    let top = losses.iter().copied().chain(floor).fold(0.0, f64::max).max(1e-6) * 1.05;
    let steps = steps as f64;
    let last = losses.len().saturating_sub(1).max(1) as f64 * steps;
    let x = |step: f64| left + (WIDTH - left - right) * step / last;
    let y = |loss: f64| HEIGHT - bottom - (HEIGHT - top_edge - bottom) * loss / top;
    let mut marks = String::new();
    let every = tick(top);
    for at in (0..=20).map(|at| f64::from(at) * every).take_while(|at| *at <= top) {
        line(&mut marks, "grid", (left, y(at)), (WIDTH - right, y(at)));
        text(&mut marks, left - 8.0, y(at) + 4.0, "end", &short(at));
    }
    let every = tick(last).max(1.0);
    for at in (0..=20).map(|at| f64::from(at) * every).take_while(|at| *at <= last) {
        text(&mut marks, x(at), HEIGHT - bottom + 18.0, "middle", &short(at));
    }
    text(&mut marks, (left + WIDTH - right) / 2.0, HEIGHT - 6.0, "middle", "optimizer steps");
    if let Some(floor) = floor {
        line(&mut marks, "margin", (left, y(floor)), (WIDTH - right, y(floor)));
    }
    for (class, values) in [("raw", &losses), ("smooth", &smooth)] {
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(place, loss)| format!("{:.1},{:.1}", x(place as f64 * steps), y(*loss)))
            .collect();
        let _ = write!(marks, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }
    let least = floor.map_or(String::new(), |floor| format!(" It can't fall below {floor:.3}."));
    let description = match (smooth.first(), smooth.last()) {
        (Some(first), Some(last)) => format!(
            "The mean over neighboring steps is {first:.3} at the start and {last:.3} after {} steps.{least}",
            losses.len() as f64 * steps
        ),
        _ => "No step was taken.".to_owned(),
    };
    drawing("loss", "Loss of each optimizer step", &description, HEIGHT, &marks)
}

/// Returns, for each value, the mean of the value and up to `reach` neighbors on either side.
fn running_mean(values: &[f64], reach: usize) -> Vec<f64> {
    (0..values.len())
        .map(|at| {
            let near = &values[at.saturating_sub(reach)..(at + reach + 1).min(values.len())];
            near.iter().sum::<f64>() / near.len() as f64
        })
        .collect()
}

/// Formats a number without trailing zeros.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Draws shares from 0 to 1 as groups of bars. Each group has one bar per series, and a missing
/// value has no bar.
pub(super) fn bars(
    id: &str,
    title: &str,
    series: &[(&str, &str)],
    groups: &[(String, Vec<Option<f64>>)],
) -> String {
    // The legend is at the top. Below it is room for the label of a bar of full height.
    let (left, right, top_edge, bottom) = (52.0, 12.0, 50.0, 58.0);
    const HEIGHT: f64 = 330.0;
    let y = |share: f64| HEIGHT - bottom - (HEIGHT - top_edge - bottom) * share.clamp(0.0, 1.0);
    let mut marks = String::new();
    for at in [0.0, 0.25, 0.5, 0.75, 1.0] {
        line(&mut marks, "grid", (left, y(at)), (WIDTH - right, y(at)));
        text(&mut marks, left - 8.0, y(at) + 4.0, "end", &short(at));
    }
    for (place, (class, name)) in series.iter().enumerate() {
        let x = left + 150.0 * place as f64;
        let _ = write!(marks, "<rect class=\"{class}\" x=\"{x:.1}\" y=\"8\" width=\"12\" height=\"12\"/>");
        text(&mut marks, x + 18.0, 18.0, "start", name);
    }
    let wide = (WIDTH - left - right) / groups.len().max(1) as f64;
    let bar = (wide * 0.8 / series.len().max(1) as f64).min(44.0);
    let mut told = Vec::new();
    for (place, (name, values)) in groups.iter().enumerate() {
        let middle = left + wide * (place as f64 + 0.5);
        // The name breaks after its first word, because groups are close together.
        for (at, words) in name.replacen(' ', "\n", 1).lines().enumerate() {
            text(&mut marks, middle, HEIGHT - bottom + 17.0 + 15.0 * at as f64, "middle", words);
        }
        let mut of_group = Vec::new();
        for (at, (value, (class, series_name))) in values.iter().zip(series).enumerate() {
            let Some(value) = value else { continue };
            let x = middle + bar * (at as f64 - series.len() as f64 / 2.0);
            let _ = write!(
                marks,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                x + 1.0,
                y(*value),
                bar - 2.0,
                HEIGHT - bottom - y(*value)
            );
            text(
                &mut marks,
                x + bar / 2.0,
                y(*value) - 4.0,
                "middle value",
                format!("{value:.2}").trim_start_matches('0'),
            );
            of_group.push(format!("{series_name} {value:.3}"));
        }
        told.push(format!("{}: {}", name.replace('\n', ", queries "), of_group.join(", ")));
    }
    drawing(id, title, &(told.join(". ") + "."), HEIGHT, &marks)
}

/// A difference with its bounds and a label.
pub(super) struct Interval {
    pub(super) name: String,
    pub(super) said: String,
    pub(super) difference: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

/// Draws differences as points with their bounds, and lines at zero and at the tolerated loss.
pub(super) fn intervals(title: &str, margin: f64, rows: &[Interval]) -> String {
    let (left, right, high_row, top_edge) = (200.0, 190.0, 30.0, 12.0);
    let height = top_edge + high_row * rows.len() as f64 + 46.0;
    let floor = height - 46.0;
    let low = rows.iter().map(|row| row.lower).fold(-2.0 * margin, f64::min);
    let high = rows.iter().map(|row| row.upper).fold(2.0 * margin, f64::max);
    let (low, high) = (low - 0.03 * (high - low), high + 0.03 * (high - low));
    let range = (high - low).max(1e-6);
    let x = |value: f64| left + (WIDTH - left - right) * (value - low) / range;
    let mut marks = String::new();
    let every = tick(range);
    let first = (low / every).ceil() as i64;
    for at in (first..first + 12).map(|at| at as f64 * every).take_while(|at| *at <= high) {
        line(&mut marks, "grid", (x(at), top_edge), (x(at), floor));
        text(&mut marks, x(at), floor + 16.0, "middle", &short(at));
    }
    text(&mut marks, x((low + high) / 2.0), height - 8.0, "middle", "change of the mean reciprocal rank");
    line(&mut marks, "zero", (x(0.0), top_edge), (x(0.0), floor));
    line(&mut marks, "margin", (x(-margin), top_edge), (x(-margin), floor));
    let mut told = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let y = top_edge + high_row * (place as f64 + 0.5);
        text(&mut marks, left - 12.0, y + 4.0, "end", &row.name);
        line(&mut marks, "bounds", (x(row.lower), y), (x(row.upper), y));
        let _ =
            write!(marks, "<circle class=\"new\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/>", x(row.difference));
        text(&mut marks, WIDTH - right + 12.0, y + 4.0, "start", &row.said);
        told.push(format!(
            "{}: {:+.3}, between {:+.3} and {:+.3}, {}",
            row.name, row.difference, row.lower, row.upper, row.said
        ));
    }
    drawing("change", title, &(told.join(". ") + "."), height, &marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for range in [0.003, 0.07, 0.9, 1.0, 2.18, 183.0, 12_000.0] {
            let count = range / tick(range);
            assert!((2.0..=6.0).contains(&count), "{range}: {count}");
        }
    }

    #[test]
    fn the_running_mean_stays_within_its_values() {
        assert_eq!(running_mean(&[1.0, 2.0, 6.0], 1), [1.5, 3.0, 4.0]);
        assert!(running_mean(&[], 3).is_empty());
    }
}
