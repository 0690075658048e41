"""Runs the ported app and the Faust app of the page on one broker, and compares what became of the same posts.

``python -m topologies.coming_from.compare``: Faust gets an environment of its own, made from pinned versions, and the
program text that the page shows. The exit code is 1 where tables or scores differ from each other, or from a count that
uses neither engine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
import venv
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streamserve.broker.server import LocalBroker
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.settings import load_settings
from streamserve.testing.checks import ReadRecord, read_topic

__all__ = ["faust_program", "made_up_posts", "words_in"]

_HERE = Path(__file__).parent
_APP = "topologies.coming_from.words:app"
_FAUST_TOPICS = ("faust-words", "faust-scores")
_FAUST_TABLE = "faust-words-counts-changelog"
_PATIENCE_SECONDS = 600.0
_WORDS = ("stream", "table", "agent", "offset", "Key", "window", "BROKER", "topic", "lag", "commit", "ünïcode", "漢字")


def made_up_posts(count: int, *, seed: int = 7) -> list[dict[str, str]]:
    """Return ``count`` posts of twenty users, the same for the same ``seed``."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    return [
        {
            "user": f"user-{chance.randrange(20)}",
            "text": " ".join(chance.choices(_WORDS, k=chance.randrange(1, 9))) + "!" * chance.randrange(4),
        }
        for _ in range(count)
    ]


def words_in(posts: Sequence[Mapping[str, str]]) -> Counter[str]:
    """Return how often each word occurs: the count that uses no engine.

    >>> words_in([{"text": "Key key lag!"}])["key"]
    2
    """
    return Counter(word for post in posts for word in post["text"].lower().split())


def faust_program() -> str:
    """Return the Faust app as the page shows it."""
    page = (_HERE / "README.md").read_text(encoding="utf-8")
    return next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "import faust" in block)


def main() -> int:
    """Run both and print the result as JSON; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=500)
    parser.add_argument("--brokers", help="a Kafka without topics of these names (default: a local one for this run)")
    parser.add_argument(
        "--environment", type=Path, help="where Faust's environment is, or is made to stay (default: made for this run)"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        faust = _faust_environment(options.environment or scratch / "faust")
        brokers = options.brokers or stack.enter_context(LocalBroker(scratch / "broker")).address
        result = _compare(scratch, brokers, faust, made_up_posts(options.posts))
    print(json.dumps(result, ensure_ascii=False))
    return 0 if result["same"] else 1


def _faust_environment(folder: Path) -> Path:
    """Return the Python of the environment in ``folder``, made from the pinned versions if there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pinned = str(_HERE / "faust-requirements.txt")
        _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", pinned], os.environ)
    return python


def _compare(scratch: Path, brokers: str, faust: Path, posts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    environment = {**os.environ, "STREAMSERVE_BOOTSTRAP_SERVERS": brokers, "BROKERS": brokers, "PYTHONPATH": os.curdir}
    environment["MODEL"] = str(_HERE / "models" / "clickbait" / "1" / "model.onnx")
    expected = words_in(posts)
    if _exists(brokers, "posts"):
        raise SystemExit(f"{brokers} has a topic 'posts': name a Kafka without one, or leave --brokers out")
    _ours(environment, "topics", "create", _APP, "--partitions", "4")
    _ours(environment, "send", _APP, "posts", text="\n".join(json.dumps(post) for post in posts))
    _admin(brokers).create([TopicSpec(topic, 4, {}, "Faust's") for topic in _FAUST_TOPICS], partitions=4)
    program = scratch / "faust_words.py"
    program.write_text(faust_program(), encoding="utf-8")
    command = [str(faust), str(program), "--datadir", str(scratch / "data"), "worker", "--without-web"]

    def faust_is_done() -> bool:
        return _faust_table(brokers).total() >= expected.total() and _count(brokers, "faust-scores") >= len(posts)

    def ours_is_done() -> bool:
        return _our_table(environment).total() >= expected.total() and _count(brokers, "scores") >= len(posts)

    _run_until(faust_is_done, command, environment, scratch / "faust.log")
    _run_until(ours_is_done, [sys.executable, "-m", "streamserve", "run", _APP], environment, scratch / "ours.log")
    return _result(posts, _faust_table(brokers), _our_table(environment), brokers)


def _result(
    posts: Sequence[Mapping[str, str]], theirs: Counter[str], ours: Counter[str], brokers: str
) -> dict[str, Any]:
    expected = words_in(posts)
    faust_scores, our_scores = (_scores(brokers, topic) for topic in ("faust-scores", "scores"))
    return {
        "posts": len(posts),
        "words": expected.total(),
        "keys": len(expected),
        "faust table is right": theirs == expected,
        "our table is right": ours == expected,
        "scores": [len(faust_scores), len(our_scores)],
        "scores are equal": faust_scores == our_scores,
        "same": theirs == ours == expected and faust_scores == our_scores and len(our_scores) == len(posts),
    }


def _our_table(environment: Mapping[str, str]) -> Counter[str]:
    """Return our table, as the command line shows it."""
    shown = json.loads(_ours(environment, "tables", "show", _APP, "counts", "--limit", "1000000", "--json"))
    return Counter(shown["values"])


def _faust_table(brokers: str) -> Counter[str]:
    """Return Faust's table, read from its changelog."""
    last: dict[bytes, bytes | None] = {record.key or b"": record.value for record in _records(brokers, _FAUST_TABLE)}
    return Counter({json.loads(key): json.loads(value) for key, value in last.items() if value is not None})


def _scores(brokers: str, topic: str) -> list[tuple[bytes | None, str, float]]:
    """Return key, user and rounded probability of every score, in the order of these."""
    found = [(record.key, json.loads(record.value or b"{}")) for record in _records(brokers, topic)]
    return sorted((key, value["user"], round(value["probability"], 6)) for key, value in found)


def _records(brokers: str, topic: str) -> list[ReadRecord]:
    return read_topic(brokers, topic) if _exists(brokers, topic) else []


def _count(brokers: str, topic: str) -> int:
    return len(_records(brokers, topic))


def _exists(brokers: str, topic: str) -> bool:
    return topic in _admin(brokers).partitions()


def _admin(brokers: str) -> Admin:
    return Admin(load_settings({}, {"bootstrap_servers": brokers}))


def _ours(environment: Mapping[str, str], *arguments: str, text: str | None = None) -> str:
    return _run([sys.executable, "-m", "streamserve", *arguments], environment, text)


def _run(command: Sequence[str], environment: Mapping[str, str], text: str | None = None) -> str:
    ended = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{ended.stderr}")
    return ended.stdout


def _run_until(is_done: Callable[[], bool], command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run a worker until ``is_done``, and stop it in order."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    with log.open("wb") as out, _stopped(subprocess.Popen(command, env=environment, stdout=out, stderr=out)) as worker:  # noqa: S603 - our own
        while not is_done():
            if worker.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"{' '.join(command)} did not finish; its log ends:\n{_end_of(log)}")
            time.sleep(1)


@contextmanager
def _stopped(worker: subprocess.Popen[bytes]) -> Generator[subprocess.Popen[bytes]]:
    """End ``worker`` with the block."""
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


if __name__ == "__main__":
    sys.exit(main())
