"""The delivery checker on other engines: the same records, the same kills, the same judge (``__main__.py``)."""
