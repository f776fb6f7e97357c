//! The runtime's threads as the kernels see them.

use std::cell::RefCell;

use autovalidate_kernels::ThreadPool;
use ort::operator::ComputeContext;

/// The threads of the session that calls an operator.
pub(super) struct SessionTeam<'c> {
    context: &'c ComputeContext,
    threads: usize,
    failure: RefCell<Option<ort::Error>>,
}

impl<'c> SessionTeam<'c> {
    pub(super) fn new(context: &'c ComputeContext, threads: usize) -> Self {
        Self { context, threads, failure: RefCell::new(None) }
    }

    /// What the runtime said when it refused to share work out.
    pub(super) fn ended(self) -> ort::Result<()> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}

impl ThreadPool for SessionTeam<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.threads == 1 || tasks == 1 {
            return (0..tasks).for_each(task);
        }
        // Every task its own batch: threads take the next one as they get free.
        if let Err(error) = self.context.par_for(tasks, tasks, task) {
            self.failure.replace(Some(error));
        }
    }
}
