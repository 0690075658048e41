"""Feeds the flights to workers that run elsewhere: ``python -m topologies.flights.feed prepare``, then ``replay``.

The demo does all by itself and counts at the end; this is for workers that stay, such as those of ``compose/``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from topologies.flights.dataset import events
from topologies.flights.demo.replay import Replay
from topologies.flights.demo.topics import PARTITIONS, demo_topics
from topologies.flights.feature_repo import prepare_feature_repo
from topologies.flights.year import load_flights

__all__ = ["main", "prepare", "replay"]

_POLL_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two; settings come from ``STREAMSERVE_*``, of which a replay takes the brokers' address alone."""
    parser = argparse.ArgumentParser(prog="python -m topologies.flights.feed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("prepare", help="create missing topics, and fill a feature repository")
    making.add_argument("repo", type=Path, help="where the feature repository is to be; nothing is done if it is there")
    feeding = commands.add_parser("replay", help="replay the year, its records stamped with the moment of sending")
    feeding.add_argument("--speed", type=float, default=3600.0, help="seconds of event time in a second")
    for each in (making, feeding):
        each.add_argument("--events", type=int, default=None, help="for the first so many flights; all by default")
    given = parser.parse_args(arguments)
    if given.command == "prepare":
        prepare(given.repo, first=given.events)
    else:
        replay(speed=given.speed, first=given.events)
    return 0


def prepare(repo: Path, *, first: int | None = None) -> None:
    """Create the topics that are missing and the feature repository, once: it appears under its name when complete.

    With ``first``, its online store goes as far as so many flights need it.

    Raises:
        BrokerUnavailable: no broker answers.
        ConfigurationError: the data set is missing, or an earlier try left a part behind (``<repo>.part``).
    """
    from topologies.flights.app import app

    Admin(load_settings()).create(demo_topics(app.plan()), partitions=PARTITIONS)
    if repo.exists():
        return
    _live_in_utc()
    year = load_flights()
    last = len(year) if first is None else min(first, len(year))
    until = datetime.fromtimestamp(int(year.at[last - 1]) * 60, UTC)
    prepare_feature_repo(repo.with_name(f"{repo.name}.part"), year=year, until=until).rename(repo)


def replay(*, speed: float, first: int | None = None) -> None:
    """Write the year's events at ``speed`` and return when all are acknowledged.

    Raises:
        OutageError: the broker did not take them all.
    """
    feed = Replay(load_settings().bootstrap_servers, events(first), speed=speed, live=True)
    feed.start()
    while not feed.done:
        time.sleep(_POLL_S)


def _live_in_utc() -> None:
    """Set the process's zone before Feast's SQLite store takes times through it."""
    os.environ["TZ"] = "UTC"
    time.tzset()


if __name__ == "__main__":
    sys.exit(main())
