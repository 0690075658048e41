"""The demo: a year of flights through real workers on a real broker, counted by reading it all back."""

from topologies.flights.demo.run import Options, run_demo
from topologies.flights.demo.screen import Screen
from topologies.flights.demo.summary import Summary

__all__ = ["Options", "Screen", "Summary", "run_demo"]
