"""A journal's anchor on a token of each kind: a private data object that is replaced."""

import pytest
from pkcs11.constants import Attribute, ObjectClass

from signer.errors import TokenError
from signer.hsm.data_objects import LABEL, read_objects, replace_objects
from signer.hsm.session import TokenSession
from tests.modules.bench import Bench

needs = pytest.mark.needs


def values(session: TokenSession, name: str) -> list[bytes]:
    return [entry.value for entry in read_objects(session, name)]


@needs("data-objects")
def test_an_anchor_is_kept_and_replaced(bench: Bench) -> None:
    with bench.session() as session:
        replace_objects(session, "share-1", b"first", [])
        replace_objects(session, "share-2", b"another", [])
        assert values(session, "share-1") == [b"first"]
        replace_objects(session, "share-1", b"second", read_objects(session, "share-1"))
        assert values(session, "share-1") == [b"second"]
    bench.close()
    with bench.session() as session:
        assert values(session, "share-1") == [b"second"]
        assert values(session, "share-2") == [b"another"]
        assert values(session, "share-3") == []


@needs("data-objects")
@pytest.mark.ours_only
@pytest.mark.case("X893", "public data object with an anchor's label, put there without the PIN")
def test_a_planted_object_is_no_anchor(bench: Bench) -> None:
    with bench.session() as session:
        replace_objects(session, "share-1", b"true", [])
    if not bench.can("open-public-objects"):
        with pytest.raises(TokenError):
            plant(bench)
    else:
        plant(bench)
    with bench.session() as session:
        assert values(session, "share-1") == [b"true"]


def plant(bench: Bench) -> None:
    with bench.public_session() as public_session:
        public_session.create_object(
            {
                Attribute.CLASS: ObjectClass.DATA,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: False,
                Attribute.LABEL: LABEL,
                Attribute.APPLICATION: "share-1",
                Attribute.VALUE: b"planted",
            }
        )
