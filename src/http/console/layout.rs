//! The frame of every page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::access::{Access, Visitor};
use super::form::token_field;

/// Pages in the navigation: path and name.
const PAGES: [(&str, &str); 5] =
    [("/", "Overview"), ("/runs", "Runs"), ("/models", "Models"), ("/pairs", "Pairs"), ("/try", "Try")];

/// A page: its path in the navigation, its title, and what follows its changes.
pub(super) struct Page<'a> {
    pub(super) access: &'a Access,
    pub(super) visitor: &'a Visitor,
    /// Path of the page in the navigation.
    pub(super) path: &'a str,
    pub(super) title: &'a str,
    /// Page whose parts are kept up to date; `None` for a page that stays as it is.
    pub(super) live: Option<&'a str>,
}

/// A part of a page that is replaced when it changes: its id and its content.
pub(super) type Part = (&'static str, Markup);

impl Page<'_> {
    /// Returns the page with this content.
    pub(super) fn show(&self, content: Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                (head(self.title, true))
                body data-live=[self.live] {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { (MARK) "AutoValidate" }
                        nav aria-label="Pages" {
                            ul {
                                @for (path, name) in PAGES {
                                    li { a href=(path) aria-current=[(path == self.path).then_some("page")] { (name) } }
                                }
                            }
                        }
                        @if self.visitor.logged_in {
                            form.inline method="post" action="/logout" {
                                (token_field(self.access, self.visitor))
                                button.quiet type="submit" { "Log out" }
                            }
                        }
                    }
                    main #main { (content) }
                    footer { p { "autovalidate " (env!("CARGO_PKG_VERSION")) " · times in UTC" span #live-state hidden { " · live" } } }
                }
            }
        }
    }

    /// Returns the page with these parts, each under its id.
    pub(super) fn show_parts(&self, head: Markup, parts: Vec<Part>) -> Markup {
        self.show(html! {
            (head)
            div.parts { @for (id, part) in parts { (show_part(id, part)) } }
        })
    }
}

/// Returns a part in the element that is replaced when it changes.
pub(super) fn show_part(id: &str, part: Markup) -> Markup {
    html! { div.part id=(id) { (part) } }
}

/// Returns a page without navigation and script, for somebody who is not logged in.
pub(super) fn bare(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, false))
            body { main #main { (content) } }
        }
    }
}

fn head(title: &str, script: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) " · AutoValidate" }
            link rel="stylesheet" href="/console.css";
            @if script { script src="/console.js" defer {} }
        }
    }
}

/// The mark before the name: a curve that levels off at a tick.
const MARK: PreEscaped<&str> = PreEscaped(
    "<svg class=\"mark\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M2 5c4 11 7 14 10 14 3.500 0 6-6 10-12\"/></svg>",
);

/// Returns a labeled state whose shape tells it apart without color.
pub(super) fn pill(kind: &str, text: &str) -> Markup {
    let sign = match kind {
        "good" => "✓",
        "bad" => "✕",
        "busy" => "▸",
        "warn" => "!",
        _ => "·",
    };
    html! { span class={ "pill " (kind) } { span aria-hidden="true" { (sign) " " } (text) } }
}

/// Returns a failure with the advice on what to do.
pub(super) fn trouble(title: &str, message: &str, advice: &str) -> Markup {
    html! {
        div.alert role="note" {
            p { strong { (title) } " " (message) }
            @if !advice.is_empty() { p.advice { span.label { "What to do" } " " (advice) } }
        }
    }
}

/// Returns names with their values.
pub(super) fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, Markup)>) -> Markup {
    html! { dl.facts { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } } }
}
