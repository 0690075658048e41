"""What a worker opens once."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamserve.app import App
from streamserve.dataflow.runtime import open_runtime
from streamserve.features import feast
from streamserve.observer import Observer
from streamserve.settings import load_settings


class Reader:
    """Stands in for a reader of a repository."""

    opened = 0

    def __init__(self, repo: Path, service: str, **options: object) -> None:
        del repo, service, options
        Reader.opened += 1
        self.number = Reader.opened


def test_the_first_feature_reader_is_opened_at_once_and_others_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feast, "FeastReader", Reader)
    monkeypatch.setattr(Reader, "opened", 0)
    app = App("shop")
    app.features("user_v1", event=dict)
    settings = load_settings({"feature_repo": "repo"})
    opens = open_runtime(app.plan(), settings, Observer()).open_readers["user_v1"]
    assert Reader.opened == 1
    assert [getattr(opens(), "number", None) for _ in range(3)] == [1, 2, 3]
