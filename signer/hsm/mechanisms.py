"""What is asked of a token's own mechanism list, whatever its profile says."""

from collections.abc import Iterable

from pkcs11.mechanisms import Mechanism

from signer.errors import MechanismError
from signer.hsm.session import TokenSession
from signer.recipient import AES_256_GCM, HPKE_P256, RSA_OAEP_SHA1, RSA_OAEP_SHA256

CEREMONY_MECHANISMS = {
    "CKM_EC_KEY_PAIR_GEN": Mechanism.EC_KEY_PAIR_GEN,  # a receiving key for each ceremony
    "CKM_ECDH1_DERIVE": Mechanism.ECDH1_DERIVE,  # opens what is sealed to it
    "CKM_ECDSA": Mechanism.ECDSA,  # signs files, over a digest
}


_SIGNING = (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA)
_OF_METHOD = {
    HPKE_P256: (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDH1_DERIVE),
    RSA_OAEP_SHA256: (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.RSA_PKCS_OAEP),
    RSA_OAEP_SHA1: (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.RSA_PKCS_OAEP),
    AES_256_GCM: (Mechanism.AES_KEY_GEN, Mechanism.AES_GCM),
}


def require_ceremony_mechanisms(session: TokenSession) -> None:
    """Refuse a token that could not go through a ceremony.

    Raises:
        MechanismError: naming the mechanisms that it does not list.
    """
    _require(session, CEREMONY_MECHANISMS.values(), "cannot take part in a ceremony")


def require_key_mechanisms(session: TokenSession, method: str, *, signs: bool) -> None:
    """Refuse a key that failed to be made, if the token does not even list what it is for.

    Not asked before: some modules list less than they can do. But what they say of a key that
    they cannot make may be no more than CKR_GENERAL_ERROR.

    Raises:
        MechanismError: naming the mechanisms that it does not list.
    """
    _require(session, _SIGNING if signs else _OF_METHOD[method], "cannot have this key")


def _require(session: TokenSession, wanted: Iterable[Mechanism], cannot: str) -> None:
    with session.doing("asking for its mechanisms"):
        offered = session.token.slot.get_mechanisms()
    missing = [f"CKM_{mechanism.name}" for mechanism in wanted if mechanism not in offered]
    if missing:
        raise MechanismError(
            f"{session.token.describe()} {cannot}: it does not offer {', '.join(missing)}",
            hint="switch them on with the vendor's tool, or take another token; no key was made",
        )
