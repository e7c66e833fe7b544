//! The driver contract: one suite, every driver. See `ringway_engine::io` for the words it tests.

#![allow(clippy::unwrap_used)]

mod cases;
mod harness;
mod kernel;
mod model;
mod sim_world;
mod world;

/// All cases, once per world.
macro_rules! contract {
    ($name:ident, $world:ty) => {
        contract!($name, $world,
            accepts_and_knows_both_addresses accepts_many_and_stops refuses_to_hold_more_sockets_than_its_limit
            connects_and_exchanges learns_that_a_connect_was_refused a_connect_closed_at_once_says_nothing
            receives_in_order falls_silent_when_the_credit_is_used_up pauses_and_resumes_without_loss
            sends_pieces_in_order sends_the_received_buffer_itself finishes_short_sends
            reports_at_once_what_somebody_may_wait_for reports_at_once_that_a_blocked_queue_ran_dry
            half_closes_from_the_peer half_closes_towards_the_peer learns_of_a_reset cuts_the_stream_by_a_reset
            says_nothing_after_close a_stale_name_does_not_touch_the_next_socket new_tokens_take_over
            parks_without_buffers_and_goes_on_by_itself a_closed_socket_does_not_stay_parked
            one_class_without_buffers_does_not_hold_up_the_other
            survives_more_completions_than_its_queue_holds
            spills_for_peers_that_do_not_read the_largest_holder_pays_when_the_budget_is_spent
            splices_both_ways_and_half_closes splices_after_bytes_were_received_and_paused a_closed_end_ends_the_splice
            wakes keeps_deadlines
        );
    };
    ($name:ident, $world:ty, $($case:ident)*) => {
        mod $name {
            $(#[test]
            fn $case() {
                crate::cases::$case::<$world>();
            })*

            #[test]
            fn agrees_with_a_model_over_100_000_random_steps() {
                for seed in 0..20 {
                    crate::model::run::<$world>(seed, 5_000);
                }
            }
        }
    };
}

contract!(epoll, crate::kernel::Kernel<crate::kernel::OnEpoll>);
contract!(sim, crate::sim_world::Simulated);
contract!(uring, crate::kernel::Kernel<crate::kernel::OnUring>);
/// What makes the ring worth having: a receive that has to be armed for every message costs half a microsecond each.
#[test]
fn on_a_ring_a_receive_stays_armed_from_message_to_message() {
    cases::stays_armed::<kernel::Kernel<kernel::OnUring>>(1);
}

/// Where the sends of a turn are few. An old kernel's ring tells of each, whoever waits.
#[test]
fn a_turn_does_not_end_for_a_report_that_nobody_waits_for() {
    cases::reports_late::<kernel::Kernel<kernel::OnEpoll>>();
    cases::reports_late::<kernel::Kernel<kernel::OnUring>>();
    cases::reports_late::<sim_world::Simulated>();
}

contract!(old_uring, crate::kernel::Kernel<crate::kernel::OnOldUring>);
