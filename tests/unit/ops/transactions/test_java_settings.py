from __future__ import annotations

from pathlib import Path

import pytest

from streamserve.errors import ConfigurationError
from streamserve.ops.transactions.java_settings import java_properties


def properties(kafka: dict[str, str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in java_properties(kafka).splitlines())


def test_nothing_to_say_is_an_empty_file() -> None:
    assert java_properties({"linger.ms": "5", "client.rack": "a"}) == ""


def test_a_password_is_quoted_for_jaas_and_then_for_the_file() -> None:
    found = java_properties({"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "ann", "sasl.password": 'a"\\b'})
    assert found == (
        "sasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required"
        ' username="ann" password="a\\\\"\\\\\\\\b";\n'
    )


def test_certificates_are_taken_from_files_or_texts(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN\nca\n")
    found = properties(
        {
            "security.protocol": "sasl_ssl",
            "ssl.ca.location": str(tmp_path / "ca.pem"),
            "ssl.certificate.pem": "chain",
            "ssl.key.pem": "key",
            "ssl.key.password": "canary",
            "ssl.endpoint.identification.algorithm": "none",
        }
    )
    assert found == {
        "security.protocol": "SASL_SSL",
        "ssl.endpoint.identification.algorithm": "",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": "-----BEGIN\\nca\\n",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": "chain",
        "ssl.keystore.key": "key",
        "ssl.key.password": "canary",
    }


@pytest.mark.parametrize(
    "kafka",
    [
        {"sasl.oauthbearer.config": "canary"},
        {"sasl.mechanism": "GSSAPI"},
        {"ssl.keystore.location": "canary"},
        {"ssl.ca.location": "/nowhere/canary.pem"},
    ],
)
def test_what_cannot_be_said_is_named_and_its_value_hidden(kafka: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(kafka))) as raised:
        java_properties(kafka)
    assert "canary" not in str(raised.value)
