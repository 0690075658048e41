"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["replace_durably", "write_durably"]


def write_durably(path: Path, content: bytes) -> None:
    """Write ``path`` and wait until it is on disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Give ``path`` new content in one step: a reader sees the old or the new, never a part."""
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=path.parent) as drafts:
        draft = Path(drafts) / path.name
        write_durably(draft, content)
        draft.replace(path)
