//! The run report as a page: one file without scripts or external resources, in the reader's light
//! or dark theme.

use std::fmt::Write as _;

use crate::evaluate::{Comparison, Group, Judgment, Report, Retrieval, Scores};
use crate::text::label;

use super::RunReport;
use super::plot::{Interval, bars, escape, intervals, losses};

const STYLE: &str = include_str!("page.css");

/// CSS class and name of each matcher, in the order of their bars.
const SERIES: [(&str, &str); 4] =
    [("fuzzy", "fuzzy ratio"), ("base", "base model"), ("live", "live model"), ("new", "new model")];

/// Largest number of domains that the page shows.
const SHOWN: usize = 12;

/// A part of every group: its id, its title, its description, and its accessor.
type Part<'a> = (&'static str, &'static str, &'a str, fn(&Group) -> &Comparison);

/// Returns a run's report as a self-contained page.
pub fn page(run: &RunReport) -> String {
    let job = run.job.as_ref().map_or(String::new(), |job| format!(" {}", escape(job)));
    let body = content(run);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Training run</title><style>{STYLE}</style></head><body><main><h1>Training run{job}</h1>{body}</main>\
         </body></html>\n"
    )
}

/// Returns the content of the report's page, for a page that has its title and style sheet.
pub(crate) fn content(run: &RunReport) -> String {
    let report = &run.report;
    let mut body = String::new();
    // Writing to a string can't fail.
    let published = if report.may_be_published(false) { "may be published" } else { "is not published" };
    let _ = write!(
        body,
        "<p class=\"verdict\"><strong>{}</strong>: the model {published}.</p><p>{}</p>",
        escape(report.gate.verdict.words()),
        escape(&report.gate.sentence())
    );
    for defect in &report.sanity.defects {
        let _ =
            write!(body, "<p class=\"verdict\"><strong>defect</strong>: {}</p>", escape(&defect.to_string()));
    }
    let facts = run.facts().into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    body.push_str(&table("Summary of the run", &[], facts));

    body.push_str("<h2>Training</h2>");
    let by_epoch = run.training.epoch_losses.iter().zip(1..);
    let rows = by_epoch.map(|(loss, epoch): (_, u32)| vec![format!("epoch {epoch}"), format!("{loss:.4}")]);
    let thin = match run.steps_per_loss() {
        1 => "each step's loss".to_owned(),
        steps => format!("the mean loss of {steps} steps each"),
    };
    let floor = run.least_loss();
    let below = floor.map_or(String::new(), |least| {
        format!(
            " Dashed: {least:.2}, the lower bound of a smoothed loss. A smaller batch, or one with equal \
             corrections, can go below it."
        )
    });
    figure(
        &mut body,
        &losses(&run.training.losses, run.steps_per_loss(), floor),
        &format!(
            "Thin: {thin}. Thick: the mean over neighboring steps. Each epoch has new synthetic typos.{below}"
        ),
        &table("Mean loss of each epoch", &["epoch", "loss"], rows),
    );
    scores(&mut body, report);
    change(&mut body, report);
    body
}

