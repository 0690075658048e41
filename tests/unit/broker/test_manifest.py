"""The manifest pins by content."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.broker.manifest import Jar, Manifest, load_manifest

CONTENT = b"not really a jar"

words = st.text(min_size=1, max_size=20)
jars = st.builds(
    Jar, group=words, artifact=words, version=words, sha256=words, size=st.integers(min_value=0, max_value=1 << 40)
)


def jar_of(content: bytes) -> Jar:
    return Jar(group="g", artifact="a", version="1", sha256=sha256(content).hexdigest(), size=len(content))


def test_pinned_manifest_holds_the_broker_its_tools_and_a_log_binding() -> None:
    manifest = load_manifest()
    artifacts = {jar.artifact: jar for jar in manifest.jars}
    assert artifacts["kafka_2.13"].version == artifacts["kafka-tools"].version == manifest.kafka
    assert "log4j-slf4j-impl" in artifacts
    assert all(len(bytes.fromhex(jar.sha256)) == sha256().digest_size for jar in manifest.jars)


@given(st.text(), st.lists(jars, unique_by=lambda jar: jar.file_name))
def test_manifest_comes_back_from_its_json(kafka: str, listed: list[Jar]) -> None:
    manifest = Manifest(kafka, tuple(listed))
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_json_has_one_jar_per_line() -> None:
    manifest = load_manifest()
    assert sum('"artifact"' in line for line in manifest.to_json().splitlines()) == len(manifest.jars)


def test_two_jars_of_one_file_name_are_refused() -> None:
    with pytest.raises(ValueError, match="one file name"):
        Manifest("1", (jar_of(b"x"), jar_of(b"y")))


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", CONTENT.upper(), b"", None])
def test_other_bytes_do_not_match(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a-1.jar"
    if content is not None:
        file.write_bytes(content)
    assert not jar_of(CONTENT).matches(file)


def test_same_bytes_match(tmp_path: Path) -> None:
    file = tmp_path / "a-1.jar"
    file.write_bytes(CONTENT)
    assert jar_of(CONTENT).matches(file)
