"""The user's librdkafka settings in the words of Java's clients, for Kafka's own tools.

Only how to reach and trust the brokers is translated; speeds and sizes do not matter to a tool. What cannot be said in
Java's words is refused by name, never dropped: a tool that connects in another way than the workers would mislead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamserve.errors import ConfigurationError

__all__ = ["java_properties"]

_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_CONCERNED = ("security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl.")
_TAKEN = frozenset(
    {
        *("security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"),
        *("ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem"),
        *("ssl.key.location", "ssl.key.pem", "ssl.key.password", "ssl.endpoint.identification.algorithm"),
    }
)


def java_properties(kafka: Mapping[str, str]) -> str:
    r"""Return a properties file for a Java client that connects as ``kafka`` says.

    >>> java_properties({"security.protocol": "ssl", "linger.ms": "5"})
    'security.protocol=SSL\n'

    Raises:
        ConfigurationError: a setting has no counterpart, or a file that one names cannot be read; values are hidden.
    """
    unknown = sorted(key for key in kafka if key.startswith(_CONCERNED) and key not in _TAKEN)
    if unknown:
        raise ConfigurationError(
            f"{', '.join(unknown)} cannot be said to Kafka's own tool: run kafka-transactions.sh with a"
            " client.properties of your own"
        )
    found = {**_protocol(kafka), **_login(kafka), **_trust(kafka), **_identity(kafka)}
    return "".join(f"{key}={_escaped(value)}\n" for key, value in found.items())


def _protocol(kafka: Mapping[str, str]) -> dict[str, str]:
    protocol, check = kafka.get("security.protocol"), kafka.get("ssl.endpoint.identification.algorithm")
    found = {} if protocol is None else {"security.protocol": protocol.upper()}
    return (
        found if check is None else {**found, "ssl.endpoint.identification.algorithm": "" if check == "none" else check}
    )


def _login(kafka: Mapping[str, str]) -> dict[str, str]:
    mechanism = kafka.get("sasl.mechanism") or kafka.get("sasl.mechanisms")
    if mechanism is None:
        return {}
    if mechanism not in _LOGIN:
        raise ConfigurationError(
            f"sasl.mechanism {mechanism} cannot be said to Kafka's own tool, which is told {', '.join(_LOGIN)}: run"
            " kafka-transactions.sh with a client.properties of your own"
        )
    user, password = _quoted(kafka.get("sasl.username", "")), _quoted(kafka.get("sasl.password", ""))
    entry = f"{_LOGIN[mechanism]} required username={user} password={password};"
    return {"sasl.mechanism": mechanism, "sasl.jaas.config": entry}


def _trust(kafka: Mapping[str, str]) -> dict[str, str]:
    certificates = _content(kafka, "ssl.ca")
    return {} if certificates is None else {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": certificates}


def _identity(kafka: Mapping[str, str]) -> dict[str, str]:
    chain, key = _content(kafka, "ssl.certificate"), _content(kafka, "ssl.key")
    if chain is None or key is None:
        return {}
    password = kafka.get("ssl.key.password")
    found = {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": chain, "ssl.keystore.key": key}
    return found if password is None else {**found, "ssl.key.password": password}


def _content(kafka: Mapping[str, str], name: str) -> str | None:
    """Return what stands in ``<name>.pem`` or in the file ``<name>.location``."""
    location = kafka.get(f"{name}.location")
    if location is None:
        return kafka.get(f"{name}.pem")
    try:
        return Path(location).read_text()
    except OSError as error:
        raise ConfigurationError(f"the file of {name}.location cannot be read: {error.strerror}") from error


def _quoted(text: str) -> str:
    """Quote for JAAS: a backslash stands before a backslash or a quote."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(value: str) -> str:
    """Escape for a properties file, in which a backslash and the end of a line mean something."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")
