"""Starts a command in sandlock: `sandlock_launcher.py PACKAGES READABLE ENVIRONMENT COMMAND`.

All but the first are JSON."""

import json
import sys


def main(packages: str, readable: str, environment: str, command: str) -> int:
    """The command's exit code; `packages` is where sandlock is installed."""
    sys.path.append(packages)
    from sandlock import Sandbox

    sandbox = Sandbox(
        fs_readable=json.loads(readable),
        fs_writable=["/dev/null"],
        clean_env=True,
        env=json.loads(environment),
    )
    return int(sandbox.run_interactive(json.loads(command)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
