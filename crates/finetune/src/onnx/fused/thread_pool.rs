//! The session's threads as a thread pool for the kernels.

use std::cell::RefCell;

use autovalidate_kernels::ThreadPool;
use ort::operator::ComputeContext;

/// Thread pool of the session that calls an operator.
pub(super) struct SessionPool<'c> {
    context: &'c ComputeContext,
    threads: usize,
    failure: RefCell<Option<ort::Error>>,
}

impl<'c> SessionPool<'c> {
    pub(super) fn new(context: &'c ComputeContext, threads: usize) -> Self {
        Self { context, threads, failure: RefCell::new(None) }
    }

    /// Consumes the pool, and returns the runtime's error if it refused to distribute work.
    pub(super) fn ended(self) -> ort::Result<()> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}

impl ThreadPool for SessionPool<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.threads == 1 || tasks == 1 {
            return (0..tasks).for_each(task);
        }
        // Every task is its own batch, so a thread takes the next task as soon as it is free.
        if let Err(error) = self.context.par_for(tasks, tasks, task) {
            self.failure.replace(Some(error));
        }
    }
}
