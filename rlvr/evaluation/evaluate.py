"""Answer the questions of a task, judge the answers, and keep both."""

import json
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.digests import digest
from rlvr.evaluation.identity import question_id
from rlvr.evaluation.store import Samples, Store
from rlvr.result import write_atomic
from rlvr.verify.judge import judge

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlvr.evaluation.tasks import Task
    from rlvr.sampling.engine import Engine, Sampling

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Asker:
    """A model and how it is asked. `inference` lends the model, ready to sample from."""

    engine: "Engine"
    tokenizer: "PreTrainedTokenizerBase"
    inference: "Callable[[], AbstractContextManager[PreTrainedModel]]"
    identity: Mapping[str, Any]  # of the model
    sampling: "Sampling"
    seed: int
    k: int
    batch_size: int  # completions at a time
    ranks: int = 1

    def asked(self, task: "Task") -> dict[str, Any]:
        """All that decides what is answered to a prompt, for the name of the store."""
        greedy = self.sampling.temperature == 0
        drawn = {} if greedy else {**asdict(self.sampling), "seed": self.seed}
        return {
            "model": dict(self.identity),
            "engine": self.engine.name,
            "max_new_tokens": self.sampling.max_new_tokens,
            "sampling": drawn,
            "k": self.k,
            "stop": asdict(task.stop),
        }


def evaluate(
    asker: Asker,
    task: "Task",
    *,
    root: Path,
    file: Path,
    progress: Progress = lambda done, total: None,
) -> Rows:
    """One row for each question of `task`, in its order; also as `file`.

    What the model has answered before, in any process that keeps its answers below `root`, is not
    asked again. Batches are cut from the questions alone, longest prompt first, so that one that
    does not fit into memory fails at once, and so that an interruption, the order of the questions
    and the number of processes change nothing.
    """
    store = Store(root, asker.asked(task))
    keys = _keys(task.questions)
    prompts = dict(zip(keys, (q["prompt"] for q in task.questions), strict=True))
    order = sorted(prompts, key=lambda key: (-len(prompts[key]), key))
    size = max(1, asker.batch_size // asker.k)
    batches = _in_own_order([order[start : start + size] for start in range(0, len(order), size)])
    store.refresh()
    known = len(keys) - len(store.missing(keys))
    if known and not task.is_rule:  # of a rule's answers most were given a moment ago
        log.info("%s: %d of %d answers are known (%s)", task.name, known, len(keys), store.folder)
    # Ranks must borrow sharded weights together, also those that find nothing left to ask.
    if asker.ranks > 1 or store.missing(keys):
        with asker.inference() as model:
            progress(known, len(keys))
            for _ in _answered(batches, store, lambda new: _ask(asker, model, task, new, prompts)):
                progress(len(keys) - len(store.missing(keys)), len(keys))
    rows = _judged(task, [store.known[key] for key in keys])
    write_atomic(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return rows


def _keys(questions: Sequence[Mapping[str, Any]]) -> list[str]:
    """By prompt; a prompt that is asked again has draws of its own."""
    seen: Counter[str] = Counter()
    keys = []
    for question in questions:
        keys.append(digest([question["prompt"], seen[question["prompt"]]]))
        seen[question["prompt"]] += 1
    return keys


def _in_own_order(batches: list[list[str]]) -> deque[list[str]]:
    """The longest first, then each process from another place on: those that work at the same
    time on machines without a common file system do not all answer the same batch."""
    first, rest = batches[:1], batches[1:]
    turn = int(digest([socket.gethostname(), os.getpid()]), 16) % max(1, len(rest))
    return deque([*first, *rest[turn:], *rest[:turn]])


def _answered(
    batches: deque[list[str]], store: Store, ask: Callable[[list[str]], dict[str, Samples]]
) -> Iterator[None]:
    """Answer each batch that no other process answers; wait for those at the end."""
    put_off = 0  # batches in a row that others were at
    while batches:
        keys = batches.popleft()
        with store.claim(keys, wait=put_off > len(batches)) as mine:
            put_off = 0 if mine else put_off + 1
            if not mine:
                batches.append(keys)
            elif new := store.missing(keys):
                store.add(ask(new))
        if mine:
            yield


def _ask(
    asker: Asker,
    model: "PreTrainedModel",
    task: "Task",
    keys: Sequence[str],
    prompts: Mapping[str, str],
) -> dict[str, Samples]:
    """Each sample has random numbers of its own, from seed, prompt and place among the k."""
    k = asker.k
    ids = asker.tokenizer(text=[prompts[key] for key in keys for _ in range(k)])["input_ids"]
    seeds = [int(digest([asker.seed, key, i]), 16) for key in keys for i in range(k)]
    drawn = asker.engine.sample(model, ids, asker.sampling, task.stop, seeds)
    parts = {key: slice(n * k, (n + 1) * k) for n, key in enumerate(keys)}
    tokens = [len(row) for row in drawn.ids]
    return {
        key: Samples(drawn.texts[part], tokens[part], drawn.ended[part])
        for key, part in parts.items()
    }


def _judged(task: "Task", answers: Sequence[Samples]) -> Rows:
    asked = [q for q, a in zip(task.questions, answers, strict=True) for _ in a.texts]
    verdicts = iter(judge(task.verifier, asked, [t for a in answers for t in a.texts]))
    return [
        _row(question, said, [next(verdicts) for _ in said.texts])
        for question, said in zip(task.questions, answers, strict=True)
    ]


def _row(question: Mapping[str, Any], said: Samples, verdicts: Sequence[Any]) -> dict[str, Any]:
    ran = [v.execution and asdict(v.execution) for v in verdicts]
    return {
        "index": question["index"],
        "id": question_id(question),
        "question": question["question"],
        "gold": question["gold"],
        "correct": [v.correct for v in verdicts],
        "reward": [v.reward for v in verdicts],
        "reason": [v.reason.value for v in verdicts],
        "extracted": [v.extracted for v in verdicts],
        "format_ok": [v.format_ok for v in verdicts],
        "tokens": said.tokens,
        "ended": said.ended,
        "completion": said.texts,
        **({"execution": ran} if any(ran) else {}),
    }
