//! What the process may have open.

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A listening socket per worker, Gateway and family: more than the usual soft limit of 1024 is soon needed.
pub(super) fn raise() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("raise RLIMIT_NOFILE to its hard limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_descriptors_that_the_process_may_have_are_to_be_had() {
        let limit = getrlimit(Resource::Nofile);
        let lower = limit.maximum.unwrap_or(1 << 20) - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum: limit.maximum }).unwrap();
        raise().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
