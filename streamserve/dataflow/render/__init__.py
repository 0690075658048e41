"""A plan drawn: as text for a terminal, as a Mermaid flowchart for documents, as JSON for programs."""

from streamserve.dataflow.render.data import as_json
from streamserve.dataflow.render.mermaid import as_mermaid
from streamserve.dataflow.render.text import as_text

__all__ = ["as_json", "as_mermaid", "as_text"]
