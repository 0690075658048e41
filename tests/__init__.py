"""Everything that is tested, and ``python -m tests``, which runs it all."""

BROKERS_VARIABLE = "STREAMSERVE_TEST_BROKERS"
"""Names a Kafka broker to test against instead of starting one."""
