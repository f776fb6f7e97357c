//! State that the routes share: the machines, and permission checks.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};

use super::limits::{Action, Limits};
use super::machine::{Machine, World};
use super::options::Options;
use super::refusal::Refusal;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) world: Arc<World>,
    pub(super) limits: Limits,
    /// Machines by id.
    pub(super) machines: RwLock<BTreeMap<String, Arc<Machine>>>,
}

impl Shared {
    pub(super) fn add(&self, machine: Arc<Machine>) {
        let mut machines = self.machines.write().unwrap_or_else(PoisonError::into_inner);
        machines.insert(machine.id.clone(), machine);
    }

    pub(super) fn machine(&self, id: &str) -> Option<Arc<Machine>> {
        let machines = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        machines.get(id).cloned()
    }

    /// Returns the machines of an app, by id.
    pub(super) fn machines(&self, app: &str) -> Vec<Arc<Machine>> {
        let machines = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        machines.values().filter(|machine| machine.spec.app == app).cloned().collect()
    }

    /// Checks that the request's token is valid for this app, and that the app exists.
    ///
    /// # Errors
    /// 401 without a token that is known, 403 with the token of another app, 404 without the app.
    pub(super) fn check_app(&self, headers: &HeaderMap, app: &str) -> Result<(), Refusal> {
        let given = tokens(headers);
        let is = |token: &SecretString| given.contains(&token.expose_secret());
        let every_app = is(&self.options.token);
        let mut of_apps = self.options.app_tokens.iter().filter(|known| is(&known.token)).peekable();
        if !every_app && of_apps.peek().is_none() {
            return Err(Refusal::no_token());
        }
        let exists = self.options.apps.iter().any(|known| known == app) || !self.machines(app).is_empty();
        if !exists {
            return Err(Refusal::no_app());
        }
        if every_app || of_apps.any(|known| known.apps.iter().any(|allowed| allowed == app)) {
            return Ok(());
        }
        Err(Refusal::foreign_token())
    }

    /// Returns the machine of a request, after the checks of its token and of the rate limit.
    ///
    /// # Errors
    /// The refusals of [`check_app`](Self::check_app), 404 without the machine, and 429.
    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        (app, id): &(String, String),
        action: Action,
    ) -> Result<Arc<Machine>, Refusal> {
        self.check_app(headers, app)?;
        let found = self.machine(id).filter(|machine| machine.spec.app == *app);
        let machine = found.ok_or_else(Refusal::no_machine)?;
        self.limit(id, action)?;
        Ok(machine)
    }

    pub(super) fn limit(&self, subject: &str, action: Action) -> Result<(), Refusal> {
        if self.options.rate_limits { self.limits.take(subject, action) } else { Ok(()) }
    }
}

/// Returns the tokens of the header: `Bearer <token>` or `FlyV1 <token>,<token>`, and both
/// schemes together, since the token that the command line prints includes the second.
fn tokens(headers: &HeaderMap) -> Vec<&str> {
    let Some(given) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Vec::new();
    };
    let bearer = given.strip_prefix("Bearer ");
    let text = bearer.unwrap_or(given).trim();
    let fly = text.strip_prefix("FlyV1 ");
    if bearer.is_none() && fly.is_none() {
        return Vec::new();
    }
    fly.unwrap_or(text).split(',').map(str::trim).collect()
}
