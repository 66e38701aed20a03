"""Every TLS mode, against servers that speak it and servers that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.mysql.conftest import back_up, target_of
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import UserFault
from databosun.engines.mysql import ENGINE
from databosun.engines.mysql.connect import Endpoint, Session, open_sql, rows
from support.mariaserver import MariaServer
from support.pgserver import hand_over
from support.tls import Certificate, make_certificate

pytestmark = pytest.mark.servers


@pytest.fixture
def certificate(workplace: Path) -> Certificate:
    """For 127.0.0.1 and localhost."""
    made = make_certificate(workplace, "server")
    hand_over(workplace)
    return made


@pytest.fixture
def secured(own_maria: Callable[..., MariaServer], certificate: Certificate) -> Iterator[MariaServer]:
    """A server with that certificate, which 127.0.0.2 reaches too."""
    return own_maria(
        ssl_ca=str(certificate.ca),
        ssl_cert=str(certificate.cert),
        ssl_key=str(certificate.key),
        bind_address="127.0.0.1,127.0.0.2",
    )


@pytest.mark.parametrize("mode", [TLSMode.REQUIRE, TLSMode.VERIFY_CA, TLSMode.VERIFY_FULL])
def test_a_session_is_encrypted_and_a_dump_goes_through_it(
    secured: MariaServer, certificate: Certificate, workplace: Path, mode: TLSMode
) -> None:
    secured.sql("ALTER USER backup@'%' REQUIRE SSL")
    target = target_of(secured, tls=mode, ca=certificate.ca)
    connection = open_sql(Session(target, Endpoint("127.0.0.1", secured.port, "127.0.0.1")))
    assert rows(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1]
    connection.close()
    captured, _ = back_up(target, workplace)
    assert captured.objects


def test_an_account_that_demands_tls_is_not_reached_without(secured: MariaServer) -> None:
    secured.sql("ALTER USER backup@'%' REQUIRE SSL")
    with pytest.raises(UserFault, match=r"tls\.mode"):
        ENGINE.probe(target_of(secured), [Method.LOGICAL], incremental=False)


def test_another_authority_is_refused(secured: MariaServer, workplace: Path) -> None:
    other = make_certificate(workplace, "other")
    for mode in (TLSMode.VERIFY_CA, TLSMode.VERIFY_FULL):
        with pytest.raises(UserFault) as caught:
            ENGINE.probe(target_of(secured, tls=mode, ca=other.ca), [Method.LOGICAL], incremental=False)
        assert caught.value.reason == "TLSFailure"


def test_another_host_is_refused_by_the_strictest_mode_alone(secured: MariaServer, certificate: Certificate) -> None:
    target = target_of(secured, tls=TLSMode.VERIFY_CA, ca=certificate.ca, hosts=("127.0.0.2",))
    assert ENGINE.probe(target, [Method.LOGICAL], incremental=False).reachable
    target = target_of(secured, tls=TLSMode.VERIFY_FULL, ca=certificate.ca, hosts=("127.0.0.2",))
    with pytest.raises(UserFault) as caught:
        ENGINE.probe(target, [Method.LOGICAL], incremental=False)
    assert caught.value.reason == "TLSFailure"


def test_a_server_without_tls_is_refused_where_it_is_required(maria: MariaServer) -> None:
    """A driver that fell back to plain text would send what is to be protected."""
    with pytest.raises(UserFault) as caught:
        ENGINE.probe(target_of(maria, tls=TLSMode.REQUIRE), [Method.LOGICAL], incremental=False)
    assert caught.value.reason == "TLSNotOffered"
    assert "Disable" in caught.value.message
