"""The wiring of `signer token card`: options in, one order to a worker, the card out."""

import re
import time
from pathlib import Path

from signer.cli.printer import Printer, printable
from signer.cli.wiring import holder_name, token_choice
from signer.custody.jobs.sources import SecretSource
from signer.custody.jobs.tokens import FINGERPRINT_PATTERN
from signer.custody.orders import make_card
from signer.errors import SchemaError, UsageError
from signer.files import read_file, require_new, write_new
from signer.messages.card import (
    MAX_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATES,
    UNPROVEN,
    Attestation,
    Card,
    fingerprint,
)
from signer.messages.confirmation import twelve_words
from signer.messages.group_file import marked_fingerprint, marked_text
from signer.sealing.envelope import key_fingerprint
from signer.strict import canonical, parse_base64

_MAX_FILE_BYTES = 64 * 1024  # of attestation: certificates in PEM, with words around them
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")
_X509_TAG, _CVC_TAG = b"\x30", b"\x7f\x21"


def write_card(
    printer: Printer,
    *,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: SecretSource | None,
    name: str,
    fresh_key: bool,
    kex: str | None,
    spare_card: Path | None,
    attestation: tuple[Path, ...],
    attestation_kind: str | None,
    out: Path,
) -> None:
    """Do what `signer token card` is asked."""
    if fresh_key and kex is not None:
        raise UsageError("--kex names a key that is there; --fresh-key makes another")
    require_new(out)  # before a key is made for it
    made = make_card(
        token_choice(profile, module, label, serial),
        pin,
        holder_name(name),
        int(time.time()),
        fresh_key=fresh_key,
        kex=None if kex is None else _key(kex),
        spare=None if spare_card is None else _card_bytes(spare_card),
        attestation=read_attestation(attestation, attestation_kind),
    )
    write_new(out, canonical(made.to_json()) + b"\n")
    printer.result(_document(made, out), _words(made, out, fresh=fresh_key))


def read_attestation(files: tuple[Path, ...], kind: str | None) -> Attestation | None:
    """Return the certificates in `files`, in their order; None if there are no files.

    Raises:
        UsageError: files without a kind, a kind without files, or too many certificates.
        SchemaError: a file that holds no certificates, or one too large.
    """
    if bool(files) != (kind is not None):
        raise UsageError("--attestation FILE and --attestation-kind KIND go together")
    if kind is None:
        return None
    certificates: list[bytes] = []
    for file in files:
        what = f"attestation {str(file)!r}"
        certificates += certificates_of(
            read_file(file, what="attestation", max_bytes=_MAX_FILE_BYTES), what
        )
    if len(certificates) > MAX_CERTIFICATES:
        raise UsageError(
            f"{len(certificates)} certificates of attestation; a card carries {MAX_CERTIFICATES}"
        )
    return Attestation(kind, tuple(certificates))


def certificates_of(raw: bytes, what: str) -> list[bytes]:
    """Return the certificates in a file: PEM, or DER one after the other (X.509 or CVC).

    Only where each begins and ends is looked at.

    Raises:
        SchemaError: anything else, or a certificate that a card cannot carry.
    """
    blocks = [match[1] for match in _PEM.finditer(raw)]
    if blocks:
        raw = b"".join(
            parse_base64(b"".join(block.split()).decode(), what, max_bytes=_MAX_FILE_BYTES)
            for block in blocks
        )
    certificates = []
    while raw:
        size = _der_size(raw)
        if not 1 <= size <= len(raw):
            break
        certificates.append(raw[:size])
        raw = raw[size:]
    if raw or not certificates:
        raise SchemaError(f"{what}: these are no certificates in PEM or DER")
    if max(map(len, certificates)) > MAX_CERTIFICATE_BYTES:
        raise SchemaError(f"{what}: a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    return certificates


def _der_size(raw: bytes) -> int:
    """Return how many bytes the certificate at the head of `raw` takes; 0 if none is there."""
    tag = next((tag for tag in (_X509_TAG, _CVC_TAG) if raw.startswith(tag)), b"")
    body = raw[len(tag) :]
    if not tag or not body:
        return 0
    if body[0] < 0x80:
        return len(tag) + 1 + body[0]
    count = body[0] & 0x7F  # bytes of the length
    if not 1 <= count <= 2 or len(body) <= count:
        return 0
    return len(tag) + 1 + count + int.from_bytes(body[1 : 1 + count])


def _key(text: str) -> str:
    """Return a fingerprint as an order carries it: without spaces, in lower case."""
    digits = "".join(text.split()).lower().removeprefix("rehearsal")
    if re.fullmatch(FINGERPRINT_PATTERN, digits) is None:
        raise UsageError("--kex takes the fingerprint of a receiving key, four groups of four")
    return digits


def _card_bytes(path: Path) -> bytes:
    """Read the spare's card and verify it, to name its file if it does not hold."""
    raw = read_file(path, what="card", max_bytes=MAX_BYTES)
    Card.parse_file(raw, f"card {str(path)!r}")
    return raw


def _document(card: Card, out: Path) -> dict[str, object]:
    body = card.body
    return {
        "card": str(out),
        "name": body.name,
        "fingerprint": fingerprint(card.digest),
        "words": twelve_words(card.digest),
        "kex": key_fingerprint(body.kex),
        "kex_backup": None if body.kex_backup is None else key_fingerprint(body.kex_backup),
        "key_backup": body.key_backup,
        "software": body.software,
        "ceremony": body.ceremony,
        "proven": body.proven,
    }


def _words(card: Card, out: Path, *, fresh: bool) -> str:
    body = card.body

    def marked(text: str) -> str:
        return marked_text(text, rehearsal=body.software)

    lines = [
        f"card of {body.name} written to {printable(str(out))}",
        f"fingerprint    {marked_fingerprint(card.digest, rehearsal=body.software)}",
        f"in words       {marked(twelve_words(card.digest))}",
        f"receiving key  {marked(key_fingerprint(body.kex))}{', made now' if fresh else ''}",
    ]
    if body.kex_backup is not None:
        lines.append(f"of the spare   {marked(key_fingerprint(body.kex_backup))}")
    if body.attestation is not None:
        count = len(body.attestation.certificates)
        lines.append(f"attestation    {body.attestation.kind}, {count} carried, not verified")
    if body.software:
        lines.append("software token: it protects nothing, for tests and rehearsals only")
    if not body.proven:
        lines.append(UNPROVEN)
    if not body.ceremony:
        lines.append("for no ceremony: this kind of token lacks what one needs")
    return "\n".join(lines)
