"""Scores answers with reasoning_gym, in processes of `rlvr.verify.pool`."""

from typing import Any

from rlvr.gym_tasks import create, decode
from rlvr.verify.pool_worker import Answer, Reply, Request, serve


def start(task: str, config: dict[str, Any]) -> Answer:
    dataset = create(task, {**config, "size": 1, "seed": 0})

    def score(request: Request) -> Reply:
        """{"score": float}, or {"unreadable": text} where the task's own parser raised."""
        entry = {**request["entry"], "metadata": decode(request["entry"]["metadata"])}
        try:
            return {"score": float(dataset.score_answer(request["answer"], entry))}
        except Exception as error:  # whatever it raises on a model's text
            return {"unreadable": f"{type(error).__name__}: {error}"}

    return score


if __name__ == "__main__":
    serve(start)
