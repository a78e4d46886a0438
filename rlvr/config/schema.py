"""The schema `conf/` is merged into. Imports neither torch nor trl: composing must stay fast."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import II, MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError

from rlvr.config.pruner import PrunerConfig
from rlvr.errors import UserError


class Dtype(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Attention(StrEnum):
    auto = "auto"
    sdpa = "sdpa"
    eager = "eager"
    flash_attention_2 = "flash_attention_2"
    flex_attention = "flex_attention"


class Loss(StrEnum):
    grpo = "grpo"
    bnpo = "bnpo"
    dr_grpo = "dr_grpo"
    dapo = "dapo"
    cispo = "cispo"
    sapo = "sapo"
    luspo = "luspo"
    vespo = "vespo"


class ScaleRewards(StrEnum):
    group = "group"
    batch = "batch"
    none = "none"


class RatioLevel(StrEnum):
    token = "token"
    sequence = "sequence"


class Scheduler(StrEnum):
    """Those of transformers but for the two that follow an evaluation's loss."""

    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    linear = "linear"
    cosine = "cosine"
    cosine_with_restarts = "cosine_with_restarts"
    cosine_with_min_lr = "cosine_with_min_lr"
    cosine_warmup_with_min_lr = "cosine_warmup_with_min_lr"
    polynomial = "polynomial"
    inverse_sqrt = "inverse_sqrt"
    warmup_stable_decay = "warmup_stable_decay"


class Quantisation(StrEnum):
    nf4 = "nf4"
    fp4 = "fp4"


class PeftMethod(StrEnum):
    none = "none"
    lora = "lora"
    qlora = "qlora"


class Split(StrEnum):
    test = "test"
    validation = "validation"
    train = "train"  # to measure pass rates, no test of anything


class Protocol(StrEnum):
    default = "default"
    lm_eval_gsm8k = "lm_eval_gsm8k"
    reference_post = "reference_post"


class Schedule(StrEnum):
    """How the exemplars before a question become fewer, or more, while training goes on."""

    constant = "constant"
    linear = "linear"
    step = "step"
    cosine = "cosine"
    bernoulli = "bernoulli"


class ExemplarChoice(StrEnum):
    first = "first"
    random = "random"
    rotating = "rotating"
    shortest = "shortest"
    longest = "longest"
    easiest = "easiest"
    hardest = "hardest"
    similar = "similar"


class ExemplarOrder(StrEnum):
    chosen = "chosen"
    reversed = "reversed"
    shuffled = "shuffled"


class TrainOrder(StrEnum):
    """Shuffled anew in each epoch, or the same in each by the base model's pass rates."""

    shuffled = "shuffled"
    easy_first = "easy_first"
    hard_first = "hard_first"
    most_varied = "most_varied"


class BadGolds(StrEnum):
    refuse = "refuse"
    drop = "drop"


class Distributed(StrEnum):
    auto = "auto"
    none = "none"
    ddp = "ddp"
    zero2 = "zero2"
    zero3 = "zero3"
    fsdp2 = "fsdp2"

    @property
    def is_deepspeed(self) -> bool:
        return self in (Distributed.zero2, Distributed.zero3)


class SharedPrefix(StrEnum):
    auto = "auto"
    dense = "dense"
    tree = "tree"
    varlen = "varlen"
    flex = "flex"
    off = "off"


class Generation(StrEnum):
    """What samples rollouts and evaluations."""

    auto = "auto"
    transformers = "transformers"
    shared = "shared"
    vllm_colocate = "vllm_colocate"
    vllm_server = "vllm_server"

    @property
    def is_vllm(self) -> bool:
        return self in (Generation.vllm_colocate, Generation.vllm_server)


class Speculation(StrEnum):
    """Where vLLM takes guesses at the next tokens from, which the model then checks at once."""

    ngram = "ngram"


class TrackingName(StrEnum):
    mlflow = "mlflow"
    tensorboard = "tensorboard"
    wandb = "wandb"
    trackio = "trackio"
    none = "none"


