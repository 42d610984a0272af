//! Checks every store must pass, whatever it is made of: `for check in contract::ALL { (check.run)(&fresh_store()) }`.
//!
//! Each check gets an empty store and stops at the first thing it did not expect. What is special to one store (its
//! plans, its crashes) is tested beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a check stops at what it did not expect")]

pub mod history;
pub mod links;
pub mod pages;
pub mod quarantine;
pub mod search;
pub mod texts;
pub mod versions;
pub mod visibility;
pub mod world;

use super::Store;

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// Runs it on an empty store.
    pub run: fn(&dyn Store),
}

macro_rules! checks {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$(Check { name: stringify!($name), run: $module::$name },)*]
    };
}

/// All checks.
pub const ALL: &[Check] = checks![
    versions::versions_count_up_and_history_reads_newest_first,
    versions::a_deletion_leaves_a_mark_and_its_past,
    versions::a_version_out_of_turn_is_refused,
    versions::a_failing_or_panicking_work_is_undone_alone,
    versions::an_assertion_id_has_one_winner_among_fifty,
    versions::the_audit_chain_has_no_gap,
    versions::shelves_keep_by_owner_and_key,
    versions::an_identifier_finds_its_patient_or_is_ambiguous,
    quarantine::what_waits_is_paged_in_order_of_arrival,
    quarantine::what_waits_is_counted_by_cause,
    quarantine::what_waits_is_set_aside_and_taken_back,
    versions::the_store_answers_its_readiness_check,
    visibility::what_is_hidden_does_not_exist,
    visibility::a_withdrawn_grant_hides_at_once,
    visibility::a_past_version_needs_the_current_one,
    visibility::the_grant_that_opened_a_row_is_named,
    visibility::hidden_targets_are_not_included,
    visibility::audit_rows_are_seen_by_their_organisation_and_patient,
    visibility::system_queries_need_a_system_permit,
    visibility::query_and_memory_judge_alike,
    search::every_kind_of_parameter_finds_its_rows,
    search::units_of_one_dimension_are_compared,
    search::codes_of_a_list_find_their_rows,
    search::dates_compare_as_the_specification_says,
    search::a_reindex_mends_what_is_missing,
    search::an_update_replaces_the_index_entries,
    search::includes_come_once_and_have_a_limit,
    search::absent_values_sort_last,
    search::the_largest_search_runs,
    texts::words_and_phrases_find_their_rows,
    texts::words_go_with_their_row,
    texts::words_of_hidden_rows_find_nothing,
    history::a_history_of_a_type_shows_every_version_in_order,
    history::a_history_of_a_type_passes_over_other_types,
    history::a_history_keeps_to_its_moments,
    history::a_history_shows_what_is_visible_now,
    history::pages_of_a_history_hold_every_version_once,
    links::chains_and_reverse_chains_find_their_rows,
    links::hidden_far_ends_do_not_exist,
    links::the_far_end_is_judged_in_every_way_of_finding_it,
    links::includes_follow_references_both_ways_and_again,
    links::hidden_resources_are_included_by_no_way,
    links::circles_and_long_rows_of_includes_end,
    pages::pages_hold_every_row_once,
    pages::a_walked_index_gives_every_row_once,
    pages::rows_judged_one_by_one_are_those_found_by_value,
    pages::later_pages_see_the_state_of_the_first,
    pages::a_tampered_place_is_refused,
    pages::totals_count_what_is_visible,
];
