//! Pure decisions over compiled config: which route, which cluster, which endpoint, what edits.
//!
//! One evaluator, [`decide`], serves the proxy and the command line (`explain`, `plan`). It never sees a connection, a clock or a thread: facts
//! about the request, the worker's own counters, time and randomness come in; a [`Step`] goes out.

mod authority;
mod balance;
mod decide;
mod facts;
mod fault;
mod fold;
mod key;
pub mod outlier;
mod path;
pub mod planted;
mod retry;
mod shares;
mod state;
mod trace;
mod values;
pub mod view;

pub use authority::Authority;
pub use balance::{Choose, pick};
pub use decide::{Connection, Delay, Local, LocalKind, Plan, Question, Reason, Step, decide, decide_tcp, decide_tls};
pub use facts::{Facts, Fields, NoFields, Rng, forwarded_client, scheme};
pub use fault::drawn;
pub use key::{COOKIE_BYTES, cookie_text};
pub use path::{PathError, normal_target};
pub use retry::{Failure, backoff, is_retriable, outlives_sending, retries_max};
pub use shares::{Share, settled, shares};
pub use state::{Slot, State};
pub use trace::{Note, Trace};
pub use values::{Answered, Asked, Layers, Values};
pub use view::View;
