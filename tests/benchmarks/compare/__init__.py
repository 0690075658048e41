"""The same job by streamserve, a bare loop and other engines, side by side: ``python -m tests.benchmarks.compare``.

Every engine decodes a JSON event of 125 bytes, joins six features in memory with two fields of the event, scores a
100-tree ONNX model, encodes and produces; exactly once where it can. Engines are black boxes: one process each, told by
environment variables what to read and write. What they have written is compared with a computation of its own,
and its times are the broker's.
"""
