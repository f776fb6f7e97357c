//! Progress for a person: bars on a terminal, occasional lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::broker::Event;
use crate::run::{ENDED, Stage};

/// Display of arriving pairs and of runs.
pub(super) struct Terminal {
    terminal: bool,
    bar: Option<ProgressBar>,
    /// Number of pairs at the last update without a terminal, so that only some updates print a
    /// line.
    told: u64,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), bar: None, told: 0 }
    }

    /// Prints a line, above a bar if there is one.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) if self.terminal => bar.suspend(|| println!("{text}")),
            _ => println!("{text}"),
        }
    }

    /// Shows that `arrived` of `threshold` pairs have arrived.
    pub(super) fn pairs(&mut self, arrived: u64, threshold: u64) {
        if !self.terminal {
            let every = (threshold / 4).max(1);
            if arrived / every > self.told / every {
                println!("  {arrived} of {threshold} pairs arrived");
            }
            self.told = arrived;
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(threshold, "  pairs {bar:32} {pos}/{len}"));
        bar.set_position(arrived.min(threshold));
    }

    /// Shows an event of a run.
    pub(super) fn event(&mut self, event: &Event) {
        let detail = &event.detail;
        let phase = detail["phase"].as_str().unwrap_or_default();
        if event.stage == Stage::Train.name() && phase == "progress" {
            self.progress(detail);
            return;
        }
        match phase {
            "started" => {
                self.close();
                self.line(&format!("  {:<11} ...", event.stage));
            }
            "ended" => {
                self.close();
                let seconds = detail["seconds"].as_f64().unwrap_or_default();
                self.line(&format!(
                    "  {:<11} {seconds:>6.1} s  {}",
                    event.stage,
                    figures(&event.stage, &detail["figures"])
                ));
            }
            "failed" => {
                self.close();
                let error = &detail["error"];
                let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
                self.line(&format!(
                    "  {:<11} failed: {}\n  what to do: {}",
                    event.stage,
                    text("message"),
                    text("advice")
                ));
            }
            _ if event.stage == ENDED => self.close(),
            _ => {}
        }
    }

    fn progress(&mut self, detail: &serde_json::Value) {
        let number = |name: &str| detail[name].as_u64().unwrap_or_default();
        let (step, steps) = (number("step"), number("steps").max(1));
        let loss = detail["loss"].as_f64().unwrap_or_default();
        if !self.terminal {
            if step == 1 || step == steps || step * 8 / steps > (step - 1) * 8 / steps {
                println!("    step {step:>4} of {steps}  epoch {}  loss {loss:.4}", number("epoch"));
            }
            return;
        }
        let bar =
            self.bar.get_or_insert_with(|| bar(steps, "    {bar:32} step {pos}/{len}  {msg}  {eta} left"));
        bar.set_position(step);
        bar.set_message(format!("loss {loss:.4}"));
    }

    /// Ends the bar, if there is one, and leaves it on the screen.
    pub(super) fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
            // An abandoned bar leaves the cursor at its end.
            println!();
        }
        self.told = 0;
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style.progress_chars("=> "))
}

/// Formats a stage's figures in a few words.
fn figures(stage: &str, figures: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match stage {
        "load-base" => format!("{} ({})", text(&figures["model"]), text(&figures["origin"])),
        "fetch-data" => {
            let training: u64 = figures["training"]
                .as_object()
                .map(|domains| domains.values().filter_map(serde_json::Value::as_u64).sum())
                .unwrap_or_default();
            let training = training + figures["omitted"]["pairs"].as_u64().unwrap_or_default();
            let count = |name: &str| figures[name].as_u64().unwrap_or_default();
            let held_out = count("new_typos") + count("unseen_corrections") + count("newest");
            format!("{} rows: {training} pairs to train on, {held_out} held out", count("rows"))
        }
        "train" => {
            let training = &figures["training"];
            let losses: Vec<f64> = training["epoch_losses"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(serde_json::Value::as_f64)
                .collect();
            let losses = losses.iter().map(|loss| format!("{loss:.3}")).collect::<Vec<_>>().join(" > ");
            format!(
                "{} steps, {} of the token table's rows; loss by epoch {losses}",
                training["steps"], training["vocabulary"]
            )
        }
        "evaluate" => {
            let scores = |which: &str| {
                figures["held_out"]["all"][which]["overall"]["accuracy_at_1"].as_f64().unwrap_or_default()
            };
            format!("held-out accuracy@1 {:.3} before, {:.3} after", scores("before"), scores("after"))
        }
        "gate" => text(&figures["verdict"]),
        "package" => {
            let megabytes = figures["bytes"].as_f64().unwrap_or_default() / 1e6;
            format!(
                "{megabytes:.0} MB; ONNX model agrees (cosine {:.6})",
                figures["onnx_parity"].as_f64().unwrap_or_default()
            )
        }
        "publish" => text(&figures["path"]),
        _ => String::new(),
    }
}

/// Draws a curve of numbers as a line of block characters, at most `width` wide.
pub(super) fn curve(numbers: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = numbers.len().div_ceil(width.max(1)).max(1);
    let means: Vec<f64> =
        numbers.chunks(each).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (high - low).max(f64::EPSILON);
    means.iter().map(|mean| BLOCKS[(((mean - low) / span) * 7.0).round().clamp(0.0, 7.0) as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::curve;

    #[test]
    fn a_curve_falls_as_its_numbers_do() {
        assert_eq!(curve(&[8.0, 4.0, 1.0], 10), "█▄▁");
        assert_eq!(curve(&[1.0; 6], 3), "▁▁▁");
        assert_eq!(curve(&[], 3), "");
        assert!(curve(&(0..100).map(f64::from).collect::<Vec<_>>(), 20).chars().count() <= 20);
    }
}
