//! A form that a person has sent from one of our pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::access::{Access, Visitor};
use crate::http::Views;

/// Name of the field with the form token.
const TOKEN: &str = "form_token";
/// Largest form, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// Fields of a form that carries the visitor's token. A handler that takes this can't be reached by a
/// forged form.
pub(super) struct OwnForm(BTreeMap<String, String>);

impl OwnForm {
    /// Returns a field; empty when the form has none of this name.
    pub(super) fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Returns true when a box is checked.
    pub(super) fn is_checked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl FromRequest<Arc<Views>> for OwnForm {
    type Rejection = Response;

    async fn from_request(request: Request, views: &Arc<Views>) -> Result<Self, Response> {
        let refused = |status: StatusCode, said: &'static str| (status, said).into_response();
        let visitor = request.extensions().get::<Visitor>().cloned();
        let Some(visitor) = visitor else { return Err(refused(StatusCode::UNAUTHORIZED, "log in first\n")) };
        let fields = fields(request).await?;
        let given = fields.get(TOKEN).map_or("", String::as_str);
        match views.console.access.may_post(&visitor, given) {
            true => Ok(Self(fields)),
            false => Err(refused(
                StatusCode::FORBIDDEN,
                "this form is not from the console, or is from before a login: open its page again\n",
            )),
        }
    }
}

/// Reads the fields of any form.
pub(super) async fn fields(request: Request) -> Result<BTreeMap<String, String>, Response> {
    let body = to_bytes(request.into_body(), MAX_FORM).await;
    let body =
        body.map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "the form is too large\n").into_response())?;
    Ok(url::form_urlencoded::parse(&body).into_owned().collect())
}

/// Returns the hidden field by which a form proves where it came from.
pub(super) fn token_field(access: &Access, visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(access.form_token(visitor)); }
}
