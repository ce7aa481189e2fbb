//! Medians, and how they are shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::generator::Load;

/// The contender that the others are peers of.
pub(crate) const OURS: &str = "gatehouse";

/// One turn.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    pub(crate) cpu_us: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p99_us: f64,
}

/// Every turn, by load and contender.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<Load, BTreeMap<&'static str, Vec<Sample>>>);

/// What is written for machines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Json {
    rounds: u32,
    seconds: u64,
    loads: Vec<JsonLoad>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonLoad {
    load: &'static str,
    medians: BTreeMap<&'static str, Sample>,
    /// CPU per request of ours over that of the better peer.
    ratio: Option<f64>,
    limit: f64,
    turns: BTreeMap<&'static str, Vec<Sample>>,
}

impl Figures {
    pub(crate) fn add(&mut self, load: Load, contender: &'static str, sample: Sample) {
        self.0.entry(load).or_default().entry(contender).or_default().push(sample);
    }

    pub(crate) fn json(&self, rounds: u32, seconds: u64) -> Json {
        let load = |(load, turns): (&Load, &BTreeMap<&'static str, Vec<Sample>>)| {
            let medians = medians(turns);
            let ratio = ratio(&medians);
            JsonLoad { load: load.title(), medians, ratio, limit: load.limit(), turns: turns.clone() }
        };
        Json { rounds, seconds, loads: self.0.iter().map(load).collect() }
    }

    /// Whether no load costs more than its limit.
    pub(crate) fn within(&self) -> bool {
        let within = |(load, turns): (&Load, _)| ratio(&medians(turns)).is_none_or(|it| it <= load.limit());
        self.0.iter().all(within)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:<12}{:>12}{:>12}{:>10}", "load", "proxy", "CPU µs/req", "requests/s", "p99 ms")?;
        for (load, turns) in &self.0 {
            let medians = medians(turns);
            for (index, (name, sample)) in medians.iter().enumerate() {
                let title = if index == 0 { load.title() } else { "" };
                let Sample { cpu_us, requests_per_second, p99_us } = sample;
                let p99 = p99_us / 1e3;
                writeln!(f, "{title:<28}{name:<12}{cpu_us:>12.1}{requests_per_second:>12.0}{p99:>10.2}")?;
            }
            if let Some(ratio) = ratio(&medians) {
                let word = if ratio <= load.limit() { "within" } else { "OVER" };
                writeln!(f, "{:<28}{ratio:.2} × the better peer, {word} the limit of {}", "", load.limit())?;
            }
        }
        Ok(())
    }
}

fn medians(turns: &BTreeMap<&'static str, Vec<Sample>>) -> BTreeMap<&'static str, Sample> {
    let of = |samples: &[Sample], value: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        median(&mut values)
    };
    let all = |(name, samples): (&&'static str, &Vec<Sample>)| {
        let sample = Sample {
            cpu_us: of(samples, |sample| sample.cpu_us),
            requests_per_second: of(samples, |sample| sample.requests_per_second),
            p99_us: of(samples, |sample| sample.p99_us),
        };
        (*name, sample)
    };
    turns.iter().map(all).collect()
}

fn ratio(medians: &BTreeMap<&'static str, Sample>) -> Option<f64> {
    let peers = medians.iter().filter(|(name, _)| **name != OURS).map(|(_, sample)| sample.cpu_us);
    Some(medians.get(OURS)?.cpu_us / peers.reduce(f64::min)?)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => f64::NAN,
        _ if values.len() % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: f64) -> Sample {
        Sample { cpu_us, requests_per_second: 1.0, p99_us: 1.0 }
    }

    #[test]
    fn the_ratio_is_to_the_better_peer_by_medians() {
        let mut figures = Figures::default();
        for (name, cpus) in
            [(OURS, [9.0, 30.0, 11.0]), ("haproxy", [20.0, 20.0, 1.0]), ("nginx", [10.0, 8.0, 50.0])]
        {
            for cpu in cpus {
                figures.add(Load::H1, name, sample(cpu));
            }
        }
        let json = figures.json(3, 1);
        assert_eq!(json.loads[0].ratio, Some(1.1));
        assert!(figures.to_string().contains("1.10 × the better peer, within"));
        assert!(figures.within());
        figures.add(Load::NewTls, OURS, sample(17.0));
        figures.add(Load::NewTls, "nginx", sample(10.0));
        assert!(!figures.within());
    }

    #[test]
    fn an_even_median_is_in_the_middle() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