fn scores(body: &mut String, report: &Report) {
    body.push_str("<h2>Scores</h2>");
    let left = format!(
        "The best fuzzy ratio of these typos is below {}: the fuzzy matcher declines, and the model decides.",
        report.policy.fuzzy.threshold
    );
    let parts: [Part<'_>; 2] = [
        (
            "all",
            "All held-out typos",
            "Each held-out typo is a query against all names of its domain.",
            |group| &group.all,
        ),
        ("slice", "Typos left to the model", &left, |group| &group.slice),
    ];
    for (id, title, told, part) in parts {
        let whole = part(&report.held_out);
        let mut groups: Vec<(String, [Option<&Scores>; 4])> =
            vec![("all".to_owned(), each(whole, |scores| Some(&scores.overall)))];
        let shown = report.gate.most_telling(SHOWN);
        let domains = whole.after.domains.keys().filter(|domain| shown.contains(domain.as_str()));
        for domain in domains.clone() {
            groups.push((label(domain), each(whole, |scores| scores.domains.get(domain))));
        }
        let count = whole.after.domains.len() + whole.after.other_domains;
        let more = more_domains(count - domains.count());
        for (name, group) in report.groups().into_iter().skip(1) {
            groups.push((name.to_owned(), each(part(group), |scores| Some(&scores.overall))));
        }
        groups.retain(|(_, scores)| scores[3].is_some());
        let drawn: Vec<_> = groups
            .iter()
            .map(|(name, scores)| {
                let queries = scores[3].map_or(0, |scores| scores.queries);
                let doubt = if queries < report.policy.minimum_queries { "?" } else { "" };
                let values = scores.map(|scores| scores.map(|scores| scores.accuracy_at_1));
                (format!("{name}\n{queries}{doubt}"), values.to_vec())
            })
            .collect();
        let mean = each(whole, |scores| Some(&scores.macro_mean));
        if count > 1 {
            groups.push(("mean of the domains".to_owned(), mean));
        }
        let rows = groups.iter().flat_map(|(name, scores)| {
            scores.iter().zip(SERIES).filter_map(|(scores, (_, who))| {
                let Scores { queries, accuracy_at_1, mrr_at_10, recall_at_3 } = (*scores)?;
                let figures = [accuracy_at_1, mrr_at_10, recall_at_3].map(|figure| format!("{figure:.3}"));
                Some([vec![name.clone(), queries.to_string(), who.to_owned()], figures.to_vec()].concat())
            })
        });
        let title = format!("{title}: share with the right name in first place (accuracy@1)");
        figure(
            body,
            &bars(id, &title, &SERIES, &drawn),
            &format!(
                "{title}. {told}{more} Below each group is its number of typos; a question mark means too few for a \
                 verdict."
            ),
            &table(&title, &["typos", "queries", "matcher", "accuracy@1", "MRR@10", "recall@3"], rows),
        );
    }
    let served = report.held_out.end_to_end;
    let _ = write!(
        body,
        "<p>End to end (the fuzzy matcher where it is sure, otherwise the model), the share of right answers is {:.3} \
         with the live model and {:.3} with the new model.</p>",
        served.before, served.after
    );
    let serving = report.serving.map(|serving| serving.to_string());
    for sentence in report.best_metric_sentences().into_iter().chain(serving) {
        let _ = write!(body, "<p>{}.</p>", escape(&capitalized(&sentence)));
    }
}

/// Returns a sentence with a capital letter at its beginning.
fn capitalized(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns a sentence about the domains that are not shown, if there are any.
fn more_domains(count: usize) -> String {
    if count > 0 {
        format!(" {count} more domains are not shown; the receipt has them.")
    } else {
        String::new()
    }
}

/// Returns the scores of the fuzzy matcher and of the three models; `None` for scores without a
/// query.
fn each<'a>(
    comparison: &'a Comparison,
    of: impl Fn(&'a Retrieval) -> Option<&'a Scores>,
) -> [Option<&'a Scores>; 4] {
    let Comparison { fuzzy, original, before, after } = comparison;
    [Some(fuzzy), original.as_ref(), Some(before), Some(after)]
        .map(|retrieval| retrieval.and_then(&of).filter(|scores| scores.queries > 0))
}

fn change(body: &mut String, report: &Report) {
    body.push_str("<h2>Change from the live model</h2>");
    let rows: Vec<Interval> = [("all", &report.gate.overall)]
        .into_iter()
        .chain(report.gate.main_parts(SHOWN))
        .map(|(name, judgment)| {
            let Judgment { verdict, queries, difference, lower, upper } = *judgment;
            let said = format!("{} ({queries} queries)", verdict.words());
            Interval { name: label(name), said, difference, lower, upper }
        })
        .collect();
    let cells = rows.iter().map(|row| {
        let figures = [row.difference, row.lower, row.upper].map(|figure| format!("{figure:+.3}"));
        [vec![row.name.clone()], figures.to_vec(), vec![row.said.clone()]].concat()
    });
    let title = "New model against live model, with confidence bounds";
    let forgetting = match report.gate.legacy {
        Some(_) => "A drop on what earlier versions knew is forgetting.",
        None => "Forgetting is not measured: there is no earlier version.",
    };
    let more = more_domains(report.gate.domains.len().saturating_sub(SHOWN) + report.gate.other_domains);
    figure(
        body,
        &intervals(title, report.policy.margin, &rows),
        &format!("{title}. Dashed: the tolerated loss, {}. {forgetting}{more}", report.policy.margin),
        &table(title, &["typos", "change", "lower bound", "upper bound", "verdict"], cells),
    );
}

/// Writes a drawing with its caption, and the same figures as a collapsible table.
fn figure(body: &mut String, drawing: &str, caption: &str, table: &str) {
    let _ = write!(
        body,
        "<figure>{drawing}<figcaption>{}</figcaption></figure>\
         <details><summary>The same as a table</summary>{table}</details>",
        escape(caption)
    );
}

/// Returns an HTML table. The first cell of each row is the row's header.
fn table(caption: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut html = format!("<table><caption>{}</caption>", escape(caption));
    if !heads.is_empty() {
        let heads: String =
            heads.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
        let _ = write!(html, "<thead><tr>{heads}</tr></thead>");
    }
    html.push_str("<tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            let _ = match place {
                0 => write!(html, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(html, "<td>{}</td>", escape(cell)),
            };
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table>"
}
