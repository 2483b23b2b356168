"""What a token shows to anybody, without a PIN.

Public objects are not behind the PIN: whoever reaches the module can put his own there. So what is
read here says that a token looks like ours, never that it is. The worker proves that by opening the
envelope.
"""

import contextlib
from itertools import islice

from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import PKCS11Error

from signer.hsm.discovery import TokenInfo
from signer.hsm.pairs import plain_public
from signer.hsm.translate import translated

_MOST_OBJECTS = 64  # of one label; somebody may have planted thousands


def public_keys(token: TokenInfo, label: str, method: str) -> frozenset[bytes]:
    """Return the public keys `label` that `token` shows, as `signer.recipient` has them.

    Args:
        token: which.
        label: the keys'.
        method: how is sealed to them.

    Raises:
        TokenError: the token did not answer in order.
    """
    points = set()
    with translated("looking at public keys", token.describe()):
        session = token.slot.get_token().open()
        try:
            wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}
            for key in list(islice(session.get_objects(wanted), _MOST_OBJECTS)):
                if (found := plain_public(key, method)) is not None:
                    points.add(found)
        finally:
            with contextlib.suppress(PKCS11Error):
                session.close()
    return frozenset(points)
