"""What becomes of each job of an earlier sweep: kept, waited for, run again, or left as it is."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rlvr.dotted_keys import is_of_the_run, override_key
from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State

KEPT = "kept"
ATTACHED = "still running, waited for"
AGAIN = "run again"
CHANGED = "run anew, their configuration has changed"
NEW = "new"
OTHERS = "not in this request, left as they are"


class Resume:
    """`earlier` are the jobs of the record that no request has taken yet.

    `result_of` is what a job has left, `attachable` whether one that was handed to a cluster can
    still be waited for, `end_run` ends the MLflow run of a job that could not do so itself.
    `complete` are the states that are kept.
    """

    def __init__(
        self,
        record: Manifest,
        earlier: list[Job],
        result_of: Callable[[Job], Result | None],
        attachable: Callable[[Job], bool],
        end_run: Callable[[Job, State], None],
        complete: Sequence[State] = (State.finished, State.pruned),
    ) -> None:
        self.record, self.earlier = record, earlier
        self.result_of, self.attachable, self.end_run = result_of, attachable, end_run
        self.complete = complete
        self.labels: dict[str, list[str]] = {}

    def match(self, composed: Sequence[Job]) -> list[Job]:
        """The record's job for each composed one, in their order; new ones join the record.

        Raises UserError, before anything is changed, where a job still runs that must not.
        """
        same = [self._take(lambda old, h=new.hash: old.hash == h) for new in composed]  # type: ignore[misc]
        pairs = [
            (new, old or self._take(lambda old, n=new: wanted(old) == wanted(n)))  # type: ignore[misc]
            for new, old in zip(composed, same, strict=True)
        ]
        states = [None if old is None else self._state(old, new) for new, old in pairs]
        return [
            self._add(new) if old is None or state is None else self._take_up(new, old, state)
            for (new, old), state in zip(pairs, states, strict=True)
        ]

    def describe(self) -> str:
        self.labels[OTHERS] = [job.label for job in self.earlier]
        order = (KEPT, ATTACHED, AGAIN, CHANGED, NEW, OTHERS)
        listed = [(what, self.labels.get(what)) for what in order]
        return "\n".join(f"  {what}: {'; '.join(labels)}" for what, labels in listed if labels)

    def _take(self, test: Callable[[Job], bool]) -> Job | None:
        found = sorted(filter(test, self.earlier), key=lambda job: not job.state.complete)
        if found:
            self.earlier.remove(found[0])
        return found[0] if found else None

    def _state(self, old: Job, new: Job) -> State:
        """`running` only where the job can be waited for."""
        state = old.true_state()
        if old.is_remote():
            state = State.running if self.attachable(old) else State.lost
        elif state is State.running:
            raise UserError(
                f"{old.label} still runs as process {old.pid}: wait for it, or stop it with "
                f"`kill {old.pid}`, then resume"
            )
        if state is State.running and old.hash != new.hash:
            raise UserError(f"{old.label} still runs, with another configuration: stop it first")
        return state

    def _add(self, new: Job) -> Job:
        new.index = max(self.record.next_index(), new.index)
        self.record.jobs.append(new)
        self._say(NEW, new.label)
        return new

    def _take_up(self, new: Job, old: Job, state: State) -> Job:
        if state is State.running:
            self._say(ATTACHED, old.label)
        elif old.hash != new.hash:
            self._end(old, state)
            set_aside(old.directory)
            new.index = old.index
            old.retire()
            new.spent, new.attempts = old.spent, old.attempts
            self.record.jobs[self.record.jobs.index(old)] = new
            self._say(CHANGED, new.label)
            return new
        else:
            self._keep_or_repeat(old, state)
        old.config, old.overrides = new.config, new.overrides
        return old

    def _keep_or_repeat(self, old: Job, state: State) -> None:
        result = self.result_of(old)
        if result is not None and result.status in self.complete:
            self._end(old, result.status)
            old.state, old.value, old.error = result.status, result.metric, result.error
            self._say(KEPT, old.label)
        else:
            state = State.lost if state in self.complete else state
            self._end(old, state)
            old.retire()
            old.value = old.error = None
            self._say(AGAIN, f"{old.label} ({state})")

    def _end(self, old: Job, state: State) -> None:
        old.pid = old.pid_started = None
        if old.state is State.running:
            self.end_run(old, state)

    def _say(self, what: str, label: str) -> None:
        self.labels.setdefault(what, []).append(label)


def refuse_others(record: Manifest, composed: Sequence[Job]) -> None:
    """Raise UserError for jobs that the record lacks."""
    hashes, asked = {job.hash for job in record.jobs}, [wanted(job) for job in record.jobs]
    others = [job for job in composed if job.hash not in hashes and wanted(job) not in asked]
    if others:
        names = [job.name for job in others[:8]]
        more = f" and {len(others) - 8} more" if len(others) > 8 else ""
        raise UserError(
            f"the sweep does not have {len(others)} of the jobs asked for, so nothing was "
            f"started: {'; '.join(names)}{more}. `launcher.resume=NAME` with nothing else goes "
            "on with the jobs that it has; launcher.extend=true adds these to them."
        )


def wanted(job: Job) -> list[str]:
    """The overrides that decide what the job computes."""
    return sorted(o for o in job.overrides if is_of_the_run(override_key(o)))


def set_aside(directory: Path) -> None:
    """Keep the results of a configuration that has changed: `2` becomes `2.old-1`."""
    if not directory.exists():
        return
    number = 1
    while (target := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    directory.rename(target)