# TRL's own names of what depends on the machine
BATCH = (
    "set trainer.batch_size=N, the completions of an optimizer step on all processes together, and "
    "where memory asks for it trainer.micro_batch_size=M; accumulation follows from them"
)
OTHER_NAMES = {
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": BATCH,
    "per_device_eval_batch_size": "it is the micro-batch: set trainer.micro_batch_size=M",
    "steps_per_generation": "set trainer.optimizer_steps_per_generation=N",
    "generation_batch_size": "set trainer.optimizer_steps_per_generation=N",
}


@dataclass
class ModelConfig:
    """`path` is a hub name, a local directory, or `package:tiny` for the embedded model."""

    path: str = MISSING
    revision: str | None = None
    dtype: Dtype = Dtype.auto
    attn_implementation: Attention = Attention.auto
    trust_remote_code: bool = False


@dataclass
class PromptConfig:
    """Fields of `rlvr.data.prompts.PromptTemplate`."""

    instruction: str = ""
    question: str = "Question: {question}\n"
    solution: str = "Solution: Let's think step by step."
    answer_prefix: str = "#### The final answer is"
    separator: str = "\n\n"
    completion: str = " {solution}\n{answer_prefix} {answer}"


@dataclass
class StopConfig:
    strings: list[str] = field(default_factory=lambda: ["\nQuestion:"])
    after_answer: bool = True


@dataclass
class DatasetConfig:
    """`exemplars` is `package:NAME`, a JSONL file, or `loader` where the loader returns them.

    Which of them are shown, and in which order: `rlvr.data.exemplars.Exemplars`. `bad_golds: drop`
    leaves out the rows whose gold answers the verifier cannot read.
    """

    name: str = MISSING
    path: str | None = None
    loader: dict[str, Any] = MISSING
    verifier: dict[str, Any] = MISSING
    num_shots: int = II("shots")
    exemplars: str | None = None
    exemplar_choice: ExemplarChoice = ExemplarChoice.first
    exemplar_order: ExemplarOrder = ExemplarOrder.chosen
    exemplar_seed: int = 0
    bad_golds: BadGolds = BadGolds.refuse
    train_examples: int | None = None
    train_order: TrainOrder = TrainOrder.shuffled
    pass_rates: str | None = None  # rows of an evaluation of the training questions
    validation_fraction: float = 0.1
    prompt: PromptConfig = field(default_factory=PromptConfig)
    stop: StopConfig = field(default_factory=StopConfig)


@dataclass
class PeftConfig:
    method: PeftMethod = MISSING
    r: int = 16
    alpha: int = 16
    dropout: float = 0.0
    target_modules: Any = "all-linear"
    modules_to_save: list[str] | None = None  # trained whole, such as [lm_head, embed_tokens]
    quant_type: Quantisation = Quantisation.nf4
    double_quant: bool = True


@dataclass
class VllmConfig:
    """null: the model's own limit or 8192 tokens; 0.3 of a shared GPU's memory, 0.9 of another.

    `server` is HOST:PORT of an `rlvr serve`, on another machine or this one; null starts one.
    """

    max_model_len: int | None = None
    memory_share: float | None = None
    speculation: Speculation | None = None
    server: str | None = None


