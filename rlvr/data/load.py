"""From a dataset's loader to the three splits of a run: checked golds, prompts, one stop rule.

A loader returns {"train": rows, "test": rows} and, where it has them, "validation" and "exemplars".
A row holds `question`, `gold` (the raw answer) and any further columns; under ROW_KEY it may say
where it came from ("train.jsonl:17"), which error messages repeat.
"""

import hashlib
import json
import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from rlvr.config.schema import ExemplarChoice
from rlvr.data.choice import Chooser
from rlvr.data.exemplars import (
    FROM_LOADER,
    exemplars_path,
    first_shots,
    no_exemplars,
    parse_exemplar,
    read_exemplars,
)
from rlvr.data.golds import Gold, with_canonical_golds
from rlvr.data.order import ordered
from rlvr.data.prompts import Exemplar, PromptBuilder, PromptTemplate
from rlvr.data.rollout_prompts import RolloutPrompts
from rlvr.data.rows import ROW_KEY, Row
from rlvr.data.schedule import ShotSchedule
from rlvr.errors import UserError
from rlvr.paths import find
from rlvr.sampling.stop import StopRule
from rlvr.verify.verdict import Verifier

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """What a run reads. Columns: `prompt`, `question`, canonical `gold`, the dataset's own.

    The `prompt` of training questions is that of the first step, that of others the last step's.
    """

    train: "Dataset"
    validation: "Dataset"
    test: "Dataset"
    prompt_builder: PromptBuilder
    prompts: RolloutPrompts
    stop: StopRule
    verifier: Verifier


def load_splits(
    cfg_dataset: DictConfig, *, seed: int, verifier: Verifier, schedule: ShotSchedule | None = None
) -> Splits:
    """Load, check and split one dataset; UserError names the row or the key that is wrong.

    The validation split depends on `seed` and `validation_fraction` alone, never on the shots or
    on `train_examples`. The test split keeps the loader's order. Without a `schedule` there are
    always `num_shots` exemplars.
    """
    cfg, schedule = cfg_dataset, schedule or ShotSchedule.constant(cfg_dataset.num_shots)
    template = _template(cfg)
    loaded = _call_loader(cfg, seed)
    chooser = _chooser(cfg, loaded.pop("exemplars", None), schedule.most)
    rows = _split(cfg, _checked(cfg, loaded, chooser.pool, verifier), seed)
    _check_leaks(chooser.pool, rows)
    _check_columns([row for part in rows.values() for row in part])
    prompts = RolloutPrompts(template, chooser, schedule, seed)
    shots = {"train": schedule.start, "validation": schedule.end, "test": schedule.end}
    tables = {split: _table(part, prompts, shots[split]) for split, part in rows.items()}
    builder = PromptBuilder(template, chooser("", schedule.start))
    return Splits(
        **tables,
        prompt_builder=builder,
        prompts=prompts,
        stop=_stop_rule(cfg),
        verifier=verifier,
    )


@dataclass(frozen=True)
class Benchmark:
    """Data that is only evaluated on. Columns as in `Splits`."""

    test: "Dataset"
    stop: StopRule
    verifier: Verifier


def load_benchmark(cfg: DictConfig, *, seed: int, verifier: Verifier) -> Benchmark:
    """The test questions of a dataset, with prompts of its own; its loader may have no others."""
    loaded = _call_loader(cfg, seed, needed=("test",))
    schedule = ShotSchedule.constant(cfg.num_shots)
    chooser = _chooser(cfg, loaded.get("exemplars"), schedule.most)
    rows = _checked(cfg, {"test": loaded["test"]}, chooser.pool, verifier)["test"]
    _check_leaks(chooser.pool, {"train": [], "validation": [], "test": rows})
    _check_columns(rows)
    table = _table(rows, RolloutPrompts(_template(cfg), chooser, schedule), schedule.end)
    return Benchmark(table, _stop_rule(cfg), verifier)


def data_digest(dataset: "Iterable[Mapping[str, Any]]") -> str:
    """16 hex digits over all rows in order, prompts left out: equal data, whatever the shots."""
    sha = hashlib.sha256()
    for row in dataset:
        kept = {key: value for key, value in row.items() if key != "prompt"}
        sha.update(json.dumps(kept, sort_keys=True, default=str).encode() + b"\n")
    return sha.hexdigest()[:16]


def _call_loader(
    cfg: DictConfig, seed: int, needed: Sequence[str] = ("train", "test")
) -> dict[str, list[Row]]:
    """Not `hydra.utils.call`, which would wrap a UserError into an InstantiationException."""
    params: dict[str, Any] = OmegaConf.to_container(cfg.loader, resolve=True)  # type: ignore[assignment]
    path = cfg.path and str(find(cfg.path))
    loaded = dict(get_method(params.pop("_target_"))(path=path, seed=seed, **params))
    for split in needed:
        if not loaded.get(split):
            raise UserError(f"dataset {cfg.name}: its loader returned no {split} rows.")
    return loaded


def _template(cfg: DictConfig) -> PromptTemplate:
    template = PromptTemplate(**OmegaConf.to_container(cfg.prompt, resolve=True))  # type: ignore[arg-type]
    probe = "\0"
    try:
        shown = template.ask(probe)
    except (KeyError, IndexError, ValueError) as error:
        shown = f"({type(error).__name__})"
    if probe not in shown:
        raise UserError(
            f"dataset.prompt.question={template.question!r}: expected the placeholder {{question}} "
            "and no other; write literal braces as {{ and }}."
        )
    return template


