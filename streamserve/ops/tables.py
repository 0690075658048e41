"""The pages of a worker's tables, read-only: ``/tables``, ``/tables/NAME`` and ``/tables/NAME/KEY``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

from streamserve.dataflow.owning.held import HeldTable, HeldTables
from streamserve.errors import OutageError

__all__ = ["ROOT", "Page", "page"]

ROOT = "/tables"
Page: TypeAlias = tuple[HTTPStatus, Mapping[str, Any]]


def page(tables: HeldTables, path: str) -> Page:
    """Return the page at ``path``, which begins with ``ROOT``; names and keys in it are percent-encoded.

    It shows what this worker owns, as of its last commit; other partitions are with other workers.
    """
    _, name, key = (*path.removeprefix(ROOT).split("/", 2), "", "")[:3]
    try:
        if not name:
            return HTTPStatus.OK, {"tables": [_summary(table) for table in tables.overview()]}
        return _of_key(tables, unquote(name), key) if key else _of_table(tables, unquote(name))
    except OutageError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}


def _of_table(tables: HeldTables, name: str) -> Page:
    for table in tables.overview():
        if table.table == name:
            return HTTPStatus.OK, _summary(table)
    return _no_table()


def _of_key(tables: HeldTables, name: str, key: str) -> Page:
    try:
        found = tables.find(name, unquote_to_bytes(key))
    except KeyError:
        return _no_table()
    if found is None:
        return HTTPStatus.NOT_FOUND, {"error": "no value in the partitions that this worker owns"}
    return HTTPStatus.OK, {"table": name, "partition": found.partition, "value": json.loads(found.value)}


def _no_table() -> Page:
    return HTTPStatus.NOT_FOUND, {"error": f"no such table; see {ROOT}"}


def _summary(table: HeldTable) -> Mapping[str, Any]:
    records = {str(partition): records for partition, records in table.records.items()}
    return {"table": table.table, "store": table.store, "records": sum(table.records.values()), "partitions": records}
