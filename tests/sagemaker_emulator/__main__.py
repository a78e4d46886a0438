"""`python tests/sagemaker_emulator --port 5555 --bucket my-bucket`: the emulator until Ctrl-C."""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]


def main() -> None:
    from sagemaker_emulator import ROLE, Emulator

    args = _arguments()
    options = {"stop_grace": args.stop_grace, "gpus": json.loads(args.gpus)}
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Emulator(port=args.port, **options) as emulator:
        if args.bucket:
            emulator.client("s3").create_bucket(Bucket=args.bucket)
        print(f"# isolation: {emulator.mode}; role for launcher.role: {ROLE}")
        for key, value in emulator.env().items():
            print(f"export {key}={value}")
        sys.stdout.flush()
        ended.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5555)
    parser.add_argument("--bucket", help="create this bucket")
    parser.add_argument("--stop-grace", type=float, default=120, help="seconds before SIGKILL")
    parser.add_argument("--gpus", default="{}", help='JSON, e.g. {"ml.g6.12xlarge": 4}')
    return parser.parse_args()


if __name__ == "__main__":
    main()
