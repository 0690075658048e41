"""Grafana's dashboards as a program: ``python -m compose.dashboards`` writes them, ``--check`` compares."""

from compose.dashboards import executive, model, on_call
from compose.dashboards.board import Board

__all__ = ["BOARDS"]

BOARDS: tuple[Board, ...] = (on_call.BOARD, model.BOARD, executive.BOARD)
"""Every dashboard, as plain data."""
