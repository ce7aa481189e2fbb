//! Tasks without which the agent is none: the first that ends, ends the agent, whose supervisor starts it again.

use std::any::Any;
use std::collections::BTreeMap;

use anyhow::anyhow;
use tokio::task::{Id, JoinError, JoinSet};

#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    names: BTreeMap<Id, &'static str>,
}

impl Tasks {
    pub(super) fn start(
        &mut self,
        name: &'static str,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let id = self.running.spawn(work).id();
        self.names.insert(id, name);
    }

    /// Which ended and why; none should. Cancel-safe.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        let (id, error) = match self.running.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((id, Ok(())))) => (id, anyhow!("it returned")),
            Some(Ok((id, Err(error)))) => (id, error),
            Some(Err(error)) => (error.id(), anyhow!(panicked(error))),
        };
        let name = self.names.get(&id).copied().unwrap_or_default();
        error.context(format!("the task `{name}` ended"))
    }
}

fn panicked(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    format!("it panicked: {}", message(&*panic))
}

/// What `panic!` was called with.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    async fn check(work: impl Future<Output = anyhow::Result<()>> + Send + 'static, want: &str) {
        let mut tasks = Tasks::default();
        tasks.start("one that runs", pending());
        tasks.start("the broken one", work);
        assert_eq!(format!("{:#}", tasks.ended().await), want);
    }

    #[tokio::test]
    async fn the_end_of_a_task_is_told_with_its_name_and_reason() {
        check(async { Ok(()) }, "the task `the broken one` ended: it returned").await;
        check(async { Err(anyhow!("no socket")) }, "the task `the broken one` ended: no socket").await;
        check(
            async { panic!("out of {}", "luck") },
            "the task `the broken one` ended: it panicked: out of luck",
        )
        .await;
    }
}
