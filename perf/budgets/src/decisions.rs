//! What a decision costs when there are few hosts and prefixes, and when there are many.
//!
//! Which names are asked for matters as much as how many there are: names drawn evenly from 100,000 are in no cache, names as popular as real ones are
//! (Zipf's law) partly are, and the same few names always are. The last tells what the config's size costs, and has a budget. The others tell what memory
//! costs, and are told beside the time of one read that waits for it.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use ringway_config::Snapshot;
use ringway_paths::mesh::{Seeded, Shape, Text, blobs, order, write_authority, write_path};
use ringway_policy::{Facts, NoFields, Rng, State, Step, View, decide};

use super::Figures;

/// Decisions in one timing.
const DECISIONS: usize = 100_000;
/// Timings of which the shortest counts. All configs take turns, so that all of them meet the same machine.
const ROUNDS: usize = 15;
/// The sizes, of which the first is what the others are compared with.
const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// What 1,000 and 100,000 may cost, in parts of what 10 cost.
const BUDGETS: [f64; 2] = [1.05, 1.15];
/// Names of [`Popularity::Few`].
const FEW: usize = 10;
/// Rules of a list of patterns, and decisions by it in one timing.
const PATTERNS: usize = 1_000;
const DECISIONS_BY_PATTERNS: usize = 200;

/// Which names are asked for.
#[derive(Clone, Copy, PartialEq)]
enum Popularity {
    /// The same few, as many for each size.
    Few,
    /// The n-th name is asked for as often as 1/n (Zipf).
    Natural,
    Even,
}

impl Popularity {
    const ALL: [(&str, Popularity); 3] = [
        ("the same 10 of them asked for", Popularity::Few),
        ("asked for as names are", Popularity::Natural),
        ("asked for evenly", Popularity::Even),
    ];
}

/// One config, and the requests to it.
struct Bench {
    view: View,
    state: State,
    hosts: bool,
    shape: Shape,
    asked: Vec<u32>,
    /// Shortest times for a request: made up, and decided too.
    best: [f64; 2],
}

pub fn run(figures: &Figures) {
    figures.tell("one read of memory in no cache (of 64 MiB)", read_ns(), "ns");
    for (what, popularity) in Popularity::ALL {
        let benches = SIZES.map(|size| Bench::new(size, true, Shape::Prefix, popularity)).into();
        compare(figures, &format!("hosts, {what}"), benches, popularity);
        for shape in [Shape::Exact, Shape::Prefix, Shape::Segments, Shape::Mixed] {
            let benches = SIZES.map(|size| Bench::new(size, false, shape, popularity)).into();
            compare(figures, &format!("routes of one host ({shape:?}), {what}"), benches, popularity);
        }
    }
    let patterns = vec![Bench::new(PATTERNS, false, Shape::Regex, Popularity::Even)];
    // The first that matches is in the middle on average.
    let tried = PATTERNS as f64 / 2.0;
    let took = measure(patterns, DECISIONS_BY_PATTERNS)[0] / tried;
    figures.tell("decide by a list of patterns, for 1,000 that are tried", took, "µs");
}

fn compare(figures: &Figures, what: &str, benches: Vec<Bench>, popularity: Popularity) {
    let took = measure(benches, DECISIONS);
    for (size, took) in SIZES.iter().zip(&took) {
        figures.tell(&format!("decide, {size} {what}"), *took, "ns");
    }
    for ((size, took_more), most) in SIZES.iter().zip(&took).skip(1).zip(BUDGETS) {
        let (figure, ratio) = (format!("decide, {size} to {} {what}", SIZES[0]), took_more / took[0]);
        match popularity {
            Popularity::Few => figures.hold(&figure, ratio, most, "×"),
            Popularity::Natural | Popularity::Even => figures.tell(&figure, ratio, "×"),
        }
    }
}

