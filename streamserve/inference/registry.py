"""Where model packages are kept: the port of a registry, and the one that is a folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from streamserve.errors import OutageError, PackageError
from streamserve.inference.files import replace_durably
from streamserve.inference.package import MANIFEST_FILE, ModelPackage, load_package

__all__ = ["ALIASES_FILE", "ModelRegistry", "Registry"]

ALIASES_FILE = "aliases.json"

_ALIASES = TypeAdapter(dict[str, str])


class ModelRegistry(Protocol):
    """What the engine asks of a registry: which versions there are, which one an alias means, and its package."""

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of model ``name``, oldest first; empty when there is none."""
        ...

    def resolve(self, name: str, *, alias: str = "champion", version: str | None = None) -> str:
        """Return ``version`` if it exists, or the version that ``alias`` means now.

        Raises:
            PackageError: there is no such model, version or alias; the message lists what there is.
            OutageError: the registry does not answer.
        """
        ...

    def load(self, name: str, version: str) -> ModelPackage:
        """Return the package of ``version``, its hash checked; errors as in ``load_package``."""
        ...


class Registry:
    """A folder of packages, ``<path>/<name>/<version>/``, with the aliases of each model in ``aliases.json``.

    Aliases change by replacing their file at once, so a reader sees the old ones or the new; of two writers at the same
    time the later wins. Versions sort by the numbers in them: ``2`` before ``10``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def names(self) -> tuple[str, ...]:
        """Return the names of all models that have a version."""
        return tuple(sorted(name for name in _folders(self.path) if self.versions(name)))

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of model ``name``, in order of their numbers; empty when there is none."""
        found = [version for version in _folders(self.path / name) if self._is_package(name, version)]
        return tuple(sorted(found, key=_natural))

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return which version each alias of model ``name`` means."""
        file = self.path / name / ALIASES_FILE
        try:
            return _ALIASES.validate_json(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValidationError as error:
            raise PackageError(f"{file}: not an object of alias to version; write it again") from error
        except OSError as error:
            raise _outage(file, error) from error

    def resolve(self, name: str, *, alias: str = "champion", version: str | None = None) -> str:
        """Return ``version`` if it exists, or the version that ``alias`` means now; see ``ModelRegistry``."""
        versions = self.versions(name)
        if not versions:
            raise PackageError(f"{self.path}: no model {name!r}; there is {_listed(self.names())}")
        if version is None:
            aliases = self.aliases(name)
            if alias not in aliases:
                raise PackageError(
                    f"{self.path}: model {name!r} has no alias {alias!r}; there is {_listed(aliases)}; "
                    f"set it to one of its versions ({_listed(versions)}) or pin version="
                )
            version = aliases[alias]
        if version not in versions:
            raise PackageError(f"{self.path}: model {name!r} has no version {version!r}; there is {_listed(versions)}")
        return version

    def load(self, name: str, version: str) -> ModelPackage:
        """Return the package of ``version``, its hash checked; errors as in ``load_package``."""
        return load_package(self.path / name / self.resolve(name, version=version))

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let ``alias`` mean ``version`` of model ``name`` from now on.

        Raises:
            PackageError: there is no such model or version.
            OutageError: the aliases could not be written; they are as before.
        """
        aliases = {**self.aliases(name), alias: self.resolve(name, version=version)}
        file = self.path / name / ALIASES_FILE
        try:
            replace_durably(file, json.dumps(aliases, indent=2, sort_keys=True).encode() + b"\n")
        except OSError as error:
            raise _outage(file, error) from error

    def _is_package(self, name: str, version: str) -> bool:
        return (self.path / name / version / MANIFEST_FILE).is_file()


def _folders(path: Path) -> list[str]:
    """Return the names of the folders in ``path``, drafts and hidden ones left out."""
    try:
        return [entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _outage(path, error) from error


def _outage(path: Path, error: OSError) -> OutageError:
    return OutageError(f"{path}: {error.strerror}; is the registry's storage there?")


def _natural(version: str) -> list[tuple[int, str]]:
    """Return a sort key that compares runs of digits as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", version) if part]


def _listed(names: Mapping[str, str] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, names)) or "none"
