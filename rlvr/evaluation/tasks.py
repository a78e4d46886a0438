"""What a run is asked: the questions of its own dataset, and of its benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from rlvr.config.pruner import PrunerName
from rlvr.data.load import load_benchmark, plain
from rlvr.errors import UserError
from rlvr.sampling.stop import StopRule
from rlvr.verify.build import build_verifier
from rlvr.verify.verdict import Verifier

if TYPE_CHECKING:
    from datasets import Dataset

    from rlvr.data.load import Splits

MAIN = "main"  # the dataset that is trained on
VALIDATION = "validation"  # what a pruner asks while the run trains
OTHER_SHOTS = "shots_"  # before the number of them, the same questions otherwise
PROTOCOL = "protocol."  # before the name of another rule for it: a benchmark may be called alike


@dataclass(frozen=True)
class Task:
    """Questions (`index`, `prompt`, `question`, `gold`, further columns), and what judges them.

    `other_form` says what form of answer a rule looks for, where the prompt asks for another.
    """

    name: str
    questions: Sequence[Mapping[str, Any]]
    verifier: Verifier
    stop: StopRule
    other_form: str | None = None

    @property
    def is_rule(self) -> bool:
        return self.name.startswith(PROTOCOL)

    @property
    def title(self) -> str:
        return self.name.removeprefix(PROTOCOL)

    @property
    def below(self) -> str:
        """What stands between phase and metric in a metric's name: `base/svamp/accuracy`."""
        return "" if self.name == MAIN else f"/{self.title.replace('.', '/')}"

    def file(self, phase: str) -> str:
        """Name of the file of rows: `base`, `base.svamp`, `base.protocol.reference_post`."""
        return phase if self.name == MAIN else f"{phase}.{self.name}"


def tasks(cfg: DictConfig, splits: "Splits") -> list[Task]:
    """The evaluated split of the run's own data first, then `eval.benchmarks` in their order.

    Where the shots move, the first is asked with those of the end, the second with the first ones.
    """
    own, schedule = own_task(cfg, splits), splits.prompts.schedule
    if not schedule.moves:
        return [own, *benchmarks(cfg)]
    start = [
        {**row, "prompt": splits.prompts.asked(row["question"], schedule.start)}
        for row in own.questions
    ]
    begun = Task(with_shots(schedule.start), start, splits.verifier, splits.stop)
    return [own, begun, *benchmarks(cfg)]


def own_task(cfg: DictConfig, splits: "Splits") -> Task:
    questions = _chosen(cfg, getattr(splits, cfg.eval.split.value))
    return Task(MAIN, questions, splits.verifier, splits.stop)


def validation_task(cfg: DictConfig, splits: "Splits") -> Task | None:
    """What a pruner looks at while a run trains; None without one.

    Raises UserError where there are no such questions, or where they would be test questions.
    """
    if cfg.pruner.name is PrunerName.none:
        return None
    asked = splits.validation.take(min(cfg.pruner.questions, len(splits.validation)))
    tested = {plain(question) for question in splits.test["question"]}
    common = sum(plain(question) in tested for question in asked["question"])
    if not len(asked) or common:
        what = f"{common} of them are also test questions" if common else "there are none"
        raise UserError(
            f"pruner={cfg.pruner.name.value} decides by validation questions, but {what}: set "
            "dataset.validation_fraction=0.1, use other validation data, or pruner=none"
        )
    rows = asked.add_column("index", list(range(len(asked)))).to_list()
    return Task(VALIDATION, rows, splits.verifier, splits.stop)


def with_shots(count: int) -> str:
    """Name of the run's own questions with another number of shots before them."""
    return f"{OTHER_SHOTS}{count}"


def benchmarks(cfg: DictConfig) -> list[Task]:
    """Each has its own questions, prompt, verifier and stop rule."""
    found = []
    for name, dataset in cfg.eval.benchmarks.items():
        key = f"eval.benchmarks.{name}"
        verifier = build_verifier(dataset, key)
        try:
            part = load_benchmark(dataset, seed=cfg.seed, verifier=verifier)
        except UserError as error:  # a loader speaks of its settings as those of `dataset`
            raise UserError(str(error).replace("dataset.", f"{key}.")) from error
        found.append(Task(str(name), _chosen(cfg, part.test), verifier, part.stop))
    return found


def _chosen(cfg: DictConfig, split: "Dataset") -> list[dict[str, Any]]:
    """The whole split, or a seeded sample of `eval.n` of it."""
    split = split.add_column("index", list(range(len(split))))
    if cfg.eval.n is not None and cfg.eval.n < len(split):
        split = split.shuffle(seed=cfg.seed).select(range(cfg.eval.n))
    return sorted(split.to_list(), key=lambda row: row["index"])  # type: ignore[no-any-return]
