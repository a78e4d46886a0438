"""Follows the CloudWatch streams of one job into one file, those of spot restarts included."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rlvr.launchers.sagemaker.bootstrap import END_OF_LOG
from rlvr.launchers.sagemaker.service import GROUP, Service, code


@dataclass
class LogFollower:
    """`poll` appends what is new. The file is written anew by each follower, so nothing doubles."""

    service: Service
    job: str
    file: Path
    complete: bool = False
    _tokens: dict[str, str] = field(default_factory=dict)
    _lives: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("", encoding="utf-8")

    def poll(self) -> int:
        """Number of new lines. Each page is written before the next is asked for."""
        count = 0
        for stream in self._streams():
            for lines in self._pages(stream):
                with self.file.open("a", encoding="utf-8") as out:
                    out.writelines(f"{line}\n" for line in lines)
                count += len(lines)
        return count

    def _streams(self) -> list[str]:
        from botocore.exceptions import ClientError

        try:
            pages = self.service.logs.get_paginator("describe_log_streams").paginate(
                logGroupName=GROUP, logStreamNamePrefix=f"{self.job}/"
            )
            found = [s for page in pages for s in page["logStreams"]]
        except ClientError as error:
            if code(error) == "ResourceNotFoundException":
                return []
            raise
        found.sort(key=lambda stream: (stream.get("creationTime", 0), stream["logStreamName"]))
        return [str(stream["logStreamName"]) for stream in found]

    def _pages(self, stream: str) -> Iterator[list[str]]:
        """New lines of one stream; the first ones are preceded by whose they are."""
        while True:
            token = self._tokens.get(stream)
            more = {"nextToken": token} if token else {}
            page = self.service.logs.get_log_events(
                logGroupName=GROUP, logStreamName=stream, startFromHead=True, **more
            )
            lines = [str(event["message"]).rstrip("\n") for event in page["events"]]
            if lines:
                yield [*self._heading(stream), *lines]
            # a new life of the job writes to a new stream, so an end seen before was not the last
            if any(line.startswith(END_OF_LOG) for line in lines):
                self.complete = True
            # a page may be empty with more behind it: only the same token again is the end
            if page["nextForwardToken"] == token:
                return
            self._tokens[stream] = page["nextForwardToken"]

    def _heading(self, stream: str) -> list[str]:
        if stream in self._lives:
            return []
        host = stream.rpartition("/")[2].rpartition("-")[0]
        self._lives[stream] = 1 + sum(1 for s in self._lives if f"/{host}-" in s)
        when = time.strftime("%H:%M:%S")
        return [f"[rlvr] ---- {host}, start {self._lives[stream]} ({stream}, seen {when})"]
