"""The tables of docs/rewards.md as data: tests run them line by line."""

import re
from pathlib import Path

REWARDS = Path(__file__).parents[1] / "docs" / "rewards.md"
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")


def rows(section: str, first_cell: str) -> list[list[list[str]]]:
    """For each row of a table its cells, each as the texts it shows as code.

    The table stands in the section named, and its header begins with `first_cell`. A cell without
    code is its words. ⏎ is a line break.
    """
    text = REWARDS.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    (table,) = (lines for lines in tables if cells(lines[0])[0] == [first_cell])
    return [cells(line) for line in table[2:]]


def cells(line: str) -> list[list[str]]:
    parts = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [_code(part) or [part.strip()] for part in parts]


def _code(cell: str) -> list[str]:
    found = [match[2] for match in _CODE.finditer(cell)]
    spaced = [code[1:-1] if re.fullmatch(r" .*`.* ", code) else code for code in found]
    return [code.replace("⏎", "\n").replace(r"\|", "|") for code in spaced]
