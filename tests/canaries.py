"""Planted values that must come out nowhere but where they were put: secrets of settings, personal data of events.

Tests that run workers on a broker plant both: ``KAFKA_SECRET`` among the workers' settings, ``PERSON`` in the payloads.
They are looked for in everything that an operator gets to see: the captured output, logs and failure of every test (the
hook below), and what those tests hand to ``refuse_leaks``: logs and metrics of workers, headers of dead letters, what
ended a worker.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import pytest

__all__ = ["KAFKA_SECRET", "PERSON", "SECRET", "Leak", "leaks", "pytest_runtest_makereport", "refuse_leaks"]

SECRET = "canary-secret-" + "5c1f0e7d"
PERSON = "canary-person-" + "4929-0171"
KAFKA_SECRET: Mapping[str, str] = {"sasl.password": SECRET}
"""A setting of every client; brokers that ask for no password never see it."""
_CANARIES = {"the secret": SECRET, "the personal value": PERSON}


class Leak(AssertionError):
    """A planted value came out."""


def leaks(text: str) -> list[str]:
    """Return which canaries are in ``text``, by what they stand for.

    >>> leaks("sasl.password=" + SECRET), leaks("a mask: **********")
    (['the secret'], [])
    """
    return [name for name, value in _CANARIES.items() if value in text]


def refuse_leaks(where: str, text: str) -> None:
    """Raise ``Leak`` if a canary is in ``text``; the error names it and ``where``, not the value."""
    for name in leaks(text):
        line = next(number for number, line in enumerate(text.splitlines(), 1) if _CANARIES[name] in line)
        raise Leak(f"{where} shows {name} that was planted (line {line})")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output, logs or failure show a canary."""
    report = yield
    said = [*report.sections, ("the failure", report.longreprtext)]
    found = [f"{where} shows {name} that was planted" for where, text in said for name in leaks(text)]
    if found:
        report.outcome = "failed"
        report.longrepr = "; ".join(found)
    return report
