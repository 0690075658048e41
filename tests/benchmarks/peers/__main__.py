"""Kills streamserve, Faust and Quix Streams in the same way, and has the same checker judge what each has written.

``python -m tests.benchmarks.peers``: every engine copies the same records from one topic to another, one worker, in its
exactly-once mode. Records come in as many shares as there are kills; the worker dies by SIGKILL up to half a second
after it has committed something of a share, and is started again at once. Peers run in environments of their own, made
from pinned versions. The exit code is 1 where *ours* breaks the contract; what peers do is reported as found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streamserve.broker.server import LocalBroker
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.settings import load_settings
from streamserve.testing.checks import check_app, end_offsets

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[2]
_FAUST_PINNED = _CHECKOUT / "topologies" / "coming_from" / "faust-requirements.txt"
_QUIX_PINNED = _HERE / "quix-requirements.txt"
_PARTITIONS = 4
_KEYS = 100
_SHARE_SECONDS = 60.0
"""How long a share may show no commit before its kill comes all the same."""
_END_SECONDS = 600.0
"""How long a worker that is killed no more may take to the end."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What is killed: ``package`` names it, ``pinned`` its environment (ours has none), ``command`` follows Python."""

    name: str
    package: str
    command: Sequence[str]
    pinned: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables for its program."""


_FAUST = (str(_HERE / "faust_copy.py"), "worker", "--without-web")
ENGINES = {
    engine.name: engine
    for engine in (
        Engine("streamserve", "streamserve", ("-m", "streamserve", "run", "tests.benchmarks.peers.our_copy:app")),
        Engine("faust", "faust-streaming", _FAUST, _FAUST_PINNED),
        Engine("faust-subscribed", "faust-streaming", _FAUST, _FAUST_PINNED, {"PEER_SUBSCRIBED": "1"}),
        Engine("quix", "quixstreams", (str(_HERE / "quix_copy.py"),), _QUIX_PINNED),
    )
}


@dataclass(slots=True)
class Trial:
    """One engine on topics of its own."""

    engine: Engine
    python: Path
    brokers: str
    folder: Path
    app: str
    worker: subprocess.Popen[bytes] | None = None
    silent: int = field(default=0)
    """Kills before which the worker had committed nothing of the share for a minute."""
    ended: int = field(default=0)
    """How often the worker ended by itself."""

    @property
    def input(self) -> str:
        return f"{self.app}-in"

    @property
    def output(self) -> str:
        return f"{self.app}-out"

    def create(self) -> None:
        names = (self.input, self.output, f"{self.app}-dead-letters")
        admin = Admin(load_settings({}, {"bootstrap_servers": self.brokers}))
        admin.create([TopicSpec(name, _PARTITIONS, {}, "a trial") for name in names], partitions=_PARTITIONS)

    def start(self) -> None:
        environment = {
            **os.environ,
            "PEER_APP": self.app,
            "PEER_BROKERS": self.brokers,
            "PEER_INPUT": self.input,
            "PEER_OUTPUT": self.output,
            "STREAMSERVE_BOOTSTRAP_SERVERS": self.brokers,
            "PYTHONPATH": str(_CHECKOUT) if self.engine.pinned is None else "",
            **self.engine.options,
        }
        log = (self.folder / f"{self.engine.name}.log").open("ab")
        with log:
            command = [str(self.python), *self.engine.command]
            # in a folder of its own: peers leave theirs where they run
            self.worker = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()

    def revive(self) -> None:
        """Start the worker again if it has ended by itself."""
        if self.worker is not None and self.worker.poll() is not None:
            self.ended += 1
            time.sleep(1)
            self.start()

    def feed(self, uids: Sequence[int]) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.brokers,
                "partitioner": "murmur2_random",  # as Java's clients and Faust do: a copy keeps its partition
                "linger.ms": 5,
                "enable.idempotence": True,
            }
        )
        for uid in uids:
            producer.produce(self.input, json.dumps({"uid": uid}).encode(), f"key-{uid % _KEYS}".encode())
        if producer.flush(60):
            raise SystemExit(f"{self.brokers} does not take the records")

    def done(self) -> int:
        """Return how many inputs are below the committed offsets; 0 while nobody can say."""
        reader = Consumer({"bootstrap.servers": self.brokers, "group.id": self.app})
        try:
            found = reader.committed([TopicPartition(self.input, number) for number in range(_PARTITIONS)], 30)
        except KafkaException:
            return 0
        finally:
            reader.close()
        return sum(max(0, item.offset) for item in found)

    def wait_for(self, inputs: int, seconds: float) -> bool:
        """Return whether ``inputs`` were committed in time."""
        give_up = time.monotonic() + seconds
        while self.done() < inputs:
            if time.monotonic() > give_up:
                return False
            self.revive()
            time.sleep(0.1)
        return True


def storm(trial: Trial, records: int, kills: int, chance: random.Random) -> None:
    """Feed ``trial`` share by share, and kill its worker in each."""
    share = -(-records // (kills + 1))
    trial.start()
    for number in range(kills):
        before = trial.done()
        trial.feed(range(number * share, (number + 1) * share))
        trial.silent += not trial.wait_for(before + 1, _SHARE_SECONDS)
        time.sleep(chance.random() * 0.5)
        trial.kill()
        trial.start()
    trial.feed(range(kills * share, records))
    trial.wait_for(sum(end_offsets(trial.brokers, [trial.input]).values()), _END_SECONDS)
    trial.kill()


def judged(trial: Trial, seconds: float) -> dict[str, object]:
    """Return what the checker finds, as plain data."""
    report = check_app(
        trial.brokers,
        group=trial.app,
        input_topics=[trial.input],
        output_topics=[trial.output],
        dead_letter_topic=f"{trial.app}-dead-letters",
        uid_of_input=_uid,
        uid_of_output=_uid,
    )
    return {
        "version": _version(trial),
        "inputs": report.inputs,
        "unfinished": report.inputs - report.committed,
        **report.counts(),
        "silent_shares": trial.silent,
        "ended_by_itself": trial.ended,
        "seconds": round(seconds, 1),
    }


def _uid(value: bytes) -> int:
    return int(json.loads(value)["uid"])


def _version(trial: Trial) -> str:
    if trial.engine.pinned is None:
        return version(trial.engine.package)
    lines = trial.engine.pinned.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{trial.engine.package}=="))


def python_of(engine: Engine, folder: Path) -> Path:
    """Return the Python that runs ``engine``: this one, or that of an environment below ``folder``, made if missing."""
    if engine.pinned is None:
        return Path(sys.executable)
    home = folder / engine.package
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(engine.pinned)]
        subprocess.run(command, check=True)
    return python


def run(
    engine: Engine, brokers: str, environments: Path, folder: Path, options: Mapping[str, int]
) -> dict[str, object]:
    """Run one trial from its topics to its verdict."""
    trial = Trial(engine, python_of(engine, environments), brokers, folder, f"{engine.name}-{uuid4().hex[:8]}")
    trial.create()
    began = time.monotonic()
    try:
        storm(trial, options["records"], options["kills"], random.Random(options["seed"]))  # noqa: S311 - no secrets
    finally:
        trial.kill()
    return judged(trial, time.monotonic() - began)


def main() -> int:
    """Run the trials one after the other and print a JSON object; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", default=",".join(ENGINES), help="some of these")
    parser.add_argument("--brokers", help="a Kafka (default: a local one for this run)")
    parser.add_argument("--environments", type=Path, help="where peers' environments are, or are made to stay")
    parser.add_argument("--logs", type=Path, help="where workers' logs stay")
    given = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    options = {"records": given.records, "kills": given.kills, "seed": given.seed}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        brokers = given.brokers or stack.enter_context(LocalBroker(scratch / "broker")).address
        for name in given.engines.split(","):
            environments, logs = given.environments or scratch, given.logs or scratch
            found[name] = run(ENGINES[name], brokers, environments, logs, options)
            print(json.dumps({name: found[name]}), file=sys.stderr, flush=True)
    print(json.dumps({**options, "engines": found}))
    ours = found.get("streamserve", {})
    wrong = ("unfinished", "lost", "duplicated", "reordered", "torn", "premature", "phantom")
    return 1 if any(ours.get(name, 0) for name in wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
