//! The page `/pairs`: counts, the newest pairs, and the rows that are kept out of training.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use jiff::Timestamp;
use maud::{Markup, html};

use super::Console;
use super::access::Visitor;
use super::home::broker_trouble;
use super::layout::{Page, Part, facts};
use super::words::{ago, count, exact, thousands};
use crate::broker::BrokerError;
use crate::correction::Row;
use crate::corrections::Quarantined;
use crate::http::Views;
use crate::row_identity::{RowId, id_of};
use crate::run::Stage;
use crate::text::shorten;

/// Number of domains that are counted.
const MOST_DOMAINS: usize = 200;
/// Number of the newest pairs that are shown.
const NEWEST: u64 = 25;
/// Number of messages of the quarantine on a page.
const QUARANTINED: u64 = 100;
/// Longest text that is shown, in bytes.
const LONGEST: usize = 120;

/// Shows the page.
pub(super) async fn show(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Markup {
    let console = &views.console;
    let earlier = query.get("earlier").and_then(|earlier| earlier.parse().ok());
    let page = Page {
        access: &console.access,
        visitor: &visitor,
        path: "/pairs",
        title: "Pairs",
        live: Some("/pairs"),
    };
    let quarantine = match quarantine(console, &visitor, earlier).await {
        Ok(shown) => shown,
        Err(error) => broker_trouble(&error),
    };
    let texts = match (visitor.logged_in, console.access.has_login()) {
        (true, _) => html! {},
        (false, _) => {
            html! { p.hint { "Texts are shown only to somebody who has logged in: set " code { "CONSOLE_TOKEN" } " on the worker." } }
        }
    };
    let mut body = html! { h1 { "Pairs" } (texts) };
    for (id, part) in parts(console, &visitor).await {
        body = html! { (body) (super::layout::show_part(id, part)) };
    }
    page.show(html! { (body) (quarantine) (forget()) })
}

/// Returns the parts of the page that change with each pair.
pub(super) async fn parts(console: &Console, visitor: &Visitor) -> Vec<Part> {
    let (counts, newest) = tokio::join!(Box::pin(counts(console)), Box::pin(newest(console, visitor)));
    let shown = |part: Result<Markup, BrokerError>| part.unwrap_or_else(|error| broker_trouble(&error));
    vec![("pair-counts", shown(counts)), ("newest-pairs", shown(newest))]
}

async fn counts(console: &Console) -> Result<Markup, BrokerError> {
    let (domains, days, last) = tokio::try_join!(
        console.corrections.domain_counts(MOST_DOMAINS),
        console.corrections.day_counts(),
        console.runs.last_ended(),
    )?;
    let mut domains: Vec<(String, u64)> = domains.into_iter().collect();
    domains.sort_by(|(a, many), (b, more)| more.cmp(many).then_with(|| a.cmp(b)));
    let days: Vec<(String, u64)> = days
        .into_iter()
        .rev()
        .take(14)
        .map(|(day, number)| (day.strftime("%a %Y-%m-%d").to_string(), number))
        .collect();
    Ok(html! {
        div.parts {
            section.card {
                h2 { "By domain" }
                @if domains.is_empty() { p { "No pair is stored yet." } } @else { (bars(&domains)) }
                @if domains.len() >= MOST_DOMAINS { p.hint { "The first " (MOST_DOMAINS) " domains." } }
            }
            section.card {
                h2 { "By day" }
                @if days.is_empty() { p { "No pair is stored yet." } } @else { (bars(&days)) }
                p.hint { "By the rows' own dates, of the last minutes that had any." }
            }
            section.card {
                h2 { "Conflicts" }
                @match last.as_ref().and_then(conflicts) {
                    None => { p { "Counted when a run reads the pairs." } }
                    Some([outvoted, undecided]) => {
                        (facts([
                            ("Outvoted", html! { (count(outvoted, "row", "rows")) }),
                            ("Undecided", html! { (count(undecided, "row", "rows")) }),
                        ]))
                        p.hint { "Rows whose typo has several corrections, as the last run has found. " code { "autovalidate quarantine list --reason conflict" } " lists them." }
                    }
                }
            }
        }
    })
}

/// Returns the numbers of outvoted and of undecided rows that a run has found.
fn conflicts(record: &crate::broker::RunRecord) -> Option<[u64; 2]> {
    let stage = record.stages.iter().rev().find(|stage| stage.stage == Stage::FetchData.name())?;
    Some([stage.figures["outvoted"].as_u64()?, stage.figures["undecided"].as_u64()?])
}

fn bars(rows: &[(String, u64)]) -> Markup {
    let most = rows.iter().map(|(_, number)| *number).max().unwrap_or(1).max(1);
    html! {
        table.bars {
            tbody {
                @for (name, number) in rows {
                    tr {
                        th scope="row" { (shorten(name, LONGEST)) }
                        td { meter min="0" max=(most) value=(number) aria-hidden="true" {} }
                        td.number { (thousands(*number)) }
                    }
                }
            }
        }
    }
}

async fn newest(console: &Console, visitor: &Visitor) -> Result<Markup, BrokerError> {
    let pairs = console.corrections.newest_pairs(NEWEST).await?;
    let now = Timestamp::now();
    Ok(html! {
        section.card {
            h2 { "Newest pairs" }
            @if pairs.is_empty() { p { "None yet." } } @else {
                div.scroll {
                    table.rows {
                        thead { tr { th scope="col" { "id" } th scope="col" { "domain" } th scope="col" { "stored" } @if visitor.logged_in { th scope="col" { "typo" } th scope="col" { "correction" } } } }
                        tbody {
                            @for pair in &pairs {
                                tr {
                                    th scope="row" { (row_id(&pair.row)) }
                                    td data-label="domain" { (shorten(&pair.row.domain, LONGEST)) }
                                    td data-label="stored" { (ago(pair.at, now)) }
                                    @if visitor.logged_in { (texts(&pair.row)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn texts(row: &Row) -> Markup {
    html! {
        td data-label="typo" { (shorten(&row.typo, LONGEST)) }
        td data-label="correction" { (shorten(&row.corrected, LONGEST)) }
    }
}

/// Returns the id that a row has in the table.
pub(super) fn row_id(row: &Row) -> RowId {
    RowId::new(id_of(row.id), row.text_id.as_deref())
}

async fn quarantine(
    console: &Console,
    visitor: &Visitor,
    earlier: Option<u64>,
) -> Result<Markup, BrokerError> {
    let (counts, page) = tokio::try_join!(
        console.corrections.quarantined_counts(),
        console.corrections.quarantine_page(earlier, QUARANTINED),
    )?;
    let now = Timestamp::now();
    Ok(html! {
        section.card #quarantine {
            h2 { "Quarantine" }
            @if counts.is_empty() { p { "No row is kept out of training." } } @else {
                (facts(counts.iter().map(|(refusal, number)| (refusal.name(), html! { (count(*number, "row", "rows")) }))))
                div.scroll {
                    table.rows {
                        thead { tr { th scope="col" { "id" } th scope="col" { "reason" } th scope="col" { "domain" } th scope="col" { "stored" } @if visitor.logged_in { th scope="col" { "typo" } th scope="col" { "correction" } } th scope="col" { "decide" } } }
                        tbody { @for kept in &page.rows { (quarantined(kept, visitor, now)) } }
                    }
                }
                nav.pages aria-label="Pages of the quarantine" {
                    @if earlier.is_some() { a href="/pairs#quarantine" { "Newest rows" } }
                    @if let Some(number) = page.earlier { a href={ "/pairs?earlier=" (number) "#quarantine" } { "Earlier rows" } }
                }
            }
        }
    })
}

fn quarantined(kept: &Quarantined, visitor: &Visitor, now: Timestamp) -> Markup {
    let id = row_id(&kept.row);
    let query: String = url::form_urlencoded::byte_serialize(id.to_string().as_bytes()).collect();
    html! {
        tr {
            th scope="row" { (id) }
            td data-label="reason" { (kept.refusal) @if let Some(burst) = kept.burst { " " small { (burst) } } }
            td data-label="domain" { (shorten(&kept.row.domain, LONGEST)) }
            td data-label="stored" { time datetime=(kept.at) title=(exact(kept.at)) { (ago(kept.at, now)) } }
            @if visitor.logged_in { (texts(&kept.row)) }
            td data-label="decide" {
                @if kept.refusal.is_judgment() { a href={ "/actions/release?row=" (query) } { "Release…" } " " }
                a href={ "/actions/drop?row=" (query) } { "Drop…" }
            }
        }
    }
}

fn forget() -> Markup {
    html! {
        section.card {
            h2 { "Forget a row" }
            p.hint { "Erases a row's text for good, also of a row that is trained on. The table itself stays as it is." }
            form.inline method="get" action="/actions/forget" {
                label for="forget-row" { "Id of the row" }
                input #forget-row name="row" required maxlength="1000";
                button type="submit" { "Forget…" }
            }
        }
    }
}
