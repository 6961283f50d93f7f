//! What every adapter of Switchboard must do, written once: the contract of
//! [`Runtime`] function by function, and servers embedded in a
//! program, with terminals over real sockets.
//!
//! An adapter names its runtime in a test of its own:
//!
//! ```ignore
//! switchboard_conformance::adapter_suite!(switchboard_tokio::TokioRuntime);
//! ```

#![allow(missing_docs, reason = "the name of a test is what it says")]
#![deny(unsafe_code)]

pub mod batch;
pub mod contract;
pub mod embedding;
pub mod event_stream;
pub mod faulty;
pub mod stuck;
pub mod topics;

use std::time::Duration;

use futures_util::future::{Either, select};
use switchboard_driver::runtime::Runtime;

/// Patience with a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tests, on one runtime.
#[macro_export]
macro_rules! adapter_suite {
    ($runtime:ty) => {
        $crate::adapter_suite! { $runtime, contract: [
            tasks_run_in_turns_on_the_thread_that_spawned_them,
            tasks_that_are_left_are_dropped_with_what_they_own,
            a_sleep_does_not_end_early,
            a_socket_is_taken_from_one_thread_to_another,
            what_a_socket_takes_at_once_is_written_and_it_says_when_it_takes_nothing,
            a_closed_stream_ends_what_the_other_end_reads_and_can_be_read,
            a_dialled_name_is_resolved_and_a_refusal_is_told,
        ] }
        $crate::adapter_suite! { $runtime, embedding: [
            servers_that_share_a_directory_are_a_cluster,
            what_happens_to_a_terminal_is_told_in_order,
            a_terminal_confirms_what_it_was_told_of_its_log,
            a_log_is_read_and_deleted_without_a_terminal,
            messages_that_nobody_takes_are_answered_as_dropped,
            who_may_come_in_changes_while_the_server_runs,
            a_terminal_that_never_stops_sending_holds_nobody_up,
            nothing_is_said_behind_a_close_frame,
            terminals_come_through_the_embedders_own_server,
            a_drained_server_has_said_goodbye_and_takes_nothing,
        ] }
        $crate::adapter_suite! { $runtime, topics: [
            an_application_has_users_join_and_leave,
            a_terminal_joins_by_frames_what_its_authenticator_allows,
            an_application_is_told_of_terminals_that_join_and_leave,
            a_member_is_told_who_the_others_are,
        ] }
        $crate::adapter_suite! { $runtime, event_stream: [
            an_event_stream_gets_what_is_pushed_and_is_told_its_end,
            an_event_stream_is_told_that_its_server_ends,
            an_event_stream_lives_as_long_as_its_pings_arrive,
            an_event_stream_that_is_left_is_gone,
            an_event_stream_whose_client_ends_its_side_ends,
            an_event_stream_that_takes_nothing_more_ends_by_its_ping,
            an_event_stream_that_is_not_read_is_closed_as_slow,
            a_page_may_read_that_there_is_no_room_for_its_event_stream,
            what_asks_for_an_event_stream_is_refused_like_a_handshake,
        ] }
        $crate::adapter_suite! { $runtime, batch: [
            receipts_come_while_pushes_are_still_sent,
            pushes_of_a_batch_keep_their_order_and_have_a_receipt_each,
            pushes_are_not_read_while_receipts_are_not_taken,
        ] }
        $crate::adapter_suite! { $runtime, faulty: [
            a_server_that_can_no_longer_accept_ends,
            a_server_that_can_no_longer_serve_sockets_ends,
        ] }
        $crate::adapter_suite! { $runtime, stuck: [
            an_instance_that_is_stuck_is_named_and_holds_nobody_up,
        ] }
    };
    ($runtime:ty, $module:ident: [$($behaviour:ident,)*]) => {
        $(#[test]
        fn $behaviour() {
            $crate::run_test::<$runtime>($crate::$module::$behaviour::<$runtime>());
        })*
    };
}

/// Runs a test in a runtime of this thread.
pub fn run_test<R: Runtime>(test: impl Future<Output = ()>) {
    R::run(in_time::<R, _>(test)).expect("the runtime can be set up");
}

/// Returns what the future does, if that is within [`PATIENCE`].
async fn in_time<R: Runtime, T>(future: impl Future<Output = T>) -> T {
    let (future, patience) = (std::pin::pin!(future), std::pin::pin!(R::sleep(PATIENCE)));
    match select(future, patience).await {
        Either::Left((output, _)) => output,
        Either::Right(((), _)) => panic!("it takes longer than {PATIENCE:?}"),
    }
}
