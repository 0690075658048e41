"""Kafka's own command-line tools, run with the Java and the jars that the local broker has."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from streamserve.broker.config import class_path_argument
from streamserve.broker.distribution import find_distribution
from streamserve.broker.java import find_java
from streamserve.errors import BrokerUnavailable

__all__ = ["ToolRun", "run_tool"]

_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Djava.awt.headless=true")


@dataclass(frozen=True, slots=True)
class ToolRun:
    """How a tool ended: its exit code, and what it wrote to standard output and error."""

    code: int
    output: str
    complaint: str


def run_tool(main_class: str, arguments: Sequence[str], *, properties: str = "", timeout_s: float = 60.0) -> ToolRun:
    """Run one of Kafka's tools and return how it ended; a start takes about 1.3 s of processor time.

    ``properties`` are settings of Java's clients, given to the tool as ``--command-config`` in a file that only this
    user can read and that is gone afterwards; secrets never stand on a command line.

    Raises:
        LocalBrokerError: there is no Java, or Kafka's jars cannot be had.
        BrokerUnavailable: it did not end in time.
    """
    java, kafka = find_java(), find_distribution()
    with TemporaryDirectory(prefix="streamserve-") as folder:
        class_path, config = Path(folder) / "class-path", Path(folder) / "client.properties"
        class_path.write_text(class_path_argument(kafka.class_path))
        config.write_text(properties)
        start = [str(java.path), *_QUICK, f"@{class_path}", main_class, "--command-config", str(config)]
        try:
            ended = subprocess.run(  # noqa: S603 - the Java that was found, Kafka's own class
                [*start, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerUnavailable(
                f"Kafka's {main_class.rpartition('.')[2]} had no answer in {timeout_s:.0f} s: is the broker running,"
                " and are its listeners reachable from here?"
            ) from error
    return ToolRun(ended.returncode, ended.stdout, ended.stderr)
