import pytest

from rlvr.metric_names import metric_name, worth_tracking


@pytest.mark.parametrize(
    ("logged", "ours"),
    [
        ("reward", "reward/total"),
        ("rewards/correct/mean", "reward/correct"),
        ("rewards/correct/std", "reward/correct_std"),
        ("reasons/wrong", "reward/reason_wrong"),
        ("completions/mean_terminated_length", "train/length_terminated_mean"),
        ("completions/clipped_ratio", "train/clipped_ratio"),
        ("eval_reward", "eval/reward/total"),
        ("eval_loss", "eval/loss"),
        ("health/spray", "health/spray"),
        ("loss", "train/loss"),
        ("kl", "train/kl"),
        ("reasons/no_answer", "reward/reason_no_answer"),
        ("clip_ratio/high_mean", "train/clip_ratio/high_mean"),
        ("rewards/gsm8k_correct/mean", "reward/gsm8k_correct"),
        ("completions/max_terminated_length", "train/length_terminated_max"),
        ("eval_rewards/format/std", "eval/reward/format_std"),
        ("eval_completions/min_length", "eval/length_min"),
        ("eval_runtime", "eval/perf/seconds"),
        ("train_runtime", "perf/seconds"),
        ("health/hacking", "health/hacking"),
        ("reward/reason_timeout", "reward/reason_timeout"),
        (
            "sampling/importance_sampling_ratio/mean",
            "train/sampling/importance_sampling_ratio/mean",
        ),
    ],
)
def test_names(logged, ours):
    assert metric_name(logged) == ours


def test_a_reason_is_tracked_from_when_it_first_occurs():
    seen: set[str] = set()
    steps = [{"reward/reason_spray": value, "reward/total": 0.0} for value in (0, 0.5, 0)]
    found = [worth_tracking(metrics, seen) for metrics in steps]
    assert [list(metrics) for metrics in found] == [
        ["reward/total"],
        ["reward/reason_spray", "reward/total"],
        ["reward/reason_spray", "reward/total"],
    ]


def test_what_nobody_reads_is_not_tracked():
    assert worth_tracking({"perf/flos": 1.0, "train/kl": 1.0}, set()) == {"train/kl": 1.0}
