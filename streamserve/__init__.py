"""Streaming inference on Kafka: agents, Feast features, ONNX models, exactly once."""

from streamserve import aggregates
from streamserve.agents import Agent, Batch, Features, Labels, Model, Monitor, Source, Stream, Topic
from streamserve.aggregates import Aggregate, count, distinct, last, mean, quantile, var
from streamserve.app import App
from streamserve.dataflow.driving.effects import gather
from streamserve.durations import Duration
from streamserve.errors import Reject
from streamserve.features.base import FeatureRow
from streamserve.records import Binary, Classification, Prediction, Record, Regression, Scalar, Window
from streamserve.state.windows import WindowSpec, hopping, session, sliding, tumbling
from streamserve.tables import Table, WindowedTable

__all__ = [
    "Agent",
    "Aggregate",
    "App",
    "Batch",
    "Binary",
    "Classification",
    "Duration",
    "FeatureRow",
    "Features",
    "Labels",
    "Model",
    "Monitor",
    "Prediction",
    "Record",
    "Regression",
    "Reject",
    "Scalar",
    "Source",
    "Stream",
    "Table",
    "Topic",
    "Window",
    "WindowSpec",
    "WindowedTable",
    "aggregates",
    "count",
    "distinct",
    "gather",
    "hopping",
    "last",
    "mean",
    "quantile",
    "session",
    "sliding",
    "tumbling",
    "var",
]
