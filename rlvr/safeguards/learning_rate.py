"""Learning rates of one way of training that were meant for the other."""

from omegaconf import DictConfig

from rlvr.config.schema import PeftMethod
from rlvr.formatting import number
from rlvr.memory import read_shape
from rlvr.model_files import model_files

# LoRA learns best at about ten times the rate of full fine-tuning, at any size (Schulman et al.,
# LoRA Without Regret, 2025); reports of adapters that learn nothing are of 5e-7 to 5e-6.
LEAST_OF_ADAPTERS = 1e-5
MOST_OF_WHOLE_MODELS = 1e-4
SMALL = 10_000_000  # weights; models below bear more


def learning_rate_warning(cfg: DictConfig) -> str | None:
    rate = cfg.trainer.learning_rate
    given = f"trainer.learning_rate={number(rate)}"
    if cfg.peft.method is not PeftMethod.none and rate < LEAST_OF_ADAPTERS:
        return (
            f"{given} is one for full fine-tuning: with peft={cfg.peft.method.value} next to "
            "nothing is learned below 1e-5; 1e-4 is usual"
        )
    if cfg.peft.method is PeftMethod.none and rate > MOST_OF_WHOLE_MODELS:
        folder = model_files(cfg.model.path, cfg.model.revision)
        shape = read_shape(folder) if folder else None
        if shape is None or shape.parameters >= SMALL:
            return (
                f"{given} is one for adapters: with peft=none a whole model mostly breaks above "
                "1e-4; 1e-6 to 1e-5 is usual"
            )
    return None
