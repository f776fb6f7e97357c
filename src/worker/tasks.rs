//! The tasks of a worker, each under its name.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};

use crate::failure::panic_message;

/// A set of named tasks. Dropping it aborts them.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndedTask {
    pub(super) name: &'static str,
    /// Message of the panic, when the task panicked.
    pub(super) panic: Option<String>,
}

impl Tasks {
    /// Starts a task. The task is made here, so that the caller's stack frame has no room for it: the
    /// futures of some tasks are large.
    pub(super) fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.running.spawn(Box::pin(task())).id();
        self.names.insert(id, name);
    }

    /// Waits for the next task to end. Returns `None` when all have ended.
    pub(super) async fn next_ended(&mut self) -> Option<EndedTask> {
        let (id, panic) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(panic_message(error))),
        };
        Some(EndedTask { name: self.names.remove(&id).unwrap_or("unnamed task"), panic })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ended_task_is_known_by_its_name_and_a_panicked_one_by_its_message() {
        let mut tasks = Tasks::default();
        tasks.spawn("sweep", || async { panic!("page {}", 3) });
        let ended = tasks.next_ended().await;
        assert_eq!(ended, Some(EndedTask { name: "sweep", panic: Some("page 3".to_owned()) }));
        tasks.spawn("http", || async {});
        assert_eq!(tasks.next_ended().await, Some(EndedTask { name: "http", panic: None }));
        assert_eq!(tasks.next_ended().await, None);
    }
}
