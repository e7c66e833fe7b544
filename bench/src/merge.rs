//! Runs of several generators as one: what they measured at the same time, added up. Histograms are added bucket by bucket, so a percentile of the
//! sum is what one generator would have said that had sent all of it.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;

use crate::report::hdr::Packed;
use crate::report::json::{Errors, Generator, Latency, Report, SCHEMA, SecondOfRun, ServerOfRun, TlsOfRun};
use crate::tally;

/// Runs whose lengths differ by more than this part did not run together.
const DURATION_SPREAD_MAX: f64 = 0.01;

/// The sum. Every run has a name, for what is said about it.
pub fn merge(runs: &[(String, Report)]) -> Result<Report, String> {
    let Some((first_name, first)) = runs.first() else { return Err("no run to merge".into()) };
    if let Some((name, other)) = runs.iter().find(|(_, run)| run.load != first.load) {
        return Err(format!(
            "{name} is of {} loop, {first_name} of {}: what they measured is not the same thing",
            article(&other.load),
            article(&first.load)
        ));
    }
    let reports = || runs.iter().map(|(_, run)| run);
    let total = |count: fn(&Report) -> u64| saturating(reports().map(count));
    let failures = added(reports().map(|run| &run.errors.causes));
    let mut reasons = BTreeMap::new();
    for (reason, n) in reports().flat_map(|run| &run.errors.reasons) {
        tally::count(&mut reasons, reason.clone(), *n);
    }
    let (requests, unsent) = (total(|r| r.requests), total(|r| r.unsent));
    let due = requests.saturating_add(unsent).max(1) as f64;
    Ok(Report {
        schema: SCHEMA.to_string(),
        target: distinct(reports().map(|run| &run.target), ", "),
        load: first.load.clone(),
        target_rate: reports().map(|run| run.target_rate).sum(),
        connections: reports().map(|run| run.connections).fold(0, usize::saturating_add),
        threads: reports().map(|run| run.threads).fold(0, usize::saturating_add),
        backend: distinct(reports().map(|run| &run.backend), ", "),
        duration_s: reports().map(|run| run.duration_s).fold(0.0, f64::max),
        requests,
        rate: reports().map(|run| run.rate).sum(),
        unsent,
        latency: Latency::of(sum(runs, reports().map(|run| &run.latency.histogram))?),
        errors: Errors { share: saturating(failures.values().copied()) as f64 / due, causes: failures, reasons },
        statuses: added(reports().map(|run| &run.statuses)),
        kinds: added(reports().map(|run| &run.kinds)),
        tls: tls(runs)?,
        connects: total(|r| r.connects),
        bytes_read: total(|r| r.bytes_read),
        bytes_written: total(|r| r.bytes_written),
        generator: generator(runs)?,
        server: server(runs),
        seconds: seconds(runs)?,
    })
}

fn generator(runs: &[(String, Report)]) -> Result<Generator, String> {
    let reports = || runs.iter().map(|(_, run)| run);
    let lateness = sum(runs, reports().map(|run| &run.generator.lateness))?;
    let thread_seconds = |run: &Report| run.threads as f64 * run.duration_s;
    let weighted = |value: fn(&Report) -> f64, weight: &dyn Fn(&Report) -> f64| {
        let weights: f64 = reports().map(weight).sum();
        if weights > 0.0 { reports().map(|run| value(run) * weight(run)).sum::<f64>() / weights } else { 0.0 }
    };
    let mut doubts: Vec<String> = runs
        .iter()
        .flat_map(|(name, run)| run.generator.doubts.iter().map(move |doubt| format!("{name}: {doubt}")))
        .collect();
    let (shortest, longest) =
        reports().map(|run| run.duration_s).fold((f64::MAX, 0f64), |(least, most), s| (least.min(s), most.max(s)));
    if shortest < longest * (1.0 - DURATION_SPREAD_MAX) {
        doubts.push(format!(
            "the runs were counted for {shortest:.1} to {longest:.1} s: the rate is the sum of their rates, but they did not run together all the time"
        ));
    }
    Ok(Generator {
        cpu_share: weighted(|run| run.generator.cpu_share, &thread_seconds),
        cpu_us_per_request: weighted(|run| run.generator.cpu_us_per_request, &|run| run.requests as f64),
        bytes_per_cpu_second: weighted(|run| run.generator.bytes_per_cpu_second, &|run| {
            thread_seconds(run) * run.generator.cpu_share
        }),
        lateness_p50_ns: lateness.value_at_quantile(0.5),
        lateness_p999_ns: lateness.value_at_quantile(0.999),
        lateness,
        // One that was the bottleneck is not made good by others that were idle.
        unfit: reports().any(|run| run.generator.unfit),
        doubts,
    })
}

