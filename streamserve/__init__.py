"""Streaming inference on Kafka: agents, Feast features, ONNX models, exactly once."""

from streamserve.agents import Agent, Batch, Features, Model, Monitor, Source, Stream, Topic
from streamserve.app import App
from streamserve.dataflow.effects import gather
from streamserve.durations import Duration
from streamserve.errors import Reject
from streamserve.features.base import FeatureRow
from streamserve.records import Binary, Classification, Prediction, Record, Regression, Scalar

__all__ = [
    "Agent",
    "App",
    "Batch",
    "Binary",
    "Classification",
    "Duration",
    "FeatureRow",
    "Features",
    "Model",
    "Monitor",
    "Prediction",
    "Record",
    "Regression",
    "Reject",
    "Scalar",
    "Source",
    "Stream",
    "Topic",
    "gather",
]
