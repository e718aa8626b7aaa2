//! What every back end has to do, as cases that its tests run on an empty store.
//!
//! Each case takes a store of its own and panics where the store is wrong. [`for_each_case!`](crate::for_each_case) names them all, so that a
//! back end's test target cannot forget one.
#![expect(clippy::missing_panics_doc, reason = "a case panics where the store is wrong: that is its purpose")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests, shared by the back ends")]

pub mod campaigns;
pub mod catalogue;
pub mod census;
pub mod commands;
pub mod devices;
pub mod fleet;
pub mod gateways;
pub mod imports;
pub mod instance;
pub mod ledger;
pub mod operators;
pub mod publication;
pub mod retention;
pub mod sample;
pub mod sessions;
pub mod settings;
pub mod turns;

/// Writes as the store does, but gathered by the caller: nobody waits for a turn, and nothing is taken back alone.
#[async_trait::async_trait]
pub trait Bare {
    /// Writes transitions one after the other in one commit, or none of them.
    ///
    /// # Errors
    ///
    /// As [`Devices::update_identity`](crate::device::Devices::update_identity) for the first that fails.
    async fn transitions_in_one_commit(
        &self,
        tenant: &crate::Tenant,
        transitions: &[(bellwether_decide::device::Endpoint, crate::device::Transition<'_>)],
    ) -> Result<(), crate::UpdateError>;
}

/// Calls a macro with the path of every case: `for_each_case!(run)` expands to `run! { devices::name, … }`.
#[macro_export]
macro_rules! for_each_case {
    ($run:ident) => {
        $run! {
            devices::added_device_and_identity_read_back,
            devices::list_of_devices_is_added_whole_or_not_at_all,
            devices::device_without_security_reads_back,
            devices::second_device_of_a_name_is_refused_and_the_first_stays,
            devices::identity_of_a_taken_name_is_refused_with_its_device,
            devices::blob_past_its_bound_is_refused_and_leaves_no_device,
            devices::chain_past_its_bound_is_refused,
            devices::devices_page_by_name,
            devices::named_devices_are_read_in_few_statements_and_strangers_left_out,
            devices::switched_off_device_stays_off,
            devices::switching_a_stranger_is_missing,
            devices::transition_writes_state_events_and_alarms_together,
            devices::of_two_writers_of_one_revision_one_wins,
            devices::conflicting_transition_writes_nothing_at_all,
            devices::transition_that_does_not_raise_the_revision_is_refused,
            devices::transition_without_a_change_only_writes_its_events,
            devices::transition_of_a_stranger_is_missing,
            devices::state_past_its_bound_is_refused,
            devices::tenants_have_devices_of_the_same_name,
            gateways::added_gateway_reads_back_and_lists_by_name,
            gateways::gateway_and_device_never_share_a_name,
            gateways::device_of_a_gateway_reads_back_and_raises_the_list_s_edition,
            gateways::device_of_a_missing_gateway_is_refused,
            gateways::children_page_by_name_and_others_are_left_out,
            gateways::devices_in_flight_behind_a_gateway_page_by_name,
            gateways::removed_gateway_leaves_its_devices_without_a_link,
            gateways::detached_device_is_no_child_any_more,
            gateways::bundle_editions_rise_and_are_never_below_the_clock,
            gateways::bundle_waits_for_what_its_campaign_comes_to,
            gateways::bundle_past_its_time_is_forgotten,
            gateways::bundles_of_a_removed_gateway_go_with_it,
            gateways::value_past_its_bound_leaves_no_gateway,
            gateways::tenants_have_gateways_apart,
            devices::keys_of_the_next_epoch_are_added_with_their_transition,
            devices::keys_of_a_kept_epoch_are_never_replaced,
            devices::destroyed_seed_leaves_its_links,
            devices::epochs_past_their_bound_are_forgotten,
            devices::command_is_kept_with_its_transition_once,
            devices::restores_are_counted_once_per_command,
            fleet::tags_are_put_to_devices_and_taken_off,
            fleet::change_of_tags_is_made_whole_or_not_at_all,
            fleet::devices_are_found_by_the_image_that_they_run,
            fleet::transition_says_what_its_device_runs_now,
            fleet::nothing_is_given_that_was_forbidden_before,
            fleet::device_that_is_given_up_leaves_no_key_and_keeps_its_name,
            fleet::device_is_given_up_once,
            fleet::campaign_does_not_wait_for_a_device_that_is_given_up_as_it_is_launched,
            fleet::campaign_that_tries_again_does_not_wait_for_a_device_that_was_given_up,
            fleet::what_is_kept_of_devices_is_read_at_once,
            fleet::credential_takes_the_place_of_another_when_it_is_used,
            fleet::newest_credential_is_known_by_when_it_was_made,
            fleet::credential_that_is_replaced_at_once_is_gone,
            imports::devices_of_an_import_are_enrolled_by_its_commit,
            imports::import_with_a_line_that_can_not_be_enrolled_enrols_nobody,
            imports::piece_of_an_import_is_kept_once,
            imports::unit_files_are_due_until_they_were_received,
            imports::import_that_nobody_commits_is_forgotten,
            imports::list_that_takes_several_statements_is_enrolled_whole,
            imports::list_that_takes_several_statements_is_refused_and_forgotten_whole,
            ledger::events_are_numbered_from_one_in_order,
            ledger::events_are_read_by_campaign_and_by_device,
            ledger::events_page_from_a_number_on,
            ledger::many_events_in_one_call_keep_their_order,
            ledger::concurrent_appends_leave_no_gap_and_no_double,
            ledger::tenants_number_their_events_apart,
            ledger::alarm_is_counted_per_kind_subject_and_day,
            ledger::first_alarm_of_a_day_leaves_one_event,
            ledger::alarm_about_an_unknown_name_names_no_device,
            ledger::alarms_page_from_the_latest_day,
            ledger::tenants_have_alarms_apart,
            catalogue::manifest_reads_back_unchanged,
            catalogue::manifest_is_added_once,
            catalogue::envelope_past_its_bound_is_refused,
            catalogue::manifests_list_highest_sequence_number_first,
            catalogue::releases_are_numbered_and_read_back,
            catalogue::version_or_image_of_a_class_is_released_once,
            catalogue::releases_are_found_by_class_and_by_digest,
            catalogue::release_is_recalled_and_reinstated_once,
            catalogue::full_and_delta_resources_read_back,
            catalogue::of_two_builders_the_first_key_stays,
            catalogue::lost_resource_is_replaced_once,
            catalogue::resource_that_contradicts_its_key_is_refused,
            catalogue::resources_to_a_target_come_with_their_keys,
            catalogue::tenants_have_resources_apart,
            settings::anchors_of_the_highest_edition_are_read,
            settings::older_or_equal_edition_is_refused,
            settings::editions_above_a_number_are_read_in_order,
            settings::setting_is_kept_once,
            settings::tenants_have_settings_apart,
            campaigns::campaign_numbers_are_never_given_twice,
            campaigns::launched_campaign_reads_back,
            campaigns::every_kind_of_targets_reads_back,
            campaigns::launch_under_a_taken_number_is_refused,
            campaigns::launch_of_an_unknown_manifest_writes_nothing,
            campaigns::launch_for_an_unknown_device_writes_nothing,
            commands::repeated_command_gets_its_first_reply,
            commands::request_id_with_another_body_is_told,
            commands::order_and_its_command_are_one_commit,
            commands::repeated_order_gets_its_first_reply_whatever_the_state,
            publication::nothing_is_published_at_first,
            publication::published_number_only_rises,
            publication::tenants_are_published_apart,
            ledger::events_of_a_campaign_as_a_whole_read_apart,
            ledger::acts_of_people_read_apart,
            ledger::latest_events_are_the_last_in_order,
            retention::events_of_campaigns_that_go_on_are_needed,
            retention::removed_events_are_gone_and_no_number_is_given_twice,
            retention::last_event_is_never_removed,
            retention::ledger_is_cut_before_the_first_event_that_is_to_be_kept,
            retention::what_was_counted_from_removed_events_stays,
            retention::tenants_are_cut_apart,
            census::devices_are_counted_by_class_and_hour,
            census::device_moves_from_image_to_image,
            census::stretch_of_the_ledger_is_counted_once,
            census::device_that_told_what_it_runs_is_counted_at_once,
            census::device_that_was_given_up_is_not_counted,
            census::devices_are_counted_by_when_they_were_heard,
            campaigns::latest_campaigns_page_backwards,
            campaigns::counts_by_stage_are_those_of_the_progress,
            campaigns::numbers_of_a_campaign_follow_each_event,
            campaigns::devices_of_a_campaign_are_looked_at_by_name,
            operators::figures_count_what_is_there,
            operators::latest_contact_of_a_device_is_kept,
            campaigns::campaigns_list_by_number_and_state,
            campaigns::campaign_moves_from_the_expected_state_only,
            campaigns::moving_a_stranger_is_missing,
            campaigns::kept_progress_is_the_fold_of_the_ledger,
            campaigns::events_are_appended_for_devices_that_have_not_moved_since,
            campaigns::transition_of_an_identity_moves_its_track,
            campaigns::ten_thousand_devices_are_launched_and_paged,
            campaigns::campaigns_of_a_device_list_latest_first,
            campaigns::campaigns_that_matter_to_a_device_are_read_alone,
            campaigns::tenants_have_campaigns_apart,
            sessions::session_reads_back_unchanged_and_once,
            sessions::of_two_takers_of_a_session_one_gets_it,
            sessions::session_put_again_replaces_the_row,
            sessions::identity_keeps_its_latest_sessions_only,
            sessions::session_put_last_is_not_the_one_that_goes,
            sessions::expired_and_surplus_sessions_are_swept,
            sessions::sessions_of_an_identity_are_forgotten,
            sessions::registrations_page_by_sleep,
            sessions::registrations_of_an_identity_are_forgotten_and_its_sessions_stay,
            sessions::session_past_its_bound_is_refused,
            sessions::tenants_have_sessions_apart,
            turns::writes_at_the_same_time_are_all_there_when_they_return,
            turns::refused_write_among_others_takes_back_itself_alone,
            turns::failed_statement_among_others_fails_its_writer_alone,
            turns::second_of_two_who_decided_on_one_revision_hears_of_it_once_the_first_is_committed,
            turns::write_that_is_given_up_anywhere_is_whole_or_not_there_and_harms_no_other,
        }
    };
}