/// Who watches a server sees what it does for all generators: of several that watched one, the one that saw most.
fn server(runs: &[(String, Report)]) -> Option<ServerOfRun> {
    let mut servers: BTreeMap<u32, (f64, f64, u64)> = BTreeMap::new();
    for (server, run) in runs.iter().filter_map(|(_, run)| Some((run.server?, run))) {
        let (cpu, switches, memory) = servers.entry(server.pid).or_default();
        *cpu = cpu.max(server.cpu_us_per_request * run.requests as f64);
        *switches = switches.max(server.switches_per_request * run.requests as f64);
        *memory = server.memory_peak.max(*memory);
    }
    let requests = saturating(runs.iter().map(|(_, run)| run.requests)).max(1) as f64;
    Some(ServerOfRun {
        pid: *servers.keys().next()?,
        cpu_us_per_request: servers.values().map(|(cpu, ..)| cpu / requests).sum(),
        switches_per_request: servers.values().map(|(_, switches, _)| switches / requests).sum(),
        memory_peak: saturating(servers.values().map(|(.., memory)| *memory)),
    })
}

/// What all of them that speak it say of TLS.
fn tls(runs: &[(String, Report)]) -> Result<Option<TlsOfRun>, String> {
    let spoken = || runs.iter().filter_map(|(_, run)| run.tls.as_ref());
    if spoken().next().is_none() {
        return Ok(None);
    }
    Ok(Some(TlsOfRun {
        verified: spoken().all(|tls| tls.verified),
        full: saturating(spoken().map(|tls| tls.full)),
        resumed: saturating(spoken().map(|tls| tls.resumed)),
        handshake: Latency::of(sum(runs, spoken().map(|tls| &tls.handshake.histogram))?),
        agreed: added(spoken().map(|tls| &tls.agreed)),
    }))
}

/// One second after the other, so that few histograms are unpacked at a time.
fn seconds(runs: &[(String, Report)]) -> Result<Vec<SecondOfRun>, String> {
    let all: BTreeSet<u64> = runs.iter().flat_map(|(_, run)| run.seconds.iter().map(|second| second.second)).collect();
    let of = |second: u64| {
        runs.iter().filter_map(move |(_, run)| {
            let at = run.seconds.binary_search_by_key(&second, |s| s.second).ok()?;
            run.seconds.get(at)
        })
    };
    all.into_iter()
        .map(|second| {
            let histograms: Vec<Histogram<u64>> = of(second).map(|s| s.latency.unpack()).collect();
            let latency = sum(runs, histograms.iter())?;
            Ok(SecondOfRun {
                second,
                requests: saturating(of(second).map(|s| s.requests)),
                errors: saturating(of(second).map(|s| s.errors)),
                p50_ns: latency.value_at_quantile(0.5),
                p99_ns: latency.value_at_quantile(0.99),
                max_ns: latency.max(),
                latency: Packed::new(&latency),
            })
        })
        .collect()
}

fn sum<'a>(
    runs: &[(String, Report)],
    histograms: impl Iterator<Item = &'a Histogram<u64>>,
) -> Result<Histogram<u64>, String> {
    let mut sum = tally::histogram();
    for histogram in histograms {
        // Only a file that another program wrote has other bounds.
        sum.add(histogram).map_err(|e| {
            let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
            format!("{}: histograms that do not add up: {e}", names.join(", "))
        })?;
    }
    Ok(sum)
}

fn added<'a, K: Ord + Clone + 'a>(maps: impl Iterator<Item = &'a BTreeMap<K, u64>>) -> BTreeMap<K, u64> {
    let mut sum = BTreeMap::new();
    for (key, count) in maps.flatten() {
        let entry = sum.entry(key.clone()).or_insert(0u64);
        *entry = entry.saturating_add(*count);
    }
    sum
}

/// A file may say anything.
fn saturating(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn distinct<'a>(texts: impl Iterator<Item = &'a String>, between: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for text in texts {
        if !all.contains(&text.as_str()) {
            all.push(text);
        }
    }
    all.join(between)
}

