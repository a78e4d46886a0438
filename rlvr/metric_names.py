"""What we call the metrics that TRL and transformers log, and which of them a tracker shows."""

from collections.abc import Mapping

# TRL's and transformers' names on the left. Loss, learning rate and the like get `train/`.
NAMES = {
    "reward": "reward/total",
    "reward_std": "reward/std",
    "frac_reward_zero_std": "train/zero_std_groups",
    "step_time": "perf/step_seconds",
    "num_tokens": "perf/tokens",
    "num_input_tokens_seen": "perf/tokens_seen",
    "total_flos": "perf/flos",
    "runtime": "perf/seconds",
    "train_runtime": "perf/seconds",
    "samples_per_second": "perf/samples_per_second",
    "train_samples_per_second": "perf/samples_per_second",
    "steps_per_second": "perf/steps_per_second",
    "train_steps_per_second": "perf/steps_per_second",
    "train_tokens_per_second": "perf/tokens_per_second",
    "train_loss": "train/loss_mean",
    "completions/clipped_ratio": "train/clipped_ratio",
    "sampling/sampling_logp_difference/mean": "train/engine_difference",
}
# In `metrics.jsonl` alone: they follow from others, or say nothing about one learner's batches.
UNTRACKED = frozenset(
    "perf/flos perf/samples_per_second perf/steps_per_second perf/seconds train/epoch "
    "train/loss_mean train/length_min train/length_terminated_min train/length_terminated_max "
    "train/clip_ratio/low_min train/clip_ratio/high_max train/clip_ratio/low_mean "
    "train/clip_ratio/high_mean".split()
)
# Tracked from the step on at which they are not 0.
RARE = ("reward/reason_", "health/outcome_", "health/gaming")
OWN_PREFIXES = tuple(
    f"{kind}/" for kind in "train eval base trained reward health perf validation".split()
)


def metric_name(logged: str) -> str:
    """Our name for a metric as TRL logs it: `rewards/correct/mean` -> `reward/correct`."""
    if logged.startswith("eval_"):
        return "eval/" + metric_name(logged.removeprefix("eval_")).removeprefix("train/")
    if logged in NAMES or logged.startswith(OWN_PREFIXES):
        return NAMES.get(logged, logged)
    match logged.split("/"):
        case ["rewards", name, "mean"]:
            return f"reward/{name}"
        case ["rewards", name, "std"]:
            return f"reward/{name}_std"
        case ["reasons", reason]:
            return f"reward/reason_{reason}"
        case ["completions", length] if length.endswith("_length"):
            statistic, *terminated = length.removesuffix("_length").split("_")
            return "train/" + "_".join(["length", *terminated, statistic])
    return f"train/{logged}"


def worth_tracking(metrics: Mapping[str, float], seen: set[str]) -> dict[str, float]:
    """What a tracker is told of a step's metrics: a reason for a verdict, and the like, only from
    the step on at which it first occurs. `seen` is kept by the caller from step to step."""
    seen |= {name for name, value in metrics.items() if value or not name.startswith(RARE)}
    return {k: v for k, v in metrics.items() if k in seen and k not in UNTRACKED}
