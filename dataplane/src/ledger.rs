//! The limits of clusters, per proxy: the one thing that workers share and change. A cluster with a finite limit has one account, on a cache line
//! of its own; one without has none, and a request to it touches nothing here.
//!
//! A worker takes before it acts and gives back when that is over, so a limit holds exactly at every moment and for all workers together. What
//! was taken stays with whoever took it (a connection, a waiting request), whatever configuration comes meanwhile: an account lives as long as
//! somebody holds it, and passes from one configuration to the next by its cluster's name.
//!
//! Nobody waits here. A worker whose request found the connections spent says so with [`Account::wait`] *and then looks again*; who gives a
//! connection back looks at [`Account::waiter_after`] afterwards and tells that worker by mailbox. All of it is sequentially consistent, so of the
//! two at least one sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use ringway_policy::View;
use ringway_policy::view::Settings;

/// Workers of a process; each has a bit in an account.
pub const WORKERS_MAX: usize = 256;
const WORDS: usize = WORKERS_MAX / 64;

/// The accounts of one configuration.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By dense cluster id.
    accounts: Box<[Option<Arc<Account>>]>,
}

/// What one cluster's limits have been spent on.
#[derive(Debug)]
#[repr(align(128))]
pub struct Account {
    cluster: Arc<str>,
    /// Connections, from the start of the connect to the close.
    pub connections: Tally,
    /// Requests that wait for a connection: in a queue, or for the connect made for them.
    pub pending: Tally,
    /// Requests under way on a connection.
    pub requests: Tally,
    /// One bit for each worker with queued requests.
    waiting: [AtomicU64; WORDS],
}

/// A count that several threads take from.
#[derive(Debug, Default)]
pub struct Tally(AtomicU32);

/// The limits of a cluster, 0 is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClusterLimits {
    pub connections: u32,
    pub pending: u32,
    pub requests: u32,
}

impl ClusterLimits {
    /// A cluster's.
    pub fn of(cluster: &Settings) -> ClusterLimits {
        ClusterLimits {
            connections: cluster.max_connections,
            pending: cluster.max_pending_requests,
            requests: cluster.max_requests,
        }
    }
}

impl Ledger {
    /// Accounts for the limited clusters of `view`; those that `previous` has for the same names go on.
    pub fn of(view: &View, previous: Option<&Ledger>) -> Ledger {
        // Both are in name order.
        let mut old = previous.map_or(&[][..], |p| &p.accounts).iter().flatten().peekable();
        let account = |cluster: &ringway_policy::view::ClusterView| {
            if ClusterLimits::of(&cluster.settings) == ClusterLimits::default() {
                return None;
            }
            while old.next_if(|account| account.cluster < cluster.name).is_some() {}
            let same = old.next_if(|account| account.cluster == cluster.name);
            Some(same.cloned().unwrap_or_else(|| Arc::new(Account::new(cluster.name.clone()))))
        };
        Ledger { accounts: view.clusters().iter().map(account).collect() }
    }

    /// The account of a cluster; none when it has no limit.
    pub fn account(&self, cluster: u32) -> Option<&Arc<Account>> {
        self.accounts.get(cluster as usize)?.as_ref()
    }
}

impl Account {
    fn new(cluster: Arc<str>) -> Account {
        let (connections, pending, requests) = Default::default();
        Account { cluster, connections, pending, requests, waiting: Default::default() }
    }

    /// Whose it is.
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    /// This worker has queued requests from now on.
    pub fn wait(&self, worker: usize) {
        self.waiting[worker / 64].fetch_or(1 << (worker % 64), SeqCst);
    }

    /// It has none any more.
    pub fn unwait(&self, worker: usize) {
        self.waiting[worker / 64].fetch_and(!(1 << (worker % 64)), SeqCst);
    }

    /// Some worker has queued requests.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.iter().any(|word| word.load(SeqCst) != 0)
    }

    /// The next other worker with queued requests, counting on from `worker` and round: so each gets its turn.
    pub fn waiter_after(&self, worker: usize) -> Option<usize> {
        let words: [u64; WORDS] = std::array::from_fn(|n| self.waiting[n].load(SeqCst));
        let waits = |n: &usize| words[n / 64] >> (n % 64) & 1 == 1;
        if words == [0; WORDS] {
            return None;
        }
        (worker + 1..WORKERS_MAX).chain(0..worker).find(waits)
    }
}

impl Tally {
    /// Counts one more, unless `max` (0 is unlimited) are counted already.
    #[must_use]
    pub fn take(&self, max: u32) -> bool {
        let more = |n: u32| if max == 0 || n < max { n.checked_add(1) } else { None };
        self.0.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// Counts one less.
    pub fn give(&self) {
        let before = self.0.fetch_sub(1, SeqCst);
        debug_assert!(before > 0, "given back more often than taken");
    }

    /// How many are counted.
    pub fn get(&self) -> u32 {
        self.0.load(SeqCst)
    }

    /// Whether [`Tally::take`] would succeed now.
    pub fn has_room(&self, max: u32) -> bool {
        max == 0 || self.get() < max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_exceeded_by_threads_that_race_for_it() {
        let account = Account::new("c".into());
        let highest = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if account.connections.take(3) {
                            highest.fetch_max(account.connections.get(), SeqCst);
                            account.connections.give();
                        }
                    }
                });
            }
        });
        assert_eq!(account.connections.get(), 0);
        assert!((1..=3).contains(&highest.into_inner()));
    }

    #[test]
    fn unlimited_is_counted_all_the_same() {
        let tally = Tally::default();
        assert!((0..5).all(|_| tally.take(0)));
        assert_eq!((tally.get(), tally.take(5), tally.has_room(6)), (5, false, true));
    }

    #[test]
    fn waiting_workers_come_in_turn() {
        let account = Account::new("c".into());
        assert_eq!((account.is_waited_for(), account.waiter_after(0)), (false, None));
        for worker in [2, 70, 255] {
            account.wait(worker);
        }
        for (after, next) in [(0, 2), (2, 70), (69, 70), (70, 255), (255, 2)] {
            assert_eq!(account.waiter_after(after), Some(next), "after {after}");
        }
        account.unwait(2);
        account.unwait(255);
        // Itself is nobody else.
        assert_eq!((account.waiter_after(70), account.waiter_after(3)), (None, Some(70)));
    }
}
