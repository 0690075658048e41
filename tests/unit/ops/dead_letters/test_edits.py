from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamserve.errors import ConfigurationError, DecodeError
from streamserve.ops.dead_letters import edit_by_hand, setting


def test_values_are_json_where_they_can_be_and_text_otherwise() -> None:
    edit = setting(["n=1", 'list=["a"]', "user=ann", "none=null", "empty=", "equal=a=b"])
    assert edit(b"{}") == b'{"n":1,"list":["a"],"user":"ann","none":null,"empty":"","equal":"a=b"}'


def test_text_that_is_not_ascii_stays_readable() -> None:
    assert setting(["city=Zürich"])('{"é": 1}'.encode()) == '{"é":1,"city":"Zürich"}'.encode()


@pytest.mark.parametrize("payload", [b"not json", b"", None, b"\xff"])
def test_what_is_no_json_cannot_be_set(payload: bytes | None) -> None:
    with pytest.raises(DecodeError, match="--edit"):
        setting(["a=1"])(payload)


@pytest.mark.parametrize(("payload", "field"), [(b"[1]", "a"), (b'{"a": 1}', "a.b"), (b"{}", "a.b"), (b"7", "a")])
def test_a_field_needs_an_object_around_it(payload: bytes, field: str) -> None:
    with pytest.raises(DecodeError, match=f"'{field}'"):
        setting([f"{field}=1"])(payload)


@pytest.mark.parametrize("assignment", ["user", "=ann", ""])
def test_an_assignment_names_a_field(assignment: str) -> None:
    with pytest.raises(ConfigurationError, match="FIELD=VALUE"):
        setting([assignment])


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    script = folder / "editor.py"
    script.write_text(f"import pathlib, sys\nfile = pathlib.Path(sys.argv[1])\n{code}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")


def test_an_editor_sees_json_laid_out_and_what_it_leaves_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(
        tmp_path, monkeypatch, "text = file.read_text(); assert '\\n' in text; file.write_text(text.replace('1', '2'))"
    )
    assert edit_by_hand(b'{"n": 1}') == b'{"n":2}'


def test_what_an_editor_does_not_change_stays_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "")
    assert edit_by_hand(b'{ "n" :1}') == b'{ "n" :1}'
    assert edit_by_hand(b"\xff\x00") == b"\xff\x00"


def test_an_editor_that_fails_or_is_missing_ends_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(tmp_path, monkeypatch, "sys.exit(3)")
    with pytest.raises(ConfigurationError, match="exit code 3"):
        edit_by_hand(b"{}")
    monkeypatch.delenv("EDITOR")
    with pytest.raises(ConfigurationError, match="set EDITOR"):
        edit_by_hand(b"{}")
