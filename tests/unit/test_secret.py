import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest

from signer.secret import SecretBytes, wipe_buffer

WORDS = b"correct horse"


def test_nothing_of_it_prints() -> None:
    secret = SecretBytes(WORDS)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!s:>40}", "%s" % secret):  # noqa: UP031
        assert "correct" not in text
        assert "redacted" in text


@pytest.mark.parametrize(
    "way",
    [bytes, iter, hash, pickle.dumps, copy.copy, copy.deepcopy, list, lambda s: s[0], json.dumps],
)
def test_it_is_not_copied_by_accident(way: Callable[[SecretBytes], object]) -> None:
    with pytest.raises(TypeError):
        way(SecretBytes(WORDS))


def test_a_dataclass_that_holds_one_is_not_dumped() -> None:
    @dataclass
    class Holder:
        secret: SecretBytes

    holder = Holder(SecretBytes(WORDS))
    assert "correct" not in repr(holder)
    with pytest.raises(TypeError):
        asdict(holder)


def test_the_buffer_is_zero_after_the_block() -> None:
    with SecretBytes(WORDS) as secret:
        view = secret.expose()
        assert view == WORDS
    assert bytes(view) == bytes(len(WORDS))
    with pytest.raises(ValueError, match="wiped"):
        secret.expose()


def test_the_buffer_is_zero_when_an_exception_passes() -> None:
    secret = SecretBytes(WORDS)
    view = secret.expose()
    with pytest.raises(KeyError), secret:
        raise KeyError
    assert bytes(view) == bytes(len(WORDS))


def test_the_buffer_is_zero_when_nobody_holds_it_any_more() -> None:
    secret = SecretBytes(WORDS)
    view = secret.expose()
    del secret
    assert bytes(view) == bytes(len(WORDS))


def test_taking_wipes_the_source() -> None:
    source = bytearray(WORDS)
    secret = SecretBytes.take(source)
    assert source == bytes(len(WORDS))
    assert secret == SecretBytes(WORDS)
    assert secret != SecretBytes(WORDS[::-1])
    assert secret != WORDS
    assert len(SecretBytes.zeros(5)) == 5
    wipe_buffer(bytearray())
