"""The wiring of `signer share recover`: an envelope for a holder whose disk is lost."""

from pathlib import Path

from signer.ceremony.acknowledgement import MAX_BYTES as MAX_ACKNOWLEDGEMENT_BYTES
from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.certificate import MAX_BYTES as MAX_CERTIFICATE_BYTES
from signer.ceremony.certificate import Certificate
from signer.ceremony.roster import RESHARE
from signer.cli.printer import Printer, printable
from signer.custody.custodian import module_environment
from signer.custody.desk import read_group
from signer.custody.jobs import Job
from signer.custody.jobs.ceremony import FinishCeremony, ResealShare
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import pin_source
from signer.custody.worker_process import run_worker
from signer.errors import UsageError
from signer.files import read_file, require_new, write_new
from signer.messages.group_file import MAX_BYTES as MAX_GROUP_BYTES
from signer.sealing.envelope import Envelope

_SECONDS = 300.0  # a person types a PIN meanwhile; 100 deals take a slow token a while


def recover_share(
    printer: Printer,
    *,
    token: TokenChoice,
    pin: SecretSource | None,
    certificate: Path | None,
    previous: Path | None,
    acknowledgement: Path | None,
    group: Path | None,
    out: Path,
) -> None:
    """Do what `signer share recover` is asked.

    Raises:
        UsageError: not exactly one of the two ways.
        OutputError: `out` is no new file; that is looked at before a PIN is spent.
        SignerError: whatever the files or the token say.
    """
    if (certificate is None) == (acknowledgement is None):
        raise UsageError("give --certificate, or --ack with --group")
    if (acknowledgement is None) != (group is None) or (previous and certificate is None):
        raise UsageError("--group goes with --ack, and --previous with --certificate")
    require_new(out)
    text = None if certificate is None else _certificate(certificate, previous)
    with pin_source(pin) as (source, terminals):
        job: Job
        if text is not None:
            job = FinishCeremony(
                token=token,
                pin=source,
                certificate=text,
                previous=None
                if previous is None
                else _text(previous, "previous group file", MAX_GROUP_BYTES),
                recovered=True,
            )
        else:
            job = _reseal(token, source, acknowledgement, group)
        result = run_worker(
            job,
            environment=module_environment(token.profile.environment),
            seconds=_SECONDS,
            terminals=terminals,
        )
    envelope = Envelope.parse(str(result.take("envelope")).encode())
    write_new(out, envelope.to_bytes(), mode=0o600)
    index = envelope.binding.index
    printer.result(
        {"index": index, "epoch": envelope.binding.epoch, "recovered": True, "envelope": str(out)},
        f"share {index} of epoch {envelope.binding.epoch}, sealed anew: {printable(str(out))}\n"
        "It does not sign before its history is back: signer journal import",
    )


def _reseal(
    token: TokenChoice, pin: SecretSource, acknowledgement: Path | None, group: Path | None
) -> ResealShare:
    if acknowledgement is None or group is None:
        raise ValueError("looked at before")
    raw = read_file(acknowledgement, what="acknowledgement", max_bytes=MAX_ACKNOWLEDGEMENT_BYTES)
    Acknowledgement.parse(raw, f"acknowledgement {str(acknowledgement)!r}")  # before a PIN is asked
    return ResealShare(
        token=token,
        pin=pin,
        group=read_group(group).to_bytes().decode(),
        acknowledgement=raw.decode(),
    )


def _certificate(path: Path, previous: Path | None) -> str:
    """Return the certificate's text, if it goes together with a group file before it, or none.

    Raises:
        UsageError: --previous is missing, or there is none to be given.
    """
    text = _text(path, "certificate", MAX_CERTIFICATE_BYTES)
    roster = Certificate.parse(text.encode(), f"certificate {str(path)!r}").roster
    if (roster.kind == RESHARE) != (previous is not None):
        words = "needs --previous, the group file that it followed"
        if previous is not None:
            words = f"follows no group file: it is of a {roster.kind}; leave --previous out"
        raise UsageError(f"this certificate {words}")
    return text


def _text(path: Path, what: str, most: int) -> str:
    return read_file(path, what=what, max_bytes=most).decode("utf-8", errors="replace")
