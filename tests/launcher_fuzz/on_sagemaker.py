"""Sweeps of pretended SageMaker jobs, on an emulator where much goes wrong."""

import random
from collections import defaultdict
from pathlib import Path

from sagemaker_emulator import Emulator, Ending, Pretend
from sagemaker_emulator.ledger import Entry, Ledger

from launcher_fuzz.campaign import Campaign, Fuzzed
from launcher_fuzz.controllers import Controllers
from rlvr.launchers.sagemaker import pricing
from rlvr.manifest import Manifest, load

APP = Path(__file__).parents[1] / "launchers/sagemaker/app/app.py"
BUCKET = "fuzz-{region}"
REGIONS = ("us-east-1", "us-west-2")
TYPES = ("ml.m5.xlarge", "ml.c5.xlarge", "ml.m5.2xlarge")
SPEED = 600.0


def pretend() -> Pretend:
    return Pretend(speed=SPEED, tag="rlvr.index")


def prepare(emulator: Emulator, folder: Path) -> Path:
    """Buckets, and a table with the same prices in all regions."""
    for region in REGIONS:
        client = emulator.client("s3", region)
        where = {"LocationConstraint": region}
        more = {} if region == REGIONS[0] else {"CreateBucketConfiguration": where}
        client.create_bucket(Bucket=BUCKET.format(region=region), **more)
    lines = pricing.SHIPPED.read_text(encoding="utf-8").splitlines()
    prices = folder / "prices.yaml"
    prices.write_text("\n".join(line for line in lines if not line.startswith("region")))
    return prices


def is_lossy(seed: int) -> bool:
    """Results may be missing, so that a job which has finished has to run again."""
    return random.Random(f"lossy {seed}").random() < 0.15


def draw(seed: int, emulator: Emulator, prices: Path) -> Fuzzed:
    """The sweep's settings; the emulator's faults and its jobs' courses are set."""
    rng, lossy = random.Random(seed), is_lossy(seed)
    jobs, spot = rng.randint(2, 5), rng.random() < 0.4
    fallbacks = list(TYPES[1 : rng.randint(1, 3)])
    settings = {
        "n_jobs": rng.randint(1, jobs),
        "spot": str(spot).lower(),
        "warm_pool": 0 if spot or rng.random() < 0.6 else 600,
        "retries": rng.randint(1, 3),
        "fallback_instance_types": f"[{','.join(fallbacks)}]",
        "poll_seconds": 0.1,
        "max_runtime": rng.choice([900, 3000]),
        "on_interrupt": rng.choice(["stop", "detach"]),
        "bucket": f"'{BUCKET}'",
    }
    more = {"prices": str(prices)}
    if rng.random() < 0.5:
        more["regions"] = "[us-west-2]"
    if spot:
        more["on_demand_fallback"] = str(rng.random() < 0.7).lower()
    overrides = [f"shots={','.join(map(str, range(jobs)))}"]
    overrides += [f"launcher.{key}={value}" for key, value in settings.items()]
    overrides += [f"+launcher.{key}={value}" for key, value in more.items()]
    overrides += ["+launcher.exclude=[/rlvr,/conf,/launchers,/examples]"]  # nothing of it is run
    _pretences(rng, emulator.pretend)
    _faults(rng, emulator, spot=spot, lossy=lossy)
    return Fuzzed(seed, overrides)


def _pretences(rng: random.Random, jobs: Pretend | None) -> None:
    assert jobs is not None
    jobs.seed, jobs.reclaimed = rng.randrange(2**31), rng.choice([0.0, 0.3, 0.6])
    jobs.endings = {
        Ending.completed: 0.75,
        Ending.no_capacity: rng.choice([0.0, 0.15]),
        Ending.internal_error: rng.choice([0.0, 0.1]),
        Ending.failed: rng.choice([0.0, 0.1]),
        Ending.overruns: rng.choice([0.0, 0.05]),
    }


