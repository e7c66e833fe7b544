//! No cache line is written by two workers while they serve requests, but for the account of a cluster with limits, which hold for all workers together.
//!
//! Asserted by address: the proxy's memory is read from outside before, during and after requests to one worker, then to the other. A line was written by a
//! worker when its content changed meanwhile, time and again. That is why requests are looked at while they are under way: what they hold is not given back yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use ringway_config::model::{Cluster, Protocol, Role};
use ringway_tests::harness::config::forward;
use ringway_tests::harness::{Backend, Case, Client, Config, Proxy, ProxyBuilder, Reply, Upstream, skip, until};

const LINE_BYTES: usize = 64;
const PAGE_BYTES: usize = 4096;
/// Requests to each worker that are looked at.
const REQUESTS: usize = 12;
/// A line that a worker writes for requests changes with at least so many of them.
const REQUESTS_MIN: usize = REQUESTS / 2;
/// Times that housekeeping, which has its own work now and then, is seen at it while nothing is asked.
const TURNS: usize = 4;
/// Connections until each worker has one.
const CONNECTIONS_MAX: usize = 64;

#[test]
fn uring_workers_write_no_line_of_each_other() {
    Case::run(Backend::Uring, 2, workers_write_no_line_of_each_other);
}

#[test]
fn epoll_workers_write_no_line_of_each_other() {
    Case::run(Backend::Epoll, 2, workers_write_no_line_of_each_other);
}

fn workers_write_no_line_of_each_other(case: Case) {
    if let Some(shared) = shared(case, |_| {}) {
        assert!(shared.is_empty(), "written by both workers: {shared:x?}");
    }
    // The same look finds the lines that are shared on purpose: the account, behind the count of those who know it.
    if let Some(shared) = shared(case, |cluster| cluster.max_requests = 100) {
        let (Some(first), Some(last)) = (shared.first(), shared.last()) else { panic!("a limit without an account") };
        assert!(last - first < 256, "more than an account is written by both workers: {shared:x?}");
    }
}

/// Lines that are written for requests to either worker. None when the memory cannot be read here.
fn shared(case: Case, limit: impl FnOnce(&mut Cluster)) -> Option<BTreeSet<u64>> {
    let open = Arc::<AtomicBool>::default();
    let upstream = Upstream::serve({
        let open = open.clone();
        move |request| {
            if request.target == "/held" {
                until("the test to go on", || open.load(SeqCst).then_some(()));
            }
            Reply::ok("x")
        }
    });
    let mut config = Config::http(Role::Outbound);
    limit(config.cluster("up", Protocol::Http1, &[upstream.address()]));
    config.host("any", "*", forward(&[("up", 1)]));
    let proxy = ProxyBuilder::new(case, config).start();
    let mut clients = one_for_each_worker(&proxy);
    let read = || match Memory::of(proxy.program.pid()) {
        Ok(memory) => Some(memory),
        Err(error) => {
            skip(&format!("another process's memory cannot be read here: {error}"));
            None
        }
    };
    let mut written = Vec::new();
    for client in &mut clients {
        let mut times = BTreeMap::<u64, usize>::new();
        for _ in 0..REQUESTS {
            open.store(false, SeqCst);
            let (seen, before) = (upstream.requests_seen(), read()?);
            client.send("GET /held HTTP/1.1\r\nHost: up.test\r\n\r\n");
            until("the request to arrive", || (upstream.requests_seen() > seen).then_some(()));
            let during = read()?;
            open.store(true, SeqCst);
            assert_eq!(client.response().status, 200);
            let after = read()?;
            let lines: BTreeSet<u64> = before.changed(&during).chain(during.changed(&after)).collect();
            lines.into_iter().for_each(|line| *times.entry(line).or_default() += 1);
        }
        let often = times.into_iter().filter(|(_, times)| *times >= REQUESTS_MIN);
        let lines: BTreeSet<u64> = often.map(|(line, _)| line).collect();
        assert!(!lines.is_empty(), "a worker that writes nothing");
        written.push(lines);
    }
    let mut housekeeping = BTreeSet::new();
    let mut before = read()?;
    for _ in 0..TURNS {
        let (lines, after) = until("housekeeping to have a turn", || {
            let after = read()?;
            let lines: Vec<u64> = before.changed(&after).collect();
            (!lines.is_empty()).then_some((lines, after))
        });
        housekeeping.extend(lines);
        before = after;
    }
    println!("{:?}: {} and {} lines", case.backend, written[0].len(), written[1].len());
    Some(&(&written[0] & &written[1]) - &housekeeping)
}

/// Connections, warmed up: the first to worker 0, the second to worker 1.
fn one_for_each_worker(proxy: &Proxy) -> [Client; 2] {
    let mut found = [None, None];
    for _ in 0..CONNECTIONS_MAX {
        let requests = || ["0", "1"].map(|worker| proxy.metric("ringway_requests_total", &[("worker", worker)]));
        let (mut client, before) = (proxy.client(), requests());
        for _ in 0..REQUESTS {
            assert_eq!(client.get("up.test", "/").status, 200);
        }
        let after = requests();
        let worker = usize::from(after[1] > before[1]);
        found[worker].get_or_insert(client);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found.map(|client| client.expect("each worker has a connection"))
}

/// Everything that a process can write, by page.
struct Memory(BTreeMap<u64, Vec<u8>>);

impl Memory {
    fn of(pid: u32) -> io::Result<Memory> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let [memory, present] = ["mem", "pagemap"].map(|file| File::open(format!("/proc/{pid}/{file}")));
        let (memory, present) = (memory?, present?);
        let mut pages = BTreeMap::new();
        // What is shared with the kernel is no memory of workers.
        for map in maps.lines().filter(|map| map.contains(" rw-p ")) {
            let range = map.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
            let [start, end] = [range.0, range.1].map(|end| u64::from_str_radix(end, 16).expect("an address"));
            let mut flags = vec![0; (end - start) as usize / PAGE_BYTES * 8];
            present.read_exact_at(&mut flags, start / PAGE_BYTES as u64 * 8)?;
            let (flags, _) = flags.as_chunks::<8>();
            // Bit 63: in memory, bit 62: swapped out (Documentation/admin-guide/mm/pagemap.rst). The others are zeros.
            for (page, _) in flags.iter().enumerate().filter(|(_, flags)| u64::from_ne_bytes(**flags) >> 62 != 0) {
                let address = start + (page * PAGE_BYTES) as u64;
                let mut bytes = vec![0; PAGE_BYTES];
                memory.read_exact_at(&mut bytes, address)?;
                pages.insert(address, bytes);
            }
        }
        Ok(Memory(pages))
    }

    /// Addresses of the lines that are different later.
    fn changed<'m>(&'m self, later: &'m Memory) -> impl Iterator<Item = u64> + 'm {
        const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
        later.0.iter().flat_map(|(address, now)| {
            let before = self.0.get(address).map_or(&ZEROS[..], Vec::as_slice);
            let lines = before.chunks(LINE_BYTES).zip(now.chunks(LINE_BYTES)).enumerate();
            lines.filter(|(_, (before, now))| before != now).map(move |(n, _)| address + (n * LINE_BYTES) as u64)
        })
    }
}
