//! What every implementation of `Log` promises: one suite, run on each of them. And what is read
//! through the fold on top of it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../../../tests/support/documented.rs"]
mod documented;
mod faulty;
mod fixture;
mod follow;
mod history;
mod kafka;
mod kill;
mod local;
mod suite;
mod syncs;
mod zombie;

/// One test per promise, for one fixture.
#[macro_export]
macro_rules! contract {
    ($fixture:expr) => {
        $crate::contract!($fixture;
            every_append_is_reported_once_and_in_sequence,
            what_is_reported_can_be_read_at_once,
            records_come_back_as_they_were_given,
            two_readers_of_a_partition_both_get_everything,
            reading_resumes_at_any_offset,
            partitions_that_are_gone_through_side_by_side_are_not_mixed_up,
            a_reader_that_is_behind_misses_nothing_and_holds_no_other_up,
            reading_outside_the_log_fails_and_says_where,
            an_oversized_record_fails_alone,
            preparing_again_is_harmless_and_another_partition_count_is_refused,
            a_member_is_assigned_everything_until_it_leaves,
            two_members_share_without_overlap,
            a_closed_log_takes_nothing,
        );
    };
    ($fixture:expr; $($promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let fixture = $fixture.await;
                $crate::suite::$promise(&fixture).await;
            }
        )*
    };
}
