"""The README's first app meets a real Kafka: its own commands, in order, say what stands under them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamserve.testing.checks import read_topic
from tests import readme
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

HEADING = "Your first app"
ELSEWHERE = ("python3 -m venv", "pip install", "mkdir", "streamserve broker start")
"""What these commands make is here already."""
PROGRAMS = {"python": [sys.executable], "streamserve": [sys.executable, "-m", "streamserve"]}


class Reader:
    """Somebody who copies what the README shows into a folder; names get a suffix, for others use the broker too."""

    def __init__(self, folder: Path, brokers: str) -> None:
        self.suffix = f"{time.time_ns():x}"
        self._folder = folder
        self._environment = {**os.environ, "STREAMSERVE_BOOTSTRAP_SERVERS": brokers}

    def renamed(self, text: str) -> str:
        """Return ``text`` with topics, app and module under names of their own."""
        return re.sub(r"\b(rides|tips)\b", rf"\1_{self.suffix}", text)

    def write(self) -> None:
        """Write the two files."""
        train, app = readme.under(HEADING, "python")
        (self._folder / "train.py").write_text(train)
        (self._folder / f"rides_{self.suffix}.py").write_text(self.renamed(app))

    def commands(self) -> Iterator[readme.Command]:
        """Yield what is to be typed, and what it is said to answer."""
        for command in readme.story(HEADING):
            if not command.line.startswith(ELSEWHERE):
                yield readme.Command(self.renamed(command.line), self.renamed(command.said))

    def answer(self, line: str) -> str:
        """Run ``line``; return what it says."""
        ended = subprocess.run(
            self._arguments(line), cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{line}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    @contextmanager
    def running(self, line: str) -> Generator[Path]:
        """Run ``line`` beside the block; yields the file of what it says."""
        log = self._folder / "run.log"
        with (
            log.open("wb") as said,
            subprocess.Popen(self._arguments(line), cwd=self._folder, env=self._environment, stderr=said) as worker,
        ):
            try:
                yield log
            finally:
                worker.terminate()
                worker.wait(60)
        assert worker.returncode == 0

    def _arguments(self, line: str) -> list[str]:
        program, *arguments = shlex.split(line)
        return [*PROGRAMS[program], *arguments]


def test_the_first_app_answers_what_the_readme_shows(brokers: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, brokers)
    reader.write()
    train, check, create, run, send, read = reader.commands()
    for command in (train, check, create):
        assert command.matches(reader.answer(command.line)), command
    with reader.running(run.line) as log:
        assert send.matches(reader.answer(send.line))
        wait_until(lambda: len(read_topic(brokers, f"tips_{reader.suffix}")) == 1, "a prediction", 60)
        assert read.matches(reader.answer(read.line))
    assert run.matches(log.read_text())
