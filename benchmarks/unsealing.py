"""What our code adds to a token's own work when it opens an envelope, on each module that is here.

The session is kept and logged in, as a worker's is. Ours is what a worker does: find the receiving
key among the token's, check it, have the token unwrap, decrypt the share. The yardstick is the
same calls by python-pkcs11 alone: one search, one read of each object's attributes that the check
needs, the token's step (in a session of its own where ours has one), and nothing made of any of it.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pkcs11.constants import Attribute
from pkcs11.mechanisms import KDF, MGF, GCMParams, KeyType, Mechanism
from pkcs11.types import PublicKey

from benchmarks.measure import cpu_seconds, median_ratio, wall_seconds
from signer.errors import ModuleError
from signer.hsm.keys import ensure_keys, receiving_key
from signer.hsm.provenance import PROVENANCE_ATTRIBUTES
from signer.hsm.receiving import RECEIVING_LABEL
from signer.hsm.session import TokenSession
from signer.recipient import AES_256_GCM, HPKE_P256, RSA_OAEP_SHA1, RSA_OAEP_SHA256
from signer.sealing.envelope import Binding
from signer.sealing.share import seal_share, unseal_share
from signer.secret import SecretBytes
from tests.modules.bench import Bench, told
from tests.modules.catalogue import MODULES
from tests.modules.processes import NotReadyError

# Module and method; of how many unseals one measurement is, so that it is some milliseconds.
# By CPU time, but for modules that have their work done by another process by the clock.
CASES = (
    ("softhsm2", HPKE_P256, 20, cpu_seconds),
    ("softhsm2", RSA_OAEP_SHA1, 5, cpu_seconds),
    ("softhsm2", AES_256_GCM, 20, cpu_seconds),
    ("nss", HPKE_P256, 10, cpu_seconds),
    ("tpm2", RSA_OAEP_SHA256, 1, wall_seconds),
    ("p11-kit", RSA_OAEP_SHA1, 5, wall_seconds),
)
_ROUNDS = 31
_SHARE = bytes(31) + b"\1"
Seconds = Callable[[Callable[[], object]], float]
Step = Callable[[Any, bytes, bytes], bytes]  # private key, what travelled, associated data
_BINDING = Binding(
    group=bytes(32), epoch=1, index=1, public_share=bytes(48), role="withdrawal",
    policy_digest=bytes(32), holders=bytes(32), certificate=bytes(32),
)  # fmt: skip


def unseal_ratios() -> Iterator[tuple[str, float]]:
    """Yield the name and ratio of each case whose module is installed."""
    for name, method, repeats, seconds in CASES:
        with tempfile.TemporaryDirectory(prefix="signer-bench-") as folder, ExitStack() as stack:
            try:
                under = stack.enter_context(MODULES[name](Path(folder)))
            except (NotReadyError, ModuleError, FileNotFoundError) as error:
                print(f"unseal_ratio_{name}: left out, {error}", flush=True)
                continue
            stack.enter_context(told(under.environment))
            pins = Path(folder) / "pins"
            pins.mkdir()
            bench = Bench(under, pins)
            stack.callback(bench.close)
            bench.seal_by(method)
            with bench.session() as session:
                ratio = _ratio(session, repeats, seconds)
        yield f"unseal_ratio_{name}_{method}".replace("-", "_"), ratio


def main() -> None:
    """Measure these alone."""
    for name, ratio in unseal_ratios():
        print(f"{name:<38} {ratio:.3f}", flush=True)


def _ratio(session: TokenSession, repeats: int, seconds: Seconds) -> float:
    ensure_keys(session)
    key = receiving_key(session)
    with SecretBytes(_SHARE) as share:
        envelope = seal_share(share, _BINDING, [key.public_point], os.urandom, key.wraps)
    asked: list[tuple[bytes, bytes]] = []

    def noted(enc: bytes, aad: bytes) -> SecretBytes:
        asked.append((enc, aad))
        return key.unlock(enc, aad)

    with unseal_share(envelope, _BINDING, key.public_point, noted) as opened:
        if opened.expose() != _SHARE:
            raise SystemExit("an envelope did not open")
    (enc, aad), (public, step) = asked[0], _BARE[key.method]

    def ours() -> None:
        for _ in range(repeats):
            found = receiving_key(session, envelope.recipients)
            unseal_share(envelope, _BINDING, found.public_point, found.unlock).wipe()

    def bare() -> None:
        for _ in range(repeats):
            if len(step(_bare_key(session.session, public), enc, aad)) != len(_SHARE):
                raise SystemExit("the bare calls gave another length")

    return median_ratio(lambda: seconds(ours), lambda: seconds(bare), rounds=_ROUNDS)


def _bare_key(session: Any, public: list[Attribute]) -> Any:
    """Find the receiving key, and read once of both halves what says which it is and whose."""
    private = None
    for found in list(session.get_objects({Attribute.LABEL: RECEIVING_LABEL})):
        if isinstance(found, PublicKey):
            found.get_attributes(public)
        else:
            found.get_attributes([Attribute.ID, *PROVENANCE_ATTRIBUTES])
            private = found
    return private


def _derive(key: Any, enc: bytes, _: bytes) -> bytes:
    shared = key.derive_key(
        KeyType.GENERIC_SECRET, 256, capabilities=0, mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, enc),
        template={
            Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: False,
        },
    )  # fmt: skip
    value: bytes = shared[Attribute.VALUE]
    shared.destroy()
    return value


def _oaep(hashed: Mechanism, mask: MGF) -> Step:
    def step(key: Any, enc: bytes, _: bytes) -> bytes:
        with contextlib.closing(key.session.token.open(rw=True)):
            value: bytes = key.decrypt(
                enc, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=(hashed, mask, None)
            )
        return value

    return step


def _gcm(key: Any, enc: bytes, aad: bytes) -> bytes:
    with contextlib.closing(key.session.token.open(rw=True)):
        value: bytes = key.decrypt(
            enc[12:], mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(enc[:12], aad, 128)
        )
    return value


_POINT = [Attribute.ID, Attribute.EC_POINT]
_MODULUS = [Attribute.ID, Attribute.MODULUS, Attribute.PUBLIC_EXPONENT]
_BARE: dict[str, tuple[list[Attribute], Step]] = {
    HPKE_P256: (_POINT, _derive),
    RSA_OAEP_SHA1: (_MODULUS, _oaep(Mechanism.SHA_1, MGF.SHA1)),
    RSA_OAEP_SHA256: (_MODULUS, _oaep(Mechanism.SHA256, MGF.SHA256)),
    AES_256_GCM: ([], _gcm),
}


if __name__ == "__main__":
    main()
