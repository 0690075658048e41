"""State of a partition group: tables, stores and windows, each kept in a compacted changelog."""

from __future__ import annotations
