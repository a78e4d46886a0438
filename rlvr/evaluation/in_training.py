"""Evaluating the model in training, on one process or spread over all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object, set_seed
from datasets import Dataset
from omegaconf import DictConfig

from rlvr.evaluation.evaluate import Rows, evaluate
from rlvr.progress import Progress
from rlvr.sampling.plain import Completions
from rlvr.training.arguments import evaluation_sampling
from rlvr.training.trainer import Trainer

if TYPE_CHECKING:
    from rlvr.data.load import Splits


def questions(cfg: DictConfig, splits: "Splits") -> Dataset:
    """The evaluated questions: the split, or a seeded sample of `eval.n` of it."""
    split: Dataset = getattr(splits, cfg.eval.split.value)
    split = split.add_column("index", list(range(len(split))))
    if cfg.eval.n is None or cfg.eval.n >= len(split):
        return split
    return split.shuffle(seed=cfg.seed).select(range(cfg.eval.n))


def evaluate_split(
    cfg: DictConfig, run_dir: Path, trainer: Trainer, splits: "Splits", phase: str
) -> Rows:
    """All ranks answer their share of the questions; every rank gets all rows, in order."""
    rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
    share = questions(cfg, splits).shard(ranks, rank)
    file = run_dir / (f"eval_{phase}.jsonl" if rank == 0 else f"eval_{phase}.rank{rank}.jsonl")
    bar = Progress(run_dir, f"{phase} evaluation")
    # The same draw before and after training; shifted by rank so that no two ranks repeat one.
    set_seed(cfg.seed + rank)
    with trainer.inference() as model:

        def answer(prompts: Sequence[str]) -> Completions:
            ids = trainer.processing_class(text=list(prompts))["input_ids"]
            sampling = evaluation_sampling(cfg)
            return trainer.generate(model, trainer.processing_class, ids, sampling, splits.stop)

        rows: list[dict[str, Any]] = evaluate(
            answer,
            share,
            splits.verifier,
            splits.stop,
            k=cfg.eval.k,
            batch_size=cfg.eval.batch_size,
            file=file,
            progress=bar.update,
        )
    set_seed(cfg.seed)
    return sorted(gather_object(rows), key=lambda row: row["index"])
