"""`launcher.dry_run=true`: every request of a sweep as it would be sent, and nothing else."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rlvr.launchers.sagemaker import budget, pricing
from rlvr.launchers.sagemaker.runner import SageMakerRunner
from rlvr.launchers.sagemaker.submit import Queue
from rlvr.sweep.controller import Sweep


def print_requests(sweep: Sweep, job_overrides: Sequence[Sequence[str]], first_index: int) -> None:
    """The sweep's own queue, on a storage that keeps nothing: it is asked for its requests.

    Ids that only a real sweep has (its own, the ends of job names, MLflow's) are others each time.
    Uploads nothing, creates nothing, and asks AWS nothing but who the caller is.
    """
    runner = SageMakerRunner()
    jobs = sweep.compose(job_overrides, first_index)
    submissions = runner.plan(jobs, sweep, dry=True)
    with tempfile.TemporaryDirectory() as folder:
        sweep.rehearse(jobs, Path(folder))
        runner.make_ready(sweep, submissions)
        queue, builder = Queue(sweep, runner.regions), runner.builder
        archives = [builder.code(s, s.next.place) for s in submissions]
        print(budget.announce(submissions, already=0.0))
        print(*sorted({name for archive in archives for name in archive.files}), sep="\n")
        for submission in submissions:
            _, request = queue.request(submission)
            most = pricing.describe(submission.highest_cost)
            print(f"\n# job {submission.job.label}; at most {most}")
            print(json.dumps(request, indent=2))
