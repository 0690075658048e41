"""Feature services of a Feast repository: the only home of ``feast``.

Feast takes seconds to import. The other modules of the package import it, this one only when a repository is opened.
"""

from __future__ import annotations

from pathlib import Path

from streamserve.clock import Clock
from streamserve.features.environment import environment_kept
from streamserve.features.prepared import PreparedReader
from streamserve.features.service import JoinOptions, ServiceDescription
from streamserve.observer import Observer

__all__ = ["FeastReader", "describe", "describe_definitions", "is_applied"]


def describe(feature_repo: str | Path, service: str, *, full_feature_names: bool = False) -> ServiceDescription:
    """Read what ``service`` needs and gives from the registry of the Feast repository at ``feature_repo``.

    The online store is not touched.

    Raises:
        PlanError: there is no such repository or service, a view of it is missing or cannot be joined.
        OutageError: a remote registry does not answer.
    """
    with environment_kept():
        from streamserve.features.feast.repository import resolve

    return resolve(feature_repo, service, full_feature_names=full_feature_names).description


def describe_definitions(feature_repo: str | Path, service: str) -> ServiceDescription:
    """Read the same from the Python files of a repository that may never have been applied.

    The files directly in ``feature_repo`` are run, as ``feast apply`` runs them; a registry is made of them in a
    temporary folder and thrown away. The repository itself is left as it is.

    Raises:
        PlanError: there is no such repository or service, a file of it fails, or its definitions do not fit together.
    """
    with environment_kept():
        from streamserve.features.feast.definitions import resolve_definitions

    return resolve_definitions(Path(feature_repo), service)


def is_applied(feature_repo: str | Path) -> bool:
    """Return whether the repository has a registry; remote ones count as there.

    Raises:
        PlanError: there is no repository.
    """
    with environment_kept():
        from streamserve.features.feast.definitions import has_registry

    return has_registry(Path(feature_repo))


class FeastReader(PreparedReader):
    """A ``FeatureReader`` on a Feast repository.

    A read answers what ``get_online_features(...).to_dict()`` answers at that moment, save that

    - a row older than the view's maximum age at the event's time is ``outside-max-age`` and one later than the event is
      ``from-the-future``; both are answered as ``None``. Feast's own online read knows neither;
    - a row may have been read up to ``JoinOptions.cache_max_age`` ago, in processing time;
    - rows pushed here are seen before they are written;
    - an entity with a null join key, for which Feast raises, is not found; views that do not need the key answer.

    On-demand views are computed by Feast's full call, so that they are never cached. Services with precomputed vectors
    are read from their views. Changes of the repository are seen when a reader is opened anew.

    Times are as fine as the online store's: Feast's SQLite store keeps whole seconds, and takes them through the
    machine's local time, so that rows of the hour that a change to summer time leaves out come back an hour late unless
    the process runs in UTC (``TZ=UTC``).

    Raises:
        PlanError: there is no such repository or service, or it cannot be joined.
        OutageError: a remote registry does not answer.
    """

    def __init__(
        self,
        feature_repo: str | Path,
        service: str,
        *,
        options: JoinOptions | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        with environment_kept():
            from streamserve.features.feast.connection import FeastService

        chosen = options or JoinOptions()
        online = FeastService(feature_repo, service, full_feature_names=chosen.full_feature_names)
        super().__init__(online, options=chosen, observer=observer, clock=clock)
