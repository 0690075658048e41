"""JSON Schemas of the topics that an app reads and writes, as files that can be published and compared.

``python -m streamserve.dataflow.planning.schemas [--check] [--to FOLDER] [MODULE:APP ...]`` writes them to
``FOLDER/<app>/<topic>.json``, or, with ``--check``, says which files are not what the apps say.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, NonNegativeInt

from streamserve.codecs.schema import json_schema
from streamserve.dataflow.planning.plan import Plan
from streamserve.features.base import FeatureStatus

__all__ = ["DeadLetterHeaders", "LoggedFeatures", "check_schemas", "schemas", "write_schemas"]

CHECKOUT_APPS = ("topologies.flights.app:app",)
"""The apps whose schemas this project publishes."""


class DeadLetterHeaders(BaseModel):
    """The headers of a dead letter, each UTF-8 text; its key and value are those of the record, byte for byte.

    ``step`` refused the record for ``reason``, a fixed word; ``error`` is the class that was raised and ``message``
    names fields and rules, never values. ``source-timestamp`` is in milliseconds since the epoch, UTC. The record's own
    headers follow under ``original-`` and their names.

    No record stands behind the result of a window that is lost: it has the window's key, no value, and no ``source-``
    headers but ``window``, ``window-start`` and ``window-end`` (milliseconds since the epoch, UTC). Neither does behind
    a table's timer that failed for a key: it has the table's key, no value, and ``table``, ``table-partition``,
    ``timer-clock`` and ``timer-time``, when it was due by that clock (milliseconds since the epoch, UTC).
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    step: str
    reason: str
    error: str
    message: str
    source_topic: str | None = Field(default=None, alias="source-topic")
    source_partition: str | None = Field(default=None, alias="source-partition", pattern=r"^\d+$")
    source_offset: str | None = Field(default=None, alias="source-offset", pattern=r"^\d+$")
    source_timestamp: str | None = Field(default=None, alias="source-timestamp", pattern=r"^-?\d+$")
    window: str | None = None
    window_start: str | None = Field(default=None, alias="window-start", pattern=r"^-?\d+$")
    window_end: str | None = Field(default=None, alias="window-end", pattern=r"^-?\d+$")
    table: str | None = None
    table_partition: str | None = Field(default=None, alias="table-partition", pattern=r"^\d+$")
    timer_clock: Literal["event", "processing"] | None = Field(default=None, alias="timer-clock")
    timer_time: str | None = Field(default=None, alias="timer-time", pattern=r"^-?\d+$")


class LoggedFeatures(BaseModel):
    """A feature row as it was used for the event of one record.

    ``features`` holds every feature of ``service``, ``status`` those that are not present and why. ``age_seconds`` is
    the event's time less that of the oldest present value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    source_topic: str
    source_partition: NonNegativeInt
    source_offset: NonNegativeInt
    event_time: AwareDatetime
    features: Mapping[str, JsonValue]
    status: Mapping[str, FeatureStatus]
    age_seconds: FiniteFloat


def schemas(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the schema of each topic of ``plan`` by the topic's name; that of dead letters describes their headers.

    Changelogs and regrouped topics are the engine's alone and have none.

    Raises:
        PlanError: a topic's type has parts that JSON Schema cannot describe.
    """
    public = [node for node in plan.topics.values() if node.upstream is None]
    found = {node.name: json_schema(node.value_type or bytes) for node in public}
    found[plan.dead_letter_topic] = json_schema(DeadLetterHeaders)
    if plan.is_stateful:
        from streamserve.monitoring.messages import DriftMessage

        found[plan.drift_topic] = json_schema(DriftMessage)
    if plan.labels:
        from streamserve.monitoring.labels.messages import PerformanceMessage

        found[plan.performance_topic] = json_schema(PerformanceMessage)
    if plan.logs_features:
        found[plan.features_topic] = json_schema(LoggedFeatures)
    return {name: {**schema, "title": schema.get("title", name)} for name, schema in found.items()}


def write_schemas(plan: Plan, folder: Path) -> list[Path]:
    """Write one file per topic into ``folder``, removing those of topics that are no more; return what changed."""
    texts = _texts(plan)
    folder.mkdir(parents=True, exist_ok=True)
    changed = check_schemas(plan, folder)
    for path in changed:
        if path.name in texts:
            path.write_text(texts[path.name])
        else:
            path.unlink()
    return changed


def check_schemas(plan: Plan, folder: Path) -> list[Path]:
    """Return the files in ``folder`` that are missing, differ from the plan, or belong to no topic of it."""
    texts = _texts(plan)
    present = {path.name: path.read_text() for path in sorted(folder.glob("*.json"))}
    return [folder / name for name in sorted({**texts, **present}) if texts.get(name) != present.get(name)]


def _texts(plan: Plan) -> dict[str, str]:
    return {f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas(plan).items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files of the named apps; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m streamserve.dataflow.planning.schemas", description=__doc__)
    parser.add_argument("apps", nargs="*", metavar="MODULE:APP", default=CHECKOUT_APPS)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where files differ")
    parser.add_argument("--to", type=Path, default=Path("schemas"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    stale: list[Path] = []
    for name in options.apps:
        plan: Plan = pkgutil.resolve_name(name).plan()
        work = check_schemas if options.check else write_schemas
        stale += work(plan, options.to / plan.app)
    for path in stale:
        sys.stdout.write(f"{path}: {'differs: write it again without --check' if options.check else 'written'}\n")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
