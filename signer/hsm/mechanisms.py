"""What a ceremony asks of a token's own mechanism list, whatever its profile says."""

from pkcs11.mechanisms import Mechanism

from signer.errors import MechanismError
from signer.hsm.session import TokenSession

CEREMONY_MECHANISMS = {
    "CKM_EC_KEY_PAIR_GEN": Mechanism.EC_KEY_PAIR_GEN,  # a receiving key for each ceremony
    "CKM_ECDH1_DERIVE": Mechanism.ECDH1_DERIVE,  # opens what is sealed to it
    "CKM_ECDSA": Mechanism.ECDSA,  # signs files, over a digest
}


def require_ceremony_mechanisms(session: TokenSession) -> None:
    """Refuse a token that could not go through a ceremony.

    Raises:
        MechanismError: naming the mechanisms that it does not list.
    """
    with session.doing("asking for its mechanisms"):
        offered = session.token.slot.get_mechanisms()
    missing = [name for name, mechanism in CEREMONY_MECHANISMS.items() if mechanism not in offered]
    if missing:
        raise MechanismError(
            f"{session.token.describe()} cannot take part in a ceremony: "
            f"it does not offer {', '.join(missing)}",
            hint="switch them on with the vendor's tool, or take another token; no key was made",
        )
