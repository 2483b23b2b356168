"""Small private data objects on a token: where a share's journal leaves how far it had come.

Some tokens do not let a value be changed, so a new object is made before the old one goes; between
the two there are two, and the caller says which counts. An object that is not private is not ours:
whoever reaches the module can put it there, without a PIN.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import PKCS11Error

from signer.errors import AnchorError, SignerError
from signer.hsm.provenance import read_attributes
from signer.hsm.session import TokenSession

LABEL = "signer-journal"
MAX_OBJECTS = 64  # of our label; a token for many shares has one for each
MAX_VALUE_BYTES = 256


@dataclass(frozen=True, slots=True)
class DataObject:
    """One private object of our label."""

    name: str  # CKA_APPLICATION: which share's it is
    value: bytes
    handle: Any


def read_objects(session: TokenSession, name: str) -> list[DataObject]:
    """Return the private objects of our label and of this `name`.

    Raises:
        AnchorError: one of our label cannot be read, or there are too many.
    """
    search = {
        Attribute.CLASS: ObjectClass.DATA,
        Attribute.LABEL: LABEL,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
    }
    try:
        with session.doing("looking for the journal's anchor"):
            found = list(session.session.get_objects(search))
            if len(found) > MAX_OBJECTS:
                raise AnchorError(f"{session.token.describe()} has {len(found)} journal anchors")
            read = [_read(handle) for handle in found]
    except AnchorError:
        raise
    except SignerError as error:
        raise AnchorError(error.message, hint=error.hint) from None
    if any(entry is None for entry in read):
        raise unreadable(session, "one of them has no name or no value")
    return [entry for entry in read if entry is not None and entry.name == name]


def replace_objects(
    session: TokenSession, name: str, value: bytes, old: Sequence[DataObject]
) -> None:
    """Make a new object, then remove `old` ones. Leftovers are removed the next time.

    Raises:
        AnchorError: the token is full, read-only or refuses; the old objects stay.
    """
    template = {
        Attribute.CLASS: ObjectClass.DATA,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.MODIFIABLE: True,
        Attribute.LABEL: LABEL,
        Attribute.APPLICATION: name,
        Attribute.VALUE: value,
    }
    try:
        with session.writable() as writable, session.doing("keeping the journal's anchor"):
            writable.create_object(template)
            for entry in old:
                # By handle of the first session; objects of a token are every session's.
                with contextlib.suppress(PKCS11Error):
                    _destroy(writable, entry)
    except SignerError as error:
        raise AnchorError(
            f"{error.message}; nothing was signed",
            hint="is the token full or write-protected? Make room, or see docs/journal.md",
        ) from None


def unreadable(session: TokenSession, why: str) -> AnchorError:
    """Return the error of an object with our label that is none of ours."""
    return AnchorError(
        f"{session.token.describe()} has an object {LABEL!r} that is no journal anchor: {why}",
        hint="look at it with `pkcs11-tool --login --list-objects --type data`; remove it only if "
        "you know whose it is",
    )


def _read(handle: Any) -> DataObject | None:
    read = read_attributes(handle, (Attribute.APPLICATION, Attribute.VALUE))
    name, value = read.get(Attribute.APPLICATION), read.get(Attribute.VALUE)
    if not isinstance(name, str) or not isinstance(value, bytes) or not name:
        return None
    return DataObject(name, value[: MAX_VALUE_BYTES + 1], handle)


def _destroy(writable: Any, entry: DataObject) -> None:
    """Remove an object that another session found: found again, in the one that may write."""
    search = {
        Attribute.CLASS: ObjectClass.DATA,
        Attribute.LABEL: LABEL,
        Attribute.PRIVATE: True,
        Attribute.APPLICATION: entry.name,
        Attribute.VALUE: entry.value,
    }
    for handle in list(writable.get_objects(search)):
        handle.destroy()
