"""The public surface is what it says, and shows nothing that is not built."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import streamserve
from streamserve import App

NOT_BUILT = ("rollout",)


def modules() -> list[ModuleType]:
    """Every module of the package that imports no optional library."""
    found = pkgutil.walk_packages(streamserve.__path__, "streamserve.")
    return [importlib.import_module(item.name) for item in found if not item.name.endswith("__main__")]


def test_all_is_what_can_be_imported() -> None:
    public = {name for name, value in vars(streamserve).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert {*public, "aggregates"} == set(streamserve.__all__)


def test_all_is_sorted_and_documented() -> None:
    assert list(streamserve.__all__) == sorted(streamserve.__all__)
    classes = [value for name in streamserve.__all__ if inspect.isclass(value := getattr(streamserve, name))]
    assert [found.__name__ for found in classes if not found.__doc__] == []


@pytest.mark.parametrize("name", NOT_BUILT)
def test_names_that_do_not_work_yet_are_not_there(name: str) -> None:
    assert not hasattr(App, name)


def test_every_all_of_every_module_is_true() -> None:
    wrong = [
        f"{module.__name__}.{name}"
        for module in modules()
        for name in getattr(module, "__all__", ())
        if not hasattr(module, name)
    ]
    assert wrong == []


def test_every_public_method_of_the_app_says_what_it_does() -> None:
    undocumented = [name for name, value in inspect.getmembers(App, callable) if name[0] != "_" and not value.__doc__]
    assert undocumented == []