/// Nanoseconds of a decision for each of them, without what it takes to make up the request.
fn measure(mut benches: Vec<Bench>, count: usize) -> Vec<f64> {
    for _ in 0..ROUNDS {
        for bench in &mut benches {
            for deciding in [false, true] {
                let took = bench.time(count, deciding);
                let best = &mut bench.best[usize::from(deciding)];
                *best = best.min(took);
            }
        }
    }
    benches.iter().map(|bench| bench.best[1] - bench.best[0]).collect()
}

impl Bench {
    fn new(size: usize, hosts: bool, shape: Shape, popularity: Popularity) -> Bench {
        let (host_count, routes) = if hosts { (size, 1) } else { (1, size) };
        let snapshot = Snapshot::from_blobs(order(), blobs(host_count, routes, shape)).unwrap();
        let view = View::build(&snapshot, None).unwrap();
        let mut state = State::new();
        state.adopt(&view, 0, &mut Seeded(1), &mut Vec::new());
        let mut rng = Seeded(5);
        let mut any = || (rng.random() % size as u64) as u32;
        let asked = match popularity {
            Popularity::Few => (0..FEW).map(|_| any()).collect(),
            Popularity::Natural => natural(size),
            Popularity::Even => (0..DECISIONS).map(|_| any()).collect(),
        };
        Bench { view, state, hosts, shape, asked, best: [f64::MAX; 2] }
    }

    /// Nanoseconds for one of `count` requests.
    fn time(&mut self, count: usize, deciding: bool) -> f64 {
        let (mut authority, mut path, mut rng) = (Text::default(), Text::default(), Seeded(3));
        let start = Instant::now();
        for asked in self.asked.iter().cycle().take(count) {
            let (host, route) = if self.hosts { (*asked, 0) } else { (0, *asked) };
            write_authority(&mut authority, host);
            write_path(&mut path, route, self.shape);
            let mut facts = Facts {
                listener: 0,
                method: b"GET",
                path: path.bytes(),
                authority: authority.bytes(),
                scheme: "http",
                client: IpAddr::from([127, 0, 0, 1]),
                fields: &NoFields,
                host_absent: false,
                delayed: false,
            };
            let facts = black_box(&mut facts);
            if deciding {
                let step = decide(&self.view, facts, &mut self.state, &mut rng, 0, &mut ());
                assert!(matches!(black_box(step), Step::Forward(_)));
            }
        }
        start.elapsed().as_secs_f64() * 1e9 / count as f64
    }
}

/// Numbers below `size`, the n-th as often as 1/n; which is the n-th has nothing to do with its place in the config.
fn natural(size: usize) -> Vec<u32> {
    let mut rng = Seeded(7);
    let mut order: Vec<u32> = (0..size as u32).collect();
    (1..size).rev().for_each(|last| order.swap(last, (rng.random() % (last as u64 + 1)) as usize));
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=size)
        .map(|n| {
            sum += 1.0 / n as f64;
            sum
        })
        .collect();
    let draw = |_| {
        let point = (rng.random() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        order[sums.partition_point(|end| *end <= point).min(size - 1)]
    };
    (0..DECISIONS).map(draw).collect()
}

/// What a read costs that has to wait for memory: each tells where the next one is.
fn read_ns() -> f64 {
    const LINES: usize = 1 << 20;
    #[derive(Clone, Copy)]
    #[repr(align(64))]
    struct Line(u32);
    let mut rng = Seeded(9);
    let mut order: Vec<u32> = (0..LINES as u32).collect();
    (1..LINES).rev().for_each(|last| order.swap(last, (rng.random() % (last as u64 + 1)) as usize));
    let mut lines = vec![Line(0); LINES];
    (0..LINES).for_each(|n| lines[order[n] as usize] = Line(order[(n + 1) % LINES]));
    let walk = || (0..LINES).fold(0, |at, _| lines[at as usize].0);
    super::timed(3, walk).0.as_secs_f64() * 1e9 / LINES as f64
}