@dataclass
class TrainerConfig:
    """The settings people change; any other field of TRL's GRPOConfig goes into `extra`."""

    learning_rate: float = 1.84e-4
    lr_scheduler_type: Scheduler = Scheduler.cosine
    warmup_ratio: float = 0.1
    num_train_epochs: float = 2.0
    max_steps: int = -1
    batch_size: int = 32  # completions per optimizer step, whatever the machine
    micro_batch_size: int | None = None  # completions at a time in each process; what fits
    optimizer_steps_per_generation: int = 1  # each on a part of the completions sampled for them
    num_iterations: int = 1  # times that all of these steps are taken
    num_generations: int = 8
    max_completion_length: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    beta: float = 0.0
    loss_type: Loss = Loss.grpo
    scale_rewards: ScaleRewards = ScaleRewards.group
    importance_sampling_level: RatioLevel = RatioLevel.token
    epsilon: float = 0.2
    epsilon_high: float | None = None
    mask_truncated_completions: bool = False
    dynamic_sampling: int = 0  # rounds of other questions for those without variance, at most
    revisit: float = 1.0  # probability of asking again what had none, for each time in a row
    downsample_from: int | None = None  # completions sampled of a question, num_generations trained
    max_grad_norm: float = 1.0
    bf16: bool | None = None
    gradient_checkpointing: bool = True
    preflight: bool = True
    health: bool = True
    logging_steps: int = 1
    eval_steps: int | None = None
    eval_examples: int = 64
    save_steps: int | None = None
    save_minutes: float | None = 10.0
    resume: bool = True
    shared_prefix: SharedPrefix = SharedPrefix.auto
    prefix_cache: bool = True
    generation: Generation = Generation.auto
    vllm: VllmConfig = field(default_factory=VllmConfig)
    skip_zero_advantage: bool = True
    self_check: bool = True
    token_budget: int | None = None
    distributed: Distributed = Distributed.auto
    num_processes: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvalConfig:
    """Final evaluation. `temperature: 0` is greedy; `k` samples each give pass@1 to pass@k.

    `benchmarks` are other datasets to evaluate on, by name: conf/benchmark/ has some. `protocols`
    are rules of others that judge the answers as well; `default`, the run's own, always does.
    """

    split: Split = Split.test
    n: int | None = None
    k: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_completion_length: int = II("trainer.max_completion_length")
    batch_size: int = 32
    before: bool = True
    after: bool = True
    benchmarks: dict[str, DatasetConfig] = field(default_factory=dict)
    protocols: list[Protocol] = field(default_factory=lambda: [Protocol.default])


@dataclass
class TrackingConfig:
    """`experiment` is the project of W&B and Trackio; the rest is MLflow's alone.

    `registered_model` names what the best run's model is registered as, where it beats the base.
    """

    name: TrackingName = TrackingName.mlflow
    uri: str | None = None
    experiment: str = "grpo-rlvr"
    system_metrics: bool = False
    registered_model: str | None = "grpo-rlvr"


@dataclass
class Config:
    """One run. `run` is the name of its directory, in a sweep of the sweep's.

    `launcher` is read by the launchers alone and checked by them. The settings behind
    `shots_schedule` belong to it: `rlvr.data.schedule.ShotSchedule`.
    """

    shots: int = 8
    shots_schedule: Schedule = Schedule.constant
    shots_end: int = 0
    shots_until: float = 0.5  # of the optimizer steps
    shots_probability: float = 1.0  # at the first step, of `bernoulli`
    seed: int = 42
    output_dir: str = "outputs"
    run: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    rewards: dict[str, Any] = field(default_factory=dict)
    peft: PeftConfig = field(default_factory=PeftConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    launcher: dict[str, Any] = field(default_factory=dict)


def register() -> None:
    """Make the schema known to Hydra as `schema`, which `conf/config.yaml` starts from."""
    ConfigStore.instance().store(name="schema", node=Config)


def load(path: Path) -> DictConfig:
    """Read a resolved config, as a job gets it, back onto the schema.

    Raises UserError for a key that there is no more.
    """
    try:
        config = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(path))
    except ConfigKeyError as error:
        key = str(error.full_key)
        instead = OTHER_NAMES.get(key.removeprefix("trainer."), "remove it")
        raise UserError(f"{path}: {key} is no key of this version: {instead}") from error
    assert isinstance(config, DictConfig)
    return config


def to_yaml(config: DictConfig) -> str:
    """The resolved config alone, without Hydra's own node."""
    return OmegaConf.to_yaml(config, resolve=True)
