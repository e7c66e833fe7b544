//! What a simulated network is like, and what goes wrong in it.

use std::time::Duration;

use super::dice::Dice;

/// The network's measures and the probabilities (0 to 1) of its faults.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Shortest way of a segment.
    pub latency_min: Duration,
    /// Longest way of a segment, stalls aside.
    pub latency_max: Duration,
    /// Bytes that one direction of a connection holds: the sender's and the receiver's socket buffers and the wire.
    pub socket_buffer_bytes: usize,
    /// Connections that wait for an accept; a SYN beyond it is dropped and repeated.
    pub backlog_max: usize,
    /// How long a connect into the void takes to end with ETIMEDOUT.
    pub connect_timeout: Duration,

    /// A write crosses the network in pieces.
    pub split: f64,
    /// A segment is late by up to `stall_max`; everything after it in that direction waits behind it.
    pub stall: f64,
    /// See `stall`.
    pub stall_max: Duration,
    /// A receive returns less than there is.
    pub short_read: f64,
    /// A send takes less than there is room for.
    pub short_write: f64,
    /// A completion of a driver comes up to `delay_max` late; other sockets overtake it.
    pub delay: f64,
    /// See `delay`.
    pub delay_max: Duration,
    /// A receive finds no buffer though some are free.
    pub no_buffers: f64,
    /// Bytes that had arrived when the credit was set to 0 are delivered nevertheless, as a kernel's queue would.
    pub late_receive: f64,

    /// Accepting fails with EMFILE.
    pub accept_emfile: f64,
    /// A connect fails at once with EMFILE.
    pub connect_emfile: f64,
    /// A connect is refused though somebody listens.
    pub connect_refused: f64,
    /// A connect gets no answer.
    pub connect_blackhole: f64,
    /// A connection is reset in the middle of this segment, after a random byte of it, for both sides.
    pub reset: f64,
    /// A side that resets also loses what it sent before and what has not arrived yet, from a random byte on.
    pub reset_loses_flight: f64,
}

impl Faults {
    /// Nothing goes wrong: 50 µs of latency, 128 KiB a direction. The seed still decides the order of completions.
    pub fn none() -> Faults {
        Faults {
            latency_min: Duration::from_micros(50),
            latency_max: Duration::from_micros(50),
            socket_buffer_bytes: 128 << 10,
            backlog_max: 1024,
            connect_timeout: Duration::from_secs(127),
            split: 0.0,
            stall: 0.0,
            stall_max: Duration::ZERO,
            short_read: 0.0,
            short_write: 0.0,
            delay: 0.0,
            delay_max: Duration::ZERO,
            no_buffers: 0.0,
            late_receive: 0.0,
            accept_emfile: 0.0,
            connect_emfile: 0.0,
            connect_refused: 0.0,
            connect_blackhole: 0.0,
            reset: 0.0,
            reset_loses_flight: 0.0,
        }
    }

    /// Everything that only shifts, splits, delays and starves: no request may fail because of it (unless a timeout is under a second).
    pub fn timing() -> Faults {
        Faults {
            latency_min: Duration::from_micros(1),
            latency_max: Duration::from_millis(2),
            split: 0.3,
            stall: 0.01,
            stall_max: Duration::from_millis(50),
            short_read: 0.2,
            short_write: 0.2,
            delay: 0.1,
            delay_max: Duration::from_millis(5),
            no_buffers: 0.05,
            late_receive: 0.5,
            accept_emfile: 0.02,
            ..Faults::none()
        }
    }

    /// A mixture of its own for every seed: each fault is off, rare or frequent, buffers are tiny or large. Runs that lack a fault meet
    /// states that runs with every fault never reach.
    pub fn swarm(seed: u64) -> Faults {
        let mut dice = Dice::new(seed ^ 0x5eed_0fa1_1fa1_15ed);
        let mut pick = |rare: f64, frequent: f64| [0.0, 0.0, rare, frequent][dice.up_to(3)];
        let mut faults = Faults {
            split: pick(0.05, 0.5),
            stall: pick(0.002, 0.02),
            short_read: pick(0.05, 0.5),
            short_write: pick(0.05, 0.5),
            delay: pick(0.05, 0.3),
            no_buffers: pick(0.01, 0.2),
            late_receive: pick(0.2, 1.0),
            accept_emfile: pick(0.01, 0.1),
            connect_emfile: pick(0.005, 0.05),
            connect_refused: pick(0.01, 0.1),
            connect_blackhole: pick(0.005, 0.02),
            reset: pick(0.001, 0.01),
            reset_loses_flight: pick(0.2, 1.0),
            ..Faults::timing()
        };
        faults.socket_buffer_bytes = [512, 4 << 10, 64 << 10, 256 << 10][dice.up_to(3)];
        faults.latency_max = Duration::from_micros([1, 100, 2_000, 20_000][dice.up_to(3)]);
        faults
    }
}

impl Default for Faults {
    fn default() -> Self {
        Faults::none()
    }
}
