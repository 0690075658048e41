"""River detectors and metrics as bytes, and back without running whatever the bytes name.

A changelog is an input: who can write to it must not gain more than wrong figures. So unpickling imports only the
classes of River's detectors, metrics and statistics, those of the modules that the configured ones come from, and a
few plain containers.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

from river.base import Base

from streamserve.errors import ConfigurationError

__all__ = ["pickle_object", "unpickle_object"]

_PROTOCOL = 5

_RIVER = ("river.drift", "river.metrics", "river.stats", "river.base", "river.utils", "river._river_rust")

_PLAIN = {
    "builtins": {"bytearray", "complex", "float", "frozenset", "set", "slice"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "functools": {"partial"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "random": {"Random"},
}


def pickle_object(value: object) -> bytes:
    """Return ``value`` pickled.

    Raises:
        ConfigurationError: the object cannot be pickled, for example because it holds a lambda.
    """
    try:
        return pickle.dumps(value, _PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the {type(value).__name__} cannot be kept across restarts, since it cannot be pickled: "
            "use one whose class and attributes stand at the top of a module"
        ) from error


def unpickle_object(data: bytes, modules: Collection[str] = ()) -> Any:
    """Return the object in ``data``; besides River's, classes defined in ``modules`` are let in.

    >>> unpickle_object(pickle.dumps(print))
    Traceback (most recent call last):
    ...
    streamserve.errors.ConfigurationError: monitoring state names builtins.print, which is not allowed there: ...

    Raises:
        ConfigurationError: the bytes are damaged or name something that is not allowed.
    """
    try:
        return _Unpickler(data, frozenset(modules)).load()
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"monitoring state cannot be read ({type(error).__name__}): the changelog was damaged, or written with "
            "other versions of River or NumPy. Reset the changelog to start afresh."
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, modules: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._modules = modules

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) == ("builtins", "getattr"):
            return _method_of_detector
        if global_name in _PLAIN.get(module_name, ()):
            return getattr(import_module(module_name), global_name)
        if module_name in self._modules or _is_river(module_name):
            # A name that a module merely imported, or one with dots, would lead out of it.
            found = getattr(_module(module_name), global_name, None)
            if isinstance(found, type) and (found.__module__ in self._modules or _is_river(found.__module__)):
                return found  # pyright: ignore[reportUnknownVariableType]
        raise ConfigurationError(
            f"monitoring state names {module_name}.{global_name}, which is not allowed there: "
            "the changelog was not written by this app. Reset it to start afresh."
        )


def _module(name: str) -> object:
    return sys.modules[name] if name in sys.modules else import_module(name)


def _is_river(module_name: str) -> bool:
    return any(module_name == name or module_name.startswith(f"{name}.") for name in _RIVER)


def _method_of_detector(owner: object, name: str) -> Callable[..., Any]:
    """Stand in for ``getattr``, by which detectors pickle a method of their own that they keep as an attribute."""
    method = getattr(owner, name, None) if isinstance(owner, Base) and not name.startswith("__") else None
    if not callable(method):
        raise ConfigurationError(f"monitoring state asks for attribute {name} of a {type(owner).__name__}: not allowed")
    return method
