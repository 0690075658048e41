"""Changing the payload of a dead letter before it is replayed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from streamserve.errors import ConfigurationError, DecodeError

__all__ = ["Edit", "edit_by_hand", "setting"]

Edit: TypeAlias = Callable[[bytes | None], bytes | None]
"""Makes a new payload of an old one; raises ``DecodeError`` where it cannot."""


def setting(assignments: Sequence[str]) -> Edit:
    """Return the edit that sets fields of JSON objects; ``a.b=1`` sets ``b`` in the object ``a``.

    What stands behind ``=`` is JSON, or text where it is none.

    >>> setting(["user=ann", "at.hour=12"])(b'{"n": 1, "at": {}}')
    b'{"n":1,"at":{"hour":12},"user":"ann"}'

    Raises:
        ConfigurationError: an assignment is not ``FIELD=VALUE``.
    """
    parsed = [_parsed(assignment) for assignment in assignments]

    def edit(payload: bytes | None) -> bytes:
        try:
            data = json.loads(payload or b"")
        except ValueError:
            raise DecodeError("its payload is not JSON, so no field can be set: edit it by hand (--edit)") from None
        for path, value in parsed:
            _set(data, path, value)
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()

    return edit


def _parsed(assignment: str) -> tuple[list[str], Any]:
    field, separator, text = assignment.partition("=")
    if not (field and separator):
        raise ConfigurationError("--set takes FIELD=VALUE, for example --set amount=9.5")
    try:
        return field.split("."), json.loads(text)
    except ValueError:
        return field.split("."), text


def _set(data: Any, path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        data = data.get(step) if isinstance(data, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
    if not isinstance(data, dict):
        raise DecodeError(
            f"its payload has no object in which {'.'.join(path)!r} could be set: edit it by hand (--edit)"
        )
    data[path[-1]] = value


def edit_by_hand(payload: bytes | None) -> bytes:
    """Let the user change a payload in ``$VISUAL`` or ``$EDITOR``; JSON is laid out for it and packed again.

    The file lies in the user's temporary folder, readable to the user alone, until the editor has ended.

    Raises:
        ConfigurationError: there is no editor, or it failed.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise ConfigurationError("--edit needs an editor: set EDITOR, for example EDITOR=nano")
    laid_out, is_json = _laid_out(payload or b"")
    with tempfile.TemporaryDirectory(prefix="streamserve-") as folder:
        file = Path(folder) / ("payload.json" if is_json else "payload")
        file.write_bytes(laid_out)
        ended = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the user's own editor
        if ended.returncode != 0:
            raise ConfigurationError(f"the editor ended with exit code {ended.returncode}: nothing is replayed")
        edited = file.read_bytes()
    return (payload or b"") if edited == laid_out else _packed(edited)


def _laid_out(payload: bytes) -> tuple[bytes, bool]:
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False).encode() + b"\n", True
    except ValueError:
        return payload, False


def _packed(edited: bytes) -> bytes:
    try:
        return json.dumps(json.loads(edited), separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError:
        return edited
