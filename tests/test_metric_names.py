import pytest

from rlvr.metric_names import metric_name


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
