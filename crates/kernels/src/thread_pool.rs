//! Division of work among threads.

use std::sync::{Mutex, PoisonError};

/// A pool of threads that run numbered tasks.
pub trait ThreadPool {
    /// Number of threads.
    fn threads(&self) -> usize;

    /// Calls `task` once with each number below `tasks`, on any of the threads, and returns when
    /// all tasks are done.
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// A pool of the calling thread only.
#[derive(Debug, Clone, Copy)]
pub struct SingleThread;

impl ThreadPool for SingleThread {
    fn threads(&self) -> usize {
        1
    }

    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Runs one task for each of `parts`, with exclusive access to that part. No task ever waits for a
/// lock: only the part's own task takes its lock, and takes it once.
pub(crate) fn each_with<T: Send>(pool: &dyn ThreadPool, parts: Vec<T>, task: impl Fn(usize, &mut T) + Sync) {
    let parts: Vec<Mutex<T>> = parts.into_iter().map(Mutex::new).collect();
    pool.each(parts.len(), &|number| {
        let mut part = parts[number].lock().unwrap_or_else(PoisonError::into_inner);
        task(number, &mut part);
    });
}
