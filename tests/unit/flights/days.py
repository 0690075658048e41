"""How much of the year the tests of the feature repository prepare."""

from datetime import UTC, datetime

PREPARED_UNTIL = datetime(2013, 1, 5, tzinfo=UTC)
