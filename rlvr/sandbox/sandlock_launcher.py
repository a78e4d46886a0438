"""Starts a command in sandlock: `sandlock_launcher.py PACKAGES READABLE COMMAND`, lists as JSON."""

import json
import sys


def main(packages: str, readable: str, command: str) -> int:
    """The command's exit code; `packages` is where sandlock is installed."""
    sys.path.append(packages)
    from sandlock import Sandbox

    sandbox = Sandbox(
        fs_readable=json.loads(readable),
        fs_writable=["/dev/null"],
        clean_env=True,
        env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
    )
    return int(sandbox.run_interactive(json.loads(command)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
