"""What we claim in the ML Test Score, and the tests and files that prove it."""

from bikeshare.core.score import Item

_UNIT, _WHOLE, _API = "tests/unit/", "tests/integration/", "tests/integration/predictor/"
_RULES = "tests/alerts/test_rules.py::test_it_fires_when_it_must_and_stays_silent_otherwise"

ITEMS: tuple[Item, ...] = (
    Item("data-1", "Is what we expect of each column written down and checked?", 1, (
        f"{_UNIT}test_validation.py::test_each_fault_is_found_by_its_rule",
        f"{_UNIT}test_validation.py::test_rules_do_not_cry_wolf_in_2012",
        "tests/components/test_local_run.py::test_a_broken_recent_day_stops_the_run_before_anything_is_trained",
    )),
    Item("data-2", "Does each feature earn its place?", 0.5, (
        f"{_WHOLE}test_model_properties.py::test_every_group_of_features_is_needed",
        f"{_WHOLE}test_model_properties.py::test_no_feature_makes_the_forecast_worse",
    ), "every group is needed and no feature harms; a single feature may still add next to nothing"),
    Item("data-3", "Is any feature too expensive for what it gives?", 1, (
        f"{_UNIT}test_promotion.py::test_size_and_latency_have_budgets",
        f"{_UNIT}test_features.py::test_every_feature_declares_sources_and_none_is_the_answer_itself",
    )),
    Item("data-4", "Do features keep our own rules: no leak, nothing forbidden?", 1, (
        f"{_UNIT}test_features.py::test_the_real_features_pass_the_guard_and_registered_does_not",
        f"{_UNIT}test_features.py::test_features_never_read_demand_after_t_minus_24",
        f"{_UNIT}test_training.py::test_casual_and_registered_change_nothing",
    )),
    Item("data-5", "Are private data kept out, and old data deleted?", 1, (
        f"{_UNIT}test_observations.py::test_conform_names_missing_and_unknown_columns",
        f"{_UNIT}test_predictor_schema.py::test_a_bad_value_is_named_with_its_field",
        "tests/contract/test_records_contract.py::test_old_predictions_are_deleted_by_age",
    )),
    Item("data-6", "Can a new feature be added quickly?", 0.5, (
        "CONTRIBUTING.md", f"{_UNIT}test_features.py::test_unknown_source_is_refused",
    ), "written down as one table row, one function and `make benchmark`; nobody timed it"),
    Item("data-7", "Is all code that derives features tested?", 1, (
        f"{_UNIT}test_features.py::test_calendar_rules", f"{_UNIT}test_history.py::test_lags_count_hours_not_rows",
        f"{_UNIT}test_level.py::test_the_daily_change_is_capped_both_ways_and_said",
        f"{_UNIT}test_features.py::test_grid_keeps_gaps_and_refuses_duplicates",
    )),
    Item("model-1", "Is every model definition reviewed and versioned?", 0.5, (
        f"{_WHOLE}test_train_step.py::test_a_first_challenger_is_registered_with_its_lineage",
        "tests/components/test_dialect.py::test_compiling_gives_the_committed_bytes_and_only_the_image_may_differ",
        f"{_UNIT}test_model_card.py::test_the_revision_comes_from_the_image_or_the_checkout",
    ), "each version names its revision, data and configuration; that a change was reviewed is not checked"),
    Item("model-2", "Does the offline metric follow the live one?", 1, (
        f"{_WHOLE}test_monitor_loop.py::test_every_look_leaves_numbers",
        f"{_UNIT}test_forecasting.py::test_a_live_answer_equals_the_replayed_one",
        f"{_UNIT}test_backtest.py::test_folds_are_contiguous_and_never_reach_the_future",
    )),
    Item("model-3", "Are hyper-parameters tuned?", 0.5, ("benchmarks/accuracy.md", "benchmarks/accuracy.py"),
         "chosen by rolling-origin backtest on the second half of 2011; no search runs by itself"),
    Item("model-4", "Do we know how fast a model grows old?", 1, (
        f"{_WHOLE}test_model_properties.py::test_a_frozen_model_grows_old_and_the_online_level_slows_it",
        "benchmarks/accuracy.md",
    )),
    Item("model-5", "Is a simpler model really worse?", 1, (
        f"{_UNIT}test_promotion.py::test_a_first_version_needs_only_to_beat_the_naive_rule",
        f"{_UNIT}test_forecasting.py::test_small_forests_beat_the_naive_rule_by_a_fifth",
    )),
    Item("model-6", "Is quality good on each important slice?", 1, (
        f"{_UNIT}test_promotion.py::test_a_slice_may_not_collapse_behind_a_good_average",
        f"{_UNIT}test_evaluation.py::test_slices_separate_what_they_name",
    )),
    Item("model-7", "Was an unfair effect on groups looked for?", 0.5, ("data/README.md",),
         "the data are hourly sums of one city: no person, group or district can be told apart"),
    Item("infrastructure-1", "Does training twice give the same model?", 1, (
        f"{_UNIT}test_training.py::test_the_same_seed_gives_the_same_model_and_another_one_does_not",
        f"{_UNIT}test_observations.py::test_parquet_round_trip_is_exact_and_deterministic",
    )),
    Item("infrastructure-2", "Is model code tested by itself?", 1, (
        f"{_WHOLE}test_artifact.py::test_round_trip", f"{_WHOLE}test_artifact.py::test_parity_is_really_checked",
        f"{_UNIT}test_forecasting.py::test_permuting_rows_permutes_answers",
        f"{_UNIT}test_forecasting.py::test_rain_lowers_the_evening_peak_and_a_holiday_the_morning_one",
    )),
    Item("infrastructure-3", "Is the whole pipeline tested together?", 1, (
        "tests/components/test_local_run.py::test_the_first_version_becomes_champion_and_serves",
        f"{_WHOLE}test_demo.py::test_a_changed_world_is_retrained_once_and_the_error_comes_back",
    )),
    Item("infrastructure-4", "Is quality checked before a model serves?", 1, (
        "tests/components/test_local_run.py::test_a_refused_challenger_leaves_the_champion_alone",
        f"{_WHOLE}test_train_step.py::test_champion_and_challenger_answer_the_same_rows_that_neither_saw",
    )),
    Item("infrastructure-5", "Can one prediction be followed step by step?", 0, (),
         "the answer names its source and level, but no command walks through trees and level"),
    Item("infrastructure-6", "Does each version pass a canary?", 1, (
        f"{_API}test_rollout_steps.py::test_a_failed_check_leaves_everything_as_it_was",
        f"{_API}test_rollout_steps.py::test_a_live_api_that_fails_is_rolled_back",
    )),
    Item("infrastructure-7", "Is the way back fast and safe?", 1, (
        f"{_API}test_rollout_steps.py::test_rolling_back_swaps_traffic_and_aliases",
        f"{_API}test_front.py::test_switching_under_load_drops_nothing",
    )),
    Item("monitoring-1", "Are we told when something we depend on changes?", 1, (
        f"{_UNIT}test_repository.py::test_every_image_installs_the_versions_that_were_tested",
        f"{_UNIT}test_repository.py::test_the_history_is_the_published_file",
        f"{_WHOLE}test_monitor_loop.py::test_a_refused_day_holds_and_people_hear_of_both",
    )),
    Item("monitoring-2", "Do live inputs keep the same rules as training data?", 1, (
        f"{_UNIT}test_validation.py::test_served_inputs_show_a_fault_within_hours_and_forget_it_a_day_after",
        _RULES, "tests/alerts/LiveDataBroken.yaml",
    )),
    Item("monitoring-3", "Do training and serving compute the same?", 1, (
        f"{_API}test_api.py::test_live_equals_offline",
        f"{_WHOLE}test_artifact.py::test_onnx_equals_sklearn_without_history_too",
        f"{_UNIT}test_rollout.py::test_live_answers_must_equal_offline_ones",
    )),
    Item("monitoring-4", "Is no model too old?", 1, (
        f"{_UNIT}test_retraining.py::test_age_retrains_only_beyond_the_limit", _RULES, "tests/alerts/ModelTooOld.yaml",
    )),
    Item("monitoring-5", "Are numbers healthy: no NaN, nothing infinite or out of range?", 1, (
        f"{_UNIT}test_predictor_schema.py::test_ranges_are_the_contracts",
        f"{_API}test_contract.py::test_valid_hours_are_always_answered",
        f"{_UNIT}test_rollout.py::test_missing_or_unfinished_answers_fail",
    )),
    Item("monitoring-6", "Would we notice worse speed, latency, throughput or memory?", 1, (
        _RULES, "tests/alerts/LatencyBurnFast.yaml", f"{_UNIT}test_promotion.py::test_size_and_latency_have_budgets",
        f"{_UNIT}test_rollout.py::test_latency_is_judged_by_its_95th_percentile",
        f"{_WHOLE}test_panels.py::test_every_query_of_every_panel_returns_data",
    )),
    Item("monitoring-7", "Would we notice worse predictions on live data?", 1, (
        f"{_WHOLE}test_monitor_loop.py::test_decay_is_confirmed_retrained_and_found_cured", _RULES,
        "tests/alerts/ForecastDecayed.yaml",
    )),
)
