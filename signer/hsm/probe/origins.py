"""What keys say of where they come from, and whether it is so.

The program takes a key only if it says LOCAL, ALWAYS_SENSITIVE and NEVER_EXTRACTABLE. So a module
that says one of them of a key that was brought in, or could leave once, lies where it matters.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import KeyType

from signer.hsm.pairs import plain_point
from signer.hsm.probe.bench import OPEN, Bench
from signer.hsm.probe.steps import HISTORY, Seen, letters
from signer.hsm.provenance import P256_PARAMS, read_attributes
from signer.p256 import is_point

_SAYS = {
    "local": Attribute.LOCAL,
    "always_sensitive": Attribute.ALWAYS_SENSITIVE,
    "never_extractable": Attribute.NEVER_EXTRACTABLE,
    "sensitive": Attribute.SENSITIVE,
    "extractable": Attribute.EXTRACTABLE,
}
_KIND_OF = {"p256": "sign", "aes": "aes", "rsa": "rsa"}
_NAMES = {"p256": "a P-256", "aes": "an AES", "rsa": "an RSA"}
_AES_BYTES = 32


def made(family: str, bench: Bench) -> Seen:
    """Look at a key that was made on the token as the program makes them."""
    says = _says(bench.key(_KIND_OF[family]).private)
    missing = [name for name in (*HISTORY, "sensitive") if says.get(name) is not True]
    if says.get("extractable") is not False:
        missing.append("extractable")
    step = f"{family}-made"
    if missing:
        words = _words(family, "made on it", missing, says)
        return Seen(step=step, outcome="wrong", detail=words, facts=says)
    return Seen(step=step, outcome="works", detail=letters(says), facts=says)


def imported(family: str, bench: Bench) -> Seen:
    """Look at a key that the host made and the token took, as sensitive and not extractable."""
    template = _p256_template() if family == "p256" else _aes_template()
    key = bench.bring(template | {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False})
    says = _says(key)
    key.destroy()
    return _judged(family, "imported", "brought in", says, never=HISTORY)


def extractable(family: str, bench: Bench) -> Seen:
    """Look at a key that could leave when it was made, and was closed afterwards if it can be."""
    key = bench.make(_KIND_OF[family], OPEN)
    try:
        key.private[Attribute.SENSITIVE] = True
        key.private[Attribute.EXTRACTABLE] = False
    except PKCS11Error:
        pass  # it stays as it is: what it says of its past must be true all the same
    says = _says(key.private)
    for half in (key.private, key.public):
        if half is not None:
            half.destroy()
    return _judged(family, "extractable", "made extractable", says, never=HISTORY[1:])


def attributes(bench: Bench) -> Seen:
    """Look how the module gives a public point, and attributes of which a key lacks one."""
    pair = bench.key("sign")
    assert pair.public is not None  # noqa: S101 - a pair has two halves
    raw = bytes(pair.public[Attribute.EC_POINT])
    try:
        pair.private.get_attributes([Attribute.KEY_TYPE, Attribute.MODULUS])
        missing_raises = False
    except PKCS11Error:
        missing_raises = True
    if not is_point(plain_point(raw)):
        return Seen(step="attributes", outcome="wrong", detail="CKA_EC_POINT is no point of P-256")
    facts = {"point_raw": plain_point(raw) == raw, "missing_raises": missing_raises}
    return Seen(step="attributes", outcome="works", facts=facts)


def _judged(
    family: str, way: str, how: str, says: dict[str, int], *, never: tuple[str, ...]
) -> Seen:
    step, lies = f"{family}-{way}", [name for name in never if says.get(name) is True]
    if lies:
        words = _words(family, how, lies, says)
        return Seen(step=step, outcome="wrong", detail=words, facts=says)
    return Seen(step=step, outcome="works", detail=letters(says), facts=says)


def _says(key: Any) -> dict[str, int]:
    read = read_attributes(key, tuple(_SAYS.values()))
    told = {name: read.get(attribute) for name, attribute in _SAYS.items()}
    return {name: value for name, value in told.items() if isinstance(value, bool)}


def _words(family: str, how: str, names: list[str], says: dict[str, int]) -> str:
    parts = [f"{name.upper()} {_word(says.get(name))}" for name in names]
    return f"of {_NAMES[family]} key {how}: {', '.join(parts)}"


def _word(value: int | None) -> str:
    return "not told" if value is None else str(value)


def _p256_template() -> dict[Attribute, Any]:
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.KEY_TYPE: KeyType.EC,
        Attribute.EC_PARAMS: P256_PARAMS,
        Attribute.VALUE: number.to_bytes(32),
        Attribute.SIGN: True,
    }


def _aes_template() -> dict[Attribute, Any]:
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: bytes([0x5A]) * _AES_BYTES,
        Attribute.ENCRYPT: True,
        Attribute.DECRYPT: True,
    }


TESTS: dict[str, Callable[[Bench], Seen]] = {
    "attributes": attributes,
    **{f"{family}-made": partial(made, family) for family in _KIND_OF},
    **{f"{family}-imported": partial(imported, family) for family in ("p256", "aes")},
    **{f"{family}-extractable": partial(extractable, family) for family in ("p256", "aes")},
}
