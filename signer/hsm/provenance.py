"""Whether a key was made on its token and cannot leave it, by the token's own word.

CKA_LOCAL carries the weight: some modules answer the other two with TRUE whatever happened. It is
the module's word to its holder. Only a vendor's attestation would convince somebody else. Of a
module that cannot give its word, or gives it whatever happened, the profile says so; then its keys
must still be closed now, and what is said of them is that nothing is proven.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pkcs11.constants import Attribute
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import Object

from signer.errors import ProvenanceError

Attributes = Mapping[Attribute, Any]

P256_PARAMS = bytes.fromhex("06082a8648ce3d030107")  # DER of the OID prime256v1

_USAGES = (Attribute.SIGN, Attribute.DERIVE, Attribute.DECRYPT, Attribute.UNWRAP)
_HISTORY = {
    Attribute.LOCAL: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
}
_STATE = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
}


PROVENANCE_ATTRIBUTES = (*_HISTORY, *_STATE, *_USAGES, Attribute.EC_PARAMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of a key that passed the check; there is none for any other."""

    proven: bool  # made on the token and never able to leave it, by the token's word


def require_provenance(
    found: Attributes, usage: Attribute, *, curve: bool = True, proven: bool = True, what: str
) -> Provenance:
    """Check that a private key was made on the token, stays there, and does `usage` only.

    Of a token that can prove nothing (`proven` false) it is asked that the key stays there now.

    Args:
        found: what was read of PROVENANCE_ATTRIBUTES.
        usage: the one thing the key may do: SIGN, DERIVE, DECRYPT.
        curve: whether it must be a key of P-256.
        proven: whether the token must prove where it was made, as its profile says.
        what: the key, for the message.

    Raises:
        ProvenanceError: naming the attribute that is not as it must be.
    """
    demanded = _STATE | {other: other is usage for other in _USAGES}
    for attribute, wanted in ((_HISTORY | demanded) if proven else demanded).items():
        # A usage that the token does not know is one that it does not offer.
        said = found.get(attribute, False if attribute in _USAGES else "not told")
        if said is not wanted:
            raise ProvenanceError(
                f"{what}: {attribute.name} is {said}, {wanted} is required",
                hint="this key is not used: make a new one on a token initialised anew",
            )
    if curve and found.get(Attribute.EC_PARAMS) != P256_PARAMS:
        raise ProvenanceError(f"{what}: EC_PARAMS is not the curve P-256")
    return Provenance(proven=proven)


def read_attributes(key: Object, attributes: Sequence[Attribute]) -> Attributes:
    """Read all in one round trip; one by one where the token does not know one of them.

    One whose value pkcs11 makes no Python value of (ValueError) is as good as unknown.
    """
    try:
        return key.get_attributes(list(attributes))
    except (PKCS11Error, ValueError):
        found = {}
        for attribute in attributes:
            with contextlib.suppress(PKCS11Error, ValueError):
                found[attribute] = key[attribute]
        return found
