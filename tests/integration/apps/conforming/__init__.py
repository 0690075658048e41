"""Apps with state and time, and records for them, that the harness and a real broker are compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.integration.apps.conforming.faults import refused
from tests.integration.apps.conforming.streams import joins, labelled, regrouped, windows
from tests.integration.apps.conforming.tables import known, on_disk
from tests.integration.apps.conforming.times import idle, late, timed
from tests.integration.conformance import Case

CASES: Mapping[str, Callable[[str, Path], Case]] = {
    "windows": windows,
    "joins": joins,
    "regrouped": regrouped,
    "labelled": labelled,
    "timed": timed,
    "late": late,
    "on-disk": on_disk,
    "refused": refused,
    "known": known,
    "idle": idle,
}
