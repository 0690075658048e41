"""From a trained scikit-learn model to a version that serves, in one call of a training script."""

from __future__ import annotations

from streamserve.inference.training.publishing import publish_sklearn

__all__ = ["publish_sklearn"]