fn article(load: &str) -> String {
    let article = if load.starts_with('o') { "an" } else { "a" };
    format!("{article} {load}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::hdr::packed;

    fn run(load: &str, latencies: impl Iterator<Item = u64> + Clone, duration_s: f64) -> Report {
        let mut histogram = tally::histogram();
        latencies.for_each(|nanos| histogram.record(nanos).unwrap());
        let count = histogram.len();
        let packed = packed::serialize(&histogram, serde_json::value::Serializer).unwrap();
        let latency = serde_json::to_value(Latency::of(histogram)).unwrap();
        let text = serde_json::json!({
            "schema": SCHEMA, "target": "http://a/", "load": load, "target_rate": 100.0, "connections": 5, "threads": 2, "backend": "uring",
            "duration_s": duration_s, "requests": count, "rate": count as f64 / duration_s, "unsent": 0, "latency": latency,
            "errors": { "share": 0.01, "causes": { "timeout": count / 100 } }, "statuses": { "200": count }, "kinds": { "GET /": count },
            "connects": 5, "bytes_read": 10, "bytes_written": 20,
            "generator": {
                "cpu_share": 0.5, "cpu_us_per_request": 2.0, "lateness_p50_ns": 1, "lateness_p999_ns": 2, "lateness": packed,
                "unfit": false, "doubts": ["it rained"],
            },
            "seconds": [
                { "second": 0, "requests": count, "errors": 0, "p50_ns": 1, "p99_ns": 2, "max_ns": 3, "latency": packed },
            ],
        });
        Report::parse(&text.to_string()).unwrap()
    }

    #[test]
    fn a_sum_is_what_one_generator_would_have_said() {
        let (low, high) = (1..=600u64, 601..=1000u64);
        let micro = |n: u64| n * 1_000;
        let all = run("open", (1..=1000).map(micro), 10.0);
        let parts = [("a", run("open", low.map(micro), 10.0)), ("b", run("open", high.map(micro), 10.0))];
        let sum = merge(&parts.map(|(name, run)| (name.to_string(), run))).unwrap();
        assert_eq!(sum.latency.histogram, all.latency.histogram);
        assert_eq!(sum.latency.percentiles, all.latency.percentiles);
        assert_eq!(sum.generator.lateness, all.generator.lateness);
        assert_eq!((sum.seconds[0].requests, &sum.seconds[0].latency), (1000, &all.seconds[0].latency));
        assert_eq!((sum.requests, sum.rate, sum.target_rate, sum.connections), (1000, 100.0, 200.0, 10));
        assert_eq!((sum.errors.share, sum.errors.causes["timeout"], sum.statuses[&200]), (0.01, 10, 1000));
        assert_eq!((sum.target.as_str(), sum.generator.cpu_share), ("http://a/", 0.5));
        assert_eq!(sum.generator.doubts, ["a: it rained", "b: it rained"]);
    }

    #[test]
    fn a_server_that_two_generators_watched_is_counted_once() {
        let watched = |cpu| {
            let server = ServerOfRun { pid: 7, cpu_us_per_request: cpu, switches_per_request: 0.0, memory_peak: 9 };
            Report { server: Some(server), ..run("open", 1..=100, 10.0) }
        };
        let runs = [watched(20.0), watched(22.0), run("open", 1..=200, 10.0)];
        let sum = merge(&runs.map(|run| (String::new(), run))).unwrap().server.unwrap();
        assert_eq!((sum.pid, sum.cpu_us_per_request, sum.memory_peak), (7, 5.5, 9));
    }

    #[test]
    fn counts_that_no_run_has_do_not_overflow() {
        let mut most = run("open", 1..=100, 10.0);
        (most.requests, most.unsent, most.connections, most.threads) = (u64::MAX, u64::MAX, usize::MAX, usize::MAX);
        most.errors.causes.insert("reset".into(), u64::MAX);
        most.seconds[0].requests = u64::MAX;
        let sum = merge(&[("a".into(), most.clone()), ("b".into(), most)]).unwrap();
        assert_eq!((sum.requests, sum.errors.causes["reset"], sum.seconds[0].requests), (u64::MAX, u64::MAX, u64::MAX));
        crate::report::text::render(&sum);
        crate::report::html::page(&[crate::report::html::Run { name: "sum".into(), report: sum }]);
    }

    #[test]
    fn what_does_not_add_up_is_said() {
        let named = |name: &str, run: Report| (name.to_string(), run);
        let (open, closed) = (run("open", 1..=100, 10.0), run("closed", 1..=100, 10.0));
        let said = merge(&[named("a", open.clone()), named("b", closed)]).unwrap_err();
        assert!(said.starts_with("b is of a closed loop, a of an open"), "{said}");
        let sum = merge(&[named("a", open), named("b", run("open", 1..=100, 5.0))]).unwrap();
        assert!(sum.generator.doubts[2].starts_with("the runs were counted for 5.0 to 10.0 s"), "{sum:?}");
        assert_eq!((sum.rate, sum.duration_s), (30.0, 10.0));
    }
}
