"""A topology made by ``streamserve new`` works as it is, also from a wheel; an app's own command writes to Kafka."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from streamserve.testing.checks import ReadRecord, read_topic
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
NAME = "suspicion"
RULES = ("--isolated", "--line-length", "120", "--target-version", "py311")
"""As in a project of the user's own."""
PAYMENT = {"id": "1", "customer": "ann", "amount": 95.0, "at": "2026-01-01T12:00:00Z"}
COMMAND = """

@app.command()
async def pay(customer: str, amount: float) -> None:
    "Send a payment."
    at = datetime(2026, 1, 1, 12)
    await payments.send(Payment(id="2", customer=customer, amount=amount, at=at), headers={"by": b"hand"})
"""


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """Run ``command`` in ``folder``; return what it said."""
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def streamserve(folder: Path, brokers: str, *arguments: str) -> str:
    """Run a command of ours in ``folder``; return what it said."""
    return run(folder, sys.executable, "-m", "streamserve", *arguments, STREAMSERVE_BOOTSTRAP_SERVERS=brokers)


@contextmanager
def running(folder: Path, brokers: str, name: str) -> Generator[None]:
    """Run the app ``name`` beside the block."""
    command = [sys.executable, "-m", "streamserve", "run", f"{name}.app:app", "--brokers", brokers]
    with (folder / "run.log").open("wb") as log, subprocess.Popen(command, cwd=folder, stderr=log) as worker:
        try:
            yield
        finally:
            worker.terminate()
            worker.wait(60)


def test_a_new_topology_runs_as_it_is(brokers: str, tmp_path: Path) -> None:
    name = f"suspicion_{time.time_ns():x}"
    streamserve(tmp_path, brokers, "new", name)
    with (tmp_path / name / "app.py").open("a") as app:
        app.write(COMMAND)
    streamserve(tmp_path, brokers, "topics", "create", f"{name}.app:app")
    streamserve(tmp_path, brokers, "send", f"{name}.app:app", f"{name}-payments", json.dumps(PAYMENT))
    streamserve(tmp_path, brokers, "call", f"{name}.app:app", "pay", "bob", "5")
    with running(tmp_path, brokers, name):
        wait_until(lambda: len(read_topic(brokers, f"{name}-scores")) == 2, "two scores", 120)
    found = {record.key: score_of(record) for record in read_topic(brokers, f"{name}-scores")}
    assert found[b"ann"] > 0.5 > found[b"bob"]
    assert [record.headers for record in read_topic(brokers, f"{name}-payments") if record.key == b"bob"] == [
        [("by", b"hand")]
    ]


def score_of(record: ReadRecord) -> float:
    """Return the probability in a score."""
    return float(json.loads(record.value or b"{}")["probability"])


def test_it_is_tidy_and_its_training_script_publishes_the_next_version(tmp_path: Path) -> None:
    said = run(tmp_path, sys.executable, "-m", "streamserve", "new", NAME)
    assert f"streamserve run {NAME}.app:app" in said
    ruff = Path(sys.executable).parent / "ruff"
    run(tmp_path, ruff, "format", *RULES, "--check", NAME)
    run(tmp_path, ruff, "check", *RULES, "--select", "E,F,I,B,UP,SIM,RUF,ANN", NAME)
    run(tmp_path, sys.executable, "-W", "ignore", Path(NAME, "train.py"))
    registry = tmp_path / NAME / "models" / NAME
    assert sorted(path.name for path in registry.iterdir() if path.is_dir()) == ["1", "2"]
    assert '"2"' in (registry / "aliases.json").read_text()
    assert "is fine" in run(tmp_path, sys.executable, "-m", "streamserve", "check", f"{NAME}.app:app")


def test_from_a_wheel_in_an_empty_environment_it_passes_check_and_its_own_tests(tmp_path: Path) -> None:
    run(ROOT, sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    [wheel] = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(tmp_path, python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    _lend_dependencies(tmp_path / "env")
    home = tmp_path / "home"
    home.mkdir()
    command = tmp_path / "env" / "bin" / "streamserve"
    run(home, command, "new", NAME)
    where = run(home, python, "-c", "import streamserve; print(streamserve.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path)
    assert "is fine" in run(home, command, "check", f"{NAME}.app:app")
    assert "3 passed" in run(
        home, python, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--doctest-modules", NAME
    )
    assert not (home / NAME / "models" / NAME / "2").exists(), "pytest has run the training script"


def _lend_dependencies(environment: Path) -> None:
    """Let ``environment`` have what the wheel in it requires, and pytest, as they are installed here: nothing else."""
    [packages] = environment.glob("lib/*/site-packages")
    [wheel] = distributions(name="streamserve", path=[str(packages)])
    for name in _required([*(wheel.requires or ()), "pytest"]):
        lent = distribution(name)
        for top in {path.parts[0] for path in lent.files or ()} - {".."}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(lent.locate_file(top))))


def _required(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that ``requirements`` come to, with those that they require in turn."""
    left = [(requirement, "") for requirement in requirements]
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    while left:
        asked, extra = left.pop()
        requirement = Requirement(asked)
        if (asked, extra) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add((asked, extra))
        found.add(requirement.name)
        own = distribution(requirement.name).requires or ()
        left += [(each, chosen) for each in own for chosen in ("", *requirement.extras)]
    return found
