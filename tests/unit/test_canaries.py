"""What is planted is found wherever it comes out: the test of what all tests are held against."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.canaries import PERSON, SECRET, Leak, refuse_leaks

LEAKING = {
    "printed": "print(SECRET)",
    "on standard error": "print(PERSON, file=sys.stderr)",
    "logged": "logging.getLogger('engine').warning('refused %s', PERSON)",
    "raised": "raise ValueError(SECRET)",
    "in a value that an assertion shows": "assert {'sasl.password': SECRET} == {}",
}
TEST = """
import logging, sys
from tests.canaries import PERSON, SECRET, pytest_runtest_makereport  # noqa: F401

def test_it():
    {statement}
"""


def test_a_planted_value_is_named_but_not_repeated() -> None:
    refuse_leaks("a log", "all is well")
    with pytest.raises(Leak, match=r"a log shows the personal value that was planted \(line 2\)") as leak:
        refuse_leaks("a log", f"first\nrefused {PERSON}")
    assert PERSON not in str(leak.value)


def test_any_test_that_shows_a_planted_value_fails(tmp_path: Path) -> None:
    for number, statement in enumerate([*LEAKING.values(), "pass"]):
        (tmp_path / f"test_{number}.py").write_text(TEST.format(statement=statement), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.canaries", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{len(LEAKING)} failed, 1 passed" in ended.stdout, ended.stdout
    said = [line for line in ended.stdout.splitlines() if line.startswith("FAILED")]
    assert len(said) == len(LEAKING)
    assert not any(PERSON in line or SECRET in line for line in said)