def _faults(rng: random.Random, emulator: Emulator, *, spot: bool, lossy: bool) -> None:
    faults = emulator.faults
    faults.throttle = {"*": rng.choice([0, 0, 2, 3, 5])}
    faults.quotas = {TYPES[0]: rng.randint(1, 3)} if rng.random() < 0.4 else {}
    faults.lost_answers = rng.choice([0, 0, 1, 3])
    faults.lost_stops, faults.deaf_stops = rng.choice([0, 1]), rng.choice([0, 1])
    faults.ignored_stops = rng.choice([0, 0, 1])
    faults.fail_puts, faults.fail_gets = rng.choice([0, 3, 9]), rng.choice([0, 3])
    faults.truncated_gets = rng.choice([0, 0, 2])
    faults.empty_pages, faults.throttled_pages = rng.choice([0, 2]), rng.choice([0, 8])
    faults.clock_skew = rng.choice([0.0, 0.0, 7200.0, -7200.0])
    if rng.random() < 0.3:
        faults.no_capacity_for = {(REGIONS[0], TYPES[0], spot)}
    if lossy:
        faults.missing_outputs = faults.missing_copies = 1


class SageMakerCampaign(Campaign):
    app = APP

    def __init__(
        self,
        fuzzed: Fuzzed,
        controllers: Controllers,
        folder: Path,
        emulator: Emulator,
        cache: Path,
    ) -> None:
        super().__init__(fuzzed, controllers, folder)
        self.emulator = emulator
        self.environment |= {
            **emulator.env(),
            "XDG_CACHE_HOME": str(cache),
            "RLVR_TEST_APP": str(APP.parent),
        }

    def calm(self) -> None:
        self.emulator.faults.clear()

    def start(self) -> list[str]:
        detached = ["+launcher.detach=true"] if self.rng.random() < 0.2 else []
        return super().start() + detached

    def go_on(self) -> list[str]:
        """By the sweep's own command, or by its record: here or on another machine."""
        directory, how = self.directory(), self.rng.random()
        cloud = load(directory).cloud if directory else None
        if cloud is None or how < 0.6:
            return super().go_on()
        once = ["--once"] if self.rng.random() < 0.3 else []
        return ["rlvr", "jobs", "watch", str(directory) if how < 0.8 else cloud["uri"], *once]

    def problems(self, record: Manifest) -> list[str]:
        ledger = self.emulator.ledger()
        self.fuzzed.attempts = len(ledger.entries)
        return [
            *_doubled(ledger, lossy=is_lossy(self.fuzzed.seed)),
            *(f"{entry.name} is an orphan ({entry.status})" for entry in ledger.alive),
            *(f"{entry.name} is kept warm" for entry in ledger.warm),
            *_under_reported(record, ledger),
        ]


def _doubled(ledger: Ledger, *, lossy: bool) -> list[str]:
    """Attempts of one job that lived at the same time, or after one that had succeeded."""
    jobs: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger.entries:
        jobs[entry.tags["rlvr.index"]].append(entry)
    wrong = []
    for attempts in jobs.values():
        for i, entry in enumerate(attempts):
            before = attempts[:i]
            alive = [e.name for e in before if e.ended is None or e.ended > entry.created]
            done = [e.name for e in before if e.status == "Completed" and not lossy]
            if alive or done:
                wrong.append(f"{entry.name} was started beside {', '.join(alive + done)}")
    return wrong


def _under_reported(record: Manifest, ledger: Ledger) -> list[str]:
    table, true = pricing.prices("us-east-1"), 0.0
    assert table is not None
    for entry in ledger.entries:
        price = table.hourly(entry.instance_type, entry.instances, entry.volume_gb)
        assert price is not None
        true += price[0] * (entry.billed_seconds + entry.idle_seconds) / 3600
        true += price[1] * (entry.training_seconds + entry.idle_seconds) / 3600
    told = sum(job.spent + ((job.remote or {}).get("cost") or 0.0) for job in record.jobs)
    slack = 0.0001 * len(ledger.entries)  # a second of rounding each
    return [f"${told:.4f} was told of ${true:.4f}"] if told < true - slack else []
