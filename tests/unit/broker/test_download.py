"""Jars are verified before use, mended where they are altered, and never seen half."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamserve.broker.download import fetch_jars
from streamserve.broker.manifest import Manifest
from streamserve.broker.maven import BytesRead
from streamserve.errors import LocalBrokerError

from .fakes import AWAY, Answer, ScriptedRepository, manifest_of

CONTENTS = {"a": b"first jar", "b": b"second jar, longer"}
MANIFEST = manifest_of(CONTENTS)


class Bar:
    """Counts what a progress bar would show."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.advanced = 0

    @contextmanager
    def __call__(self, _manifest: Manifest, size: int) -> Generator[BytesRead]:
        self.opened.append(size)
        yield self._advance

    def _advance(self, count: int) -> None:
        self.advanced += count


def fetch(folder: Path, repository: ScriptedRepository, bar: Bar | None = None) -> dict[str, bytes]:
    jars = fetch_jars(MANIFEST, folder, open_bar=bar or Bar(), open_repository=repository, backoff_s=(0.0, 0.0))
    return {jar.name: jar.read_bytes() for jar in jars}


def repository(**answers: list[Answer]) -> ScriptedRepository:
    return ScriptedRepository({name: [content] for name, content in CONTENTS.items()} | answers)


FETCHED = {"a-1.jar": CONTENTS["a"], "b-1.jar": CONTENTS["b"]}


def test_missing_jars_are_fetched_once_with_a_bar_for_their_bytes(tmp_path: Path) -> None:
    source, bar = repository(), Bar()
    assert fetch(tmp_path / "new", source, bar) == fetch(tmp_path / "new", source, bar) == FETCHED
    assert source.asked == {"a": 1, "b": 1}
    assert (bar.opened, bar.advanced) == ([MANIFEST.size], MANIFEST.size)


@pytest.mark.parametrize("damage", [b"", b"first", b"First jar"])
def test_altered_jar_is_fetched_again_and_it_alone(tmp_path: Path, damage: bytes) -> None:
    fetch(tmp_path, repository())
    (tmp_path / "a-1.jar").write_bytes(damage)
    source, bar = repository(), Bar()
    assert fetch(tmp_path, source, bar) == FETCHED
    assert source.asked == {"a": 1}
    assert bar.opened == [len(CONTENTS["a"])]


def test_failed_and_cut_downloads_are_tried_again(tmp_path: Path) -> None:
    source = repository(a=[AWAY, b"fir", CONTENTS["a"]])
    assert fetch(tmp_path, source) == FETCHED
    assert source.asked["a"] == 3


def test_repository_out_of_reach_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalBrokerError, match=r"g:b:1 .* 3 attempts \(ConnectionError\): .*KAFKA_HOME.*--brokers"):
        fetch(tmp_path, repository(b=[AWAY]))


def test_jar_that_always_arrives_altered_is_never_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(LocalBrokerError, match="g:b:1 arrived 3 times with other bytes than pinned"):
        fetch(tmp_path, repository(b=[b"something else"]))
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "a-1.jar"]


def test_what_arrived_before_a_failure_is_kept(tmp_path: Path) -> None:
    with pytest.raises(LocalBrokerError):
        fetch(tmp_path, repository(b=[AWAY]))
    source = repository()
    fetch(tmp_path, source)
    assert source.asked == {"b": 1}


def test_starts_at_the_same_time_download_once(tmp_path: Path) -> None:
    source = repository()
    with ThreadPoolExecutor(4) as pool:
        starts = [pool.submit(fetch, tmp_path, source) for _ in range(4)]
    assert [start.result() for start in starts] == [FETCHED] * 4
    assert source.asked == {"a": 1, "b": 1}
