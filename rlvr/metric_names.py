"""What we call the metrics that TRL and transformers log."""

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
}
OWN_PREFIXES = ("train/", "eval/", "base/", "trained/", "reward/", "health/", "perf/")


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
