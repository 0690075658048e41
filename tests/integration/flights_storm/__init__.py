"""Both flights apps on a real broker while their workers are killed and rescaled, then every result recomputed."""
