"""Checks of `trainer` and `peft`: what cannot work is a problem, what cannot act a warning."""

from collections.abc import Iterator

from omegaconf import DictConfig

from rlvr.config import batch
from rlvr.config.generation import is_cpu
from rlvr.config.schema import (
    Config,
    Dtype,
    Loss,
    PeftMethod,
    Schedule,
    Scheduler,
    SharedPrefix,
    TrainerConfig,
    TrainOrder,
)
from rlvr.config.steps import too_few_rows

NEED_KWARGS = {
    Scheduler.cosine_with_min_lr: "{min_lr: 1e-6}",
    Scheduler.cosine_warmup_with_min_lr: "{min_lr: 1e-6}",
    Scheduler.warmup_stable_decay: "{num_decay_steps: 100}",
}
OUR_FILES = {
    *("output_dir", "save_strategy", "save_total_limit", "save_only_model", "ignore_data_skip"),
    *("load_best_model_at_end", "push_to_hub", "hub_strategy", "resume_from_checkpoint"),
}  # what exact resume rests on


def problems(cfg: DictConfig) -> Iterator[str]:
    yield from batch.problems(cfg)
    yield from _per_micro_batch(cfg)
    yield from _one_example(cfg)
    yield from _selection(cfg)
    yield from _attention(cfg)
    yield from _loss(cfg)
    yield from _scheduler(cfg)
    yield from _precision(cfg)
    for name in OUR_FILES & set(cfg.trainer.extra):
        yield f"trainer.extra.{name}: checkpoints are rlvr's own affair (trainer.save_minutes)"


def _per_micro_batch(cfg: DictConfig) -> Iterator[str]:
    """What is averaged within a micro-batch would depend on the memory of the machine."""
    if cfg.trainer.micro_batch_size is not None:
        return
    extra = cfg.trainer.extra
    averaged = {
        "trainer.loss_type=bnpo": cfg.trainer.loss_type is Loss.bnpo,
        "trainer.extra.top_entropy_quantile": extra.get("top_entropy_quantile", 1.0) < 1.0,
        "trainer.extra.entropy_coef": bool(extra.get("entropy_coef")),
        "trainer.extra.use_adaptive_entropy": bool(extra.get("use_adaptive_entropy")),
    }
    for key in (key for key, used in averaged.items() if used):
        yield (
            f"{key} averages within a micro-batch, so its size is part of the method: set "
            f"trainer.micro_batch_size, such as {min(16, cfg.trainer.batch_size)}"
        )


def _one_example(cfg: DictConfig) -> Iterator[str]:
    rows = cfg.dataset.train_examples
    if rows is not None and (problem := too_few_rows(cfg, rows)):
        yield f"dataset.train_examples={rows}: {problem}"


def _selection(cfg: DictConfig) -> Iterator[str]:
    t = cfg.trainer
    for key in ("dynamic_sampling", "revisit", "downsample_from"):
        if t[key] != getattr(TrainerConfig, key) and (t.num_processes or 1) > 1:
            yield f"trainer.{key}={t[key]:g} chooses in one process: use trainer.num_processes=1"
    many = t.downsample_from
    if many is not None and many <= t.num_generations:
        yield (
            f"trainer.downsample_from={many}: it must be above trainer.num_generations="
            f"{t.num_generations}, the completions of a question that are kept; leave it out to "
            "train on all that are sampled"
        )


def _attention(cfg: DictConfig) -> Iterator[str]:
    mode = cfg.trainer.shared_prefix
    if mode in (SharedPrefix.varlen, SharedPrefix.flex) and is_cpu(cfg):
        yield (
            f"trainer.shared_prefix={mode}: its kernels need a CUDA GPU, and there is none here; "
            "use trainer.shared_prefix=auto"
        )


def _loss(cfg: DictConfig) -> Iterator[str]:
    t = cfg.trainer
    limit = t.epsilon if t.epsilon_high is None else t.epsilon_high
    if t.loss_type is Loss.cispo and limit <= 1:
        yield (
            f"trainer.loss_type=cispo keeps importance ratios below trainer.epsilon_high itself, "
            f"which is {limit:g}: every token would count less than it should. Set "
            "trainer.epsilon_high=5, as trainer=cispo does"
        )


def _scheduler(cfg: DictConfig) -> Iterator[str]:
    kind = cfg.trainer.lr_scheduler_type
    if kind in NEED_KWARGS and not cfg.trainer.extra.get("lr_scheduler_kwargs"):
        yield (
            f"trainer.lr_scheduler_type={kind.value} needs more: add "
            f"'+trainer.extra.lr_scheduler_kwargs={NEED_KWARGS[kind]}'"
        )


def _precision(cfg: DictConfig) -> Iterator[str]:
    if cfg.model.dtype is Dtype.float16:
        yield (
            "model.dtype=float16 has too small a range for gradients without loss scaling: use "
            "bfloat16, float32 or auto"
        )
    if cfg.trainer.extra.get("fp16"):
        yield "trainer.extra.fp16: half precision is bfloat16 here, see trainer.bf16"
    if cfg.peft.method is PeftMethod.none and cfg.peft.modules_to_save:
        yield "peft.modules_to_save: peft=none trains and saves every module already; leave it out"
    if cfg.peft.modules_to_save and cfg.trainer.bf16 is False and cfg.model.dtype is Dtype.bfloat16:
        yield (
            "trainer.bf16=false: peft.modules_to_save are trained in float32 and need autocast "
            "beside model.dtype=bfloat16; use trainer.bf16=null or model.dtype=float32"
        )


def warnings(cfg: DictConfig) -> Iterator[str]:
    """Settings that were changed and cannot act."""
    yield from _idle_schedule(cfg)
    if cfg.dataset.train_order is TrainOrder.shuffled and cfg.dataset.pass_rates is not None:
        yield "dataset.pass_rates cannot act with dataset.train_order=shuffled"
    t, default = cfg.trainer, TrainerConfig()
    names = ("epsilon", "epsilon_high", "importance_sampling_level")
    changed = [f"trainer.{name}" for name in names if t[name] != getattr(default, name)]
    changed += ["trainer.extra.delta"] if t.extra.get("delta") is not None else []
    if changed and t.optimizer_steps_per_generation * t.num_iterations == 1:
        yield (
            f"{' and '.join(changed)} cannot act: each completion is learned from once, by the "
            "model that sampled it, so every importance ratio is 1. Set "
            "trainer.optimizer_steps_per_generation or trainer.num_iterations above 1"
        )
    elif t.loss_type is Loss.cispo and t.epsilon != default.epsilon:
        yield "trainer.epsilon cannot act with loss_type=cispo, which has an upper limit alone"
    if t.lr_scheduler_type is Scheduler.constant and t.warmup_ratio > 0:
        yield (
            f"trainer.warmup_ratio={t.warmup_ratio:g} cannot act with lr_scheduler_type=constant: "
            "use constant_with_warmup, or warmup_ratio=0"
        )


def _idle_schedule(cfg: DictConfig) -> Iterator[str]:
    kind, default = cfg.shots_schedule, Config()
    if kind is Schedule.constant:
        names = ("shots_end", "shots_until", "shots_probability")
        for key in (name for name in names if cfg[name] != getattr(default, name)):
            yield f"{key}={cfg[key]:g} cannot act with shots_schedule=constant"
    elif kind is not Schedule.bernoulli and cfg.shots_probability != default.shots_probability:
        yield (
            f"shots_probability={cfg.shots_probability:g} cannot act with shots_schedule="
            f"{kind.value}: it belongs to bernoulli"
        )
