"""Labels that come late: matching them with predictions, and what the pairs say of a model's live performance."""
