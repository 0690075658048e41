"""Files go where the platform says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamserve.broker.paths import default_data_dir, kafka_cache


def test_xdg_folders_are_honoured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    assert kafka_cache("4.3.1") == tmp_path / "c" / "streamserve" / "kafka" / "4.3.1"
    assert default_data_dir() == tmp_path / "s" / "streamserve" / "broker"


@pytest.mark.parametrize("value", ["", "relative"])
@pytest.mark.parametrize(("platform", "folder"), [("linux", ".cache"), ("darwin", "Library/Caches")])
def test_platforms_own_folder_is_the_default(
    monkeypatch: pytest.MonkeyPatch, value: str, platform: str, folder: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setattr(sys, "platform", platform)
    assert kafka_cache("1") == Path.home() / folder / "streamserve" / "kafka" / "1"
