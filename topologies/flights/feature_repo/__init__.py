"""The Feast repository of the flights: definitions, and how to make a fresh copy of it."""

from topologies.flights.feature_repo.prepare import prepare_feature_repo

__all__ = ["prepare_feature_repo"]
