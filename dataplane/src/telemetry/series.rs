//! Metric cells: one table a worker, written by that worker alone, read by housekeeping at scrape. No locks, no read-modify-write.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use ringway_config::model::Workload;

use super::flag::Flag;
use super::names::Service;

/// Series of one worker; the last one is "other", where everything beyond the limit is counted.
pub const SERIES_MAX: usize = 2048;
const CHUNK: usize = 32;

/// Envoy's default buckets. Milliseconds for durations, bytes for sizes; kept in thousandths.
pub const BUCKETS_MILLI: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Which side reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reporter {
    /// The caller's proxy.
    Source,
    /// The callee's proxy.
    Destination,
}

/// `request_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// Opaque TCP.
    Tcp,
}

/// What makes a series, as small interned numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey {
    /// Which side reports.
    pub reporter: Reporter,
    /// Protocol.
    pub protocol: Protocol,
    /// Response flag.
    pub flag: Flag,
    /// Status; 0 for TCP.
    pub code: u16,
    /// Interned source workload.
    pub source: u16,
    /// Interned destination workload.
    pub destination: u16,
    /// Interned destination service.
    pub service: u16,
}

impl std::hash::Hash for SeriesKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let low = (self.code as u64)
            | (self.source as u64) << 16
            | (self.destination as u64) << 32
            | (self.service as u64) << 48;
        let high = (self.reporter as u64) | (self.protocol as u64) << 8 | (self.flag as u64) << 16;
        state.write_u64(low);
        state.write_u64(high);
    }
}

/// Multiplies and folds; for keys made of our own interned numbers only.
#[derive(Default)]
pub struct FoldHasher(u64);

impl Hasher for FoldHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let product = u128::from(self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// What a series is called when it is printed.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Labels {
    pub reporter: Reporter,
    pub protocol: Protocol,
    pub flag: Flag,
    pub code: u16,
    pub source: Arc<Workload>,
    pub destination: Arc<Workload>,
    pub service: Arc<Service>,
}

/// A fixed-bucket histogram.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Counts per bucket of [`BUCKETS_MILLI`], then those above all.
    pub buckets: [AtomicU64; BUCKETS_MILLI.len() + 1],
    /// Sum in thousandths.
    pub sum_milli: AtomicU64,
}

impl Histogram {
    fn record(&self, milli: u64) {
        let bucket = BUCKETS_MILLI.iter().position(|b| milli <= *b).unwrap_or(BUCKETS_MILLI.len());
        add(&self.buckets[bucket], 1);
        add(&self.sum_milli, milli);
    }
}

/// The cells of one series.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Series {
    pub labels: OnceLock<Labels>,
    pub requests: AtomicU64,
    pub duration_ms: Histogram,
    pub request_bytes: Histogram,
    pub response_bytes: Histogram,
    pub tcp_opened: AtomicU64,
    pub tcp_closed: AtomicU64,
    pub tcp_sent: AtomicU64,
    pub tcp_received: AtomicU64,
}

impl Series {
    /// Counts one finished HTTP exchange.
    pub fn http(&self, duration_ns: u64, request_bytes: u64, response_bytes: u64) {
        add(&self.requests, 1);
        self.duration_ms.record(duration_ns / 1000);
        self.request_bytes.record(request_bytes.saturating_mul(1000));
        self.response_bytes.record(response_bytes.saturating_mul(1000));
    }
}

/// One writer: a plain load and store, no locked instruction.
#[inline]
pub fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

/// The shared half: cells that a worker writes and housekeeping reads.
#[derive(Debug)]
pub struct SeriesTable {
    chunks: [OnceLock<Box<[Series; CHUNK]>>; SERIES_MAX / CHUNK],
}

impl Default for SeriesTable {
    fn default() -> Self {
        SeriesTable { chunks: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl SeriesTable {
    /// Every series that has labels.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &Series)> {
        self.chunks.iter().filter_map(OnceLock::get).flat_map(|c| c.iter()).filter_map(|s| Some((s.labels.get()?, s)))
    }

    fn get(&self, index: usize) -> &Series {
        &self.chunks[index / CHUNK].get_or_init(|| Box::new(std::array::from_fn(|_| Series::default())))[index % CHUNK]
    }
}

/// The worker's half: finds the cells of a key.
pub struct SeriesWriter {
    table: Arc<SeriesTable>,
    index: HashMap<SeriesKey, u32, BuildHasherDefault<FoldHasher>>,
    last: Option<(SeriesKey, u32)>,
    /// Keys that found the table full.
    pub overflowed: u64,
}

impl SeriesWriter {
    /// Writes into `table`; room for every series is taken now.
    pub fn new(table: Arc<SeriesTable>) -> Self {
        SeriesWriter {
            table,
            index: HashMap::with_capacity_and_hasher(64, BuildHasherDefault::default()),
            last: None,
            overflowed: 0,
        }
    }

    /// The cells of `key`; `labels` is asked for once in its life.
    pub fn cells(&mut self, key: SeriesKey, labels: impl FnOnce() -> Labels) -> &Series {
        if let Some((last, index)) = self.last
            && last == key
        {
            return self.table.get(index as usize);
        }
        let index = match self.index.get(&key) {
            Some(index) => *index,
            None => self.enter(key, labels),
        };
        self.last = Some((key, index));
        self.table.get(index as usize)
    }

    fn enter(&mut self, key: SeriesKey, labels: impl FnOnce() -> Labels) -> u32 {
        let index = self.index.len();
        if index >= SERIES_MAX - 1 {
            self.overflowed += 1;
            let other = (SERIES_MAX - 1) as u32;
            self.table.get(other as usize).labels.get_or_init(|| super::names::other_labels(labels()));
            return other;
        }
        self.table.get(index).labels.get_or_init(labels);
        self.index.insert(key, index as u32);
        index as u32
    }
}
