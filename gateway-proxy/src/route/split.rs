//! How the requests of one rule are split over its backends.

use gateway_common::ir::{BackendId, BackendRef};

use crate::filter::Filters;

/// One backend reference that may be chosen.
#[derive(Debug)]
pub struct Share {
    /// None: the reference did not resolve; its requests get 500.
    pub backend: Option<BackendId>,
    pub filters: Filters,
    /// Of this share and those before it.
    until: u64,
}

#[derive(Debug, Default)]
pub struct Split(Box<[Share]>);

impl Split {
    /// Problems of filters are appended to `problems`, named below `field`.
    pub(super) fn compile(backends: &[BackendRef], field: &str, problems: &mut Vec<String>) -> Self {
        let mut until = 0;
        let used = backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0);
        let shares = used.map(|(at, backend)| {
            until += u64::from(backend.weight);
            let filters = Filters::compile(&backend.filters, &format!("{field}.backendRefs[{at}]"), problems);
            Share { backend: backend.backend.clone(), filters, until }
        });
        Self(shares.collect())
    }

    /// Chooses by weight; `random` gives a number below its argument. None: there is nothing to choose from (500).
    pub fn choose(&self, random: impl FnOnce(u64) -> u64) -> Option<&Share> {
        match &*self.0 {
            [] => None,
            [only] => Some(only),
            [.., last] => {
                let point = random(last.until);
                self.0.get(self.0.partition_point(|share| share.until <= point))
            }
        }
    }

    pub fn shares(&self) -> &[Share] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_gets_its_points() {
        let backends = [0, 3, 0, 1, u32::MAX].map(|weight| BackendRef {
            weight,
            backend: Some(BackendId::new(format!("n/{weight}:80"))),
            filters: Vec::new(),
        });
        let split = Split::compile(&backends, "rules[0]", &mut Vec::new());
        let at = |point| split.choose(|_| point).and_then(|share| share.backend.as_ref()).unwrap().as_str();
        assert_eq!([at(0), at(2), at(3)], ["n/3:80", "n/3:80", "n/1:80"]);
        let end = 4 + u64::from(u32::MAX);
        assert_eq!(split.choose(|below| below - 1).unwrap().until, end);
        assert_eq!(at(4), "n/4294967295:80");
        assert!(Split::compile(&backends[..1], "", &mut Vec::new()).choose(|_| 0).is_none());
    }
}