def _stop_rule(cfg: DictConfig) -> StopRule:
    strings = tuple(str(s) for s in cfg.stop.strings)
    if not all(strings):
        raise UserError("dataset.stop.strings: an empty string would stop every text at its start.")
    return StopRule(strings, cfg.prompt.answer_prefix if cfg.stop.after_answer else None)


def _chooser(cfg: DictConfig, generated: Sequence[Row] | None, most: int) -> Chooser:
    """Its pool is what may ever be shown, where at most `most` are shown at once."""
    every, source = [], f"dataset {cfg.name}"
    if cfg.exemplars == FROM_LOADER:
        every = [parse_exemplar(r, f"exemplar {n}") for n, r in enumerate(generated or (), 1)]
    elif cfg.exemplars is not None:
        every, source = read_exemplars(cfg.exemplars), str(exemplars_path(cfg.exemplars))
    elif most:
        raise UserError(no_exemplars("dataset", most))
    first = first_shots(every, most, source)
    pool = first if cfg.exemplar_choice is ExemplarChoice.first or not most else every
    return Chooser(pool, cfg.exemplar_choice, cfg.exemplar_order, cfg.exemplar_seed)


def _checked(
    cfg: DictConfig,
    loaded: Mapping[str, Sequence[Row]],
    exemplars: Sequence[Exemplar],
    verifier: Verifier,
) -> dict[str, list[Row]]:
    """Copies of the rows with canonical golds; those of the exemplars are checked too."""
    shown = f"{cfg.exemplars if cfg.exemplars != FROM_LOADER else cfg.name}, exemplar"
    golds = [Gold(e.answer, f"{shown} {n}") for n, e in enumerate(exemplars, 1)]
    rows = {split: [_placed(row, split, n) for n, row in enumerate(part, 1)]
            for split, part in loaded.items()}  # fmt: skip
    return with_canonical_golds(rows, golds, verifier, drop=cfg.bad_golds.value == "drop")


def _placed(row: Row, split: str, number: int) -> tuple[str, Row]:
    """Where a row stands, and its columns, `question` and `gold` first."""
    where = row.get(ROW_KEY, f"{split} row {number}")
    if not isinstance(row.get("question"), str) or not row["question"].strip():
        raise UserError(f"{where}: the question is {row.get('question')!r}; expected text.")
    others = {k: v for k, v in row.items() if k not in (ROW_KEY, "question", "gold")}
    return where, {"question": row["question"], "gold": row.get("gold"), **others}


def _split(cfg: DictConfig, rows: dict[str, list[Row]], seed: int) -> dict[str, list[Row]]:
    """Training rows from the front of one seeded permutation, validation rows from its end.

    `train_examples` takes the first of `train_order`.
    """
    train = rows["train"][:]
    random.Random(f"{seed}/split").shuffle(train)
    validation = rows.get("validation")
    if validation is None:
        held_out = round(len(train) * cfg.validation_fraction)
        held_out = max(held_out, 1) if cfg.validation_fraction and len(train) > 1 else 0
        cut = len(train) - held_out
        train, validation = train[:cut], train[cut:]
    wanted = cfg.train_examples
    if wanted is not None and wanted > len(train):
        raise UserError(
            f"dataset.train_examples={wanted}: dataset {cfg.name} has {len(train)} training rows "
            f"(its validation split takes {len(validation)}); use {len(train)} or fewer, or null."
        )
    train = ordered(train, cfg.train_order, cfg.pass_rates)
    return {"train": train[:wanted], "validation": validation, "test": rows["test"]}


def _check_leaks(exemplars: Sequence[Exemplar], rows: Mapping[str, Sequence[Row]]) -> None:
    """An exemplar among the test questions is an error; lesser overlaps are said once."""
    seen = {split: {plain(r["question"]) for r in part} for split, part in rows.items()}
    for number, exemplar in enumerate(exemplars, 1):
        if plain(exemplar.question) in seen["test"]:
            raise UserError(
                f"exemplar {number} is also a test question: {exemplar.question[:80]!r}. "
                "Remove it from dataset.exemplars or from the test split."
            )
    shown = sum(plain(e.question) in seen["train"] | seen["validation"] for e in exemplars)
    if shown:
        log.warning("%d exemplars are also training or validation questions", shown)
    for split in ("train", "validation"):
        if common := len(seen[split] & seen["test"]):
            log.warning("%d %s questions are also test questions", common, split)


def plain(question: str) -> str:
    """Alike for questions that differ in case and white space alone."""
    return " ".join(question.casefold().split())


def _table(rows: Sequence[Row], prompts: RolloutPrompts, shots: int) -> "Dataset":
    from datasets import Dataset

    columns = _columns(rows) or {"question": [], "gold": []}
    asked = [prompts.asked(question, shots) for question in columns["question"]]
    return Dataset.from_dict({"prompt": asked, **columns})


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """All columns that any row has, None where a row lacks one."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _check_columns(rows: Sequence[Row]) -> None:
    import pyarrow

    for name, values in _columns(rows).items():
        try:
            pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError) as error:
            raise UserError(
                f"column {name!r} mixes kinds of values: {str(error).splitlines()[0]}. "
                "Write the column with one type throughout, or remove it."
            ) from None
