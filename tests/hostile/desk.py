"""The desk of a hostile holder: the folder that travels, and a token that signs anything."""

from dataclasses import dataclass
from pathlib import Path

from signer.bls.scalar import GROUP_ORDER
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker.notary import identity_on, sign_file
from signer.custody.worker.opening import open_share
from signer.hsm.keys import receiving_key
from signer.hsm.receiving import ReceivingKey
from signer.hsm.session import TokenSession
from signer.messages.card import Card
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.share import SecretShare

INFINITY = b"\xc0" + bytes(47)
# p, the order of the field of G1's coordinates
FIELD = bytes.fromhex(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
)
# bls12-381-tests, deserialization_fails_not_in_G1: on the curve
OUTSIDE = bytes.fromhex("8123456789abcdef" + "0123456789abcdef" * 5)


@dataclass
class Desk:
    """What every cheat works with. He signs with his token like everybody: it is evidence."""

    folder: CeremonyFolder
    card: Card
    session: TokenSession
    token: TokenChoice
    pin: SecretSource
    envelope: Path | None = None  # of the share that he has
    journal: Path | None = None

    def sign(self, kind: str, payload: bytes) -> SignedFile:
        """Sign whatever it is."""
        return sign_file(identity_on(self.session, self.card), kind, payload)

    @property
    def key(self) -> ReceivingKey:
        """The receiving key on his card."""
        return receiving_key(self.session, [self.card.body.kex])

    def share(self, group: GroupFile) -> SecretShare:
        """Open the share that he has."""
        if self.envelope is None:
            raise SystemExit("--envelope is needed")
        return open_share(self.session, Envelope.parse(self.envelope.read_bytes()), group)[1]

    def put(self, name: str, data: bytes | SignedFile) -> str:
        """Put a file into the folder, over whatever is there; return its name."""
        raw = canonical(data.to_json()) if isinstance(data, SignedFile) else data
        (self.folder.path / name).write_bytes(raw)
        return name


def off_by_one(plain: SecretBytes) -> bytes:
    """Return the number that comes after this one."""
    return ((int.from_bytes(plain.expose()) + 1) % GROUP_ORDER).to_bytes(32)
