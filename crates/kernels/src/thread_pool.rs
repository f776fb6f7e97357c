//! Work shared among threads.

use std::sync::{Mutex, PoisonError};

/// Threads that work on numbered tasks together.
pub trait ThreadPool {
    /// How many threads there are.
    fn threads(&self) -> usize;

    /// Calls `task` once with each number below `tasks`, on any of the threads, and returns when all are done.
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread only.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl ThreadPool for Alone {
    fn threads(&self) -> usize {
        1
    }

    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Hands each task what it alone may write to. The locks are never waited for: each is taken once, by its task.
pub(crate) fn each_with<T: Send>(pool: &dyn ThreadPool, parts: Vec<T>, task: impl Fn(usize, &mut T) + Sync) {
    let parts: Vec<Mutex<T>> = parts.into_iter().map(Mutex::new).collect();
    pool.each(parts.len(), &|number| {
        let mut part = parts[number].lock().unwrap_or_else(PoisonError::into_inner);
        task(number, &mut part);
    });
}
