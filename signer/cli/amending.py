"""The wiring of `signer policy amend`, `sign` and `adopt`: files in, one step, files out."""

from pathlib import Path
from typing import Any

from signer.cli.person import ask
from signer.cli.printer import Printer
from signer.cli.wiring import token_choice
from signer.custody.desk import read_group, read_policy
from signer.custody.jobs.sources import SecretSource
from signer.custody.orders import sign_amendment, terminal
from signer.errors import DeniedError, PolicyError
from signer.files import read_file, require_new, write_new
from signer.messages.amendment import MAX_PAYLOAD_BYTES, PAYLOAD_TYPE, AmendmentBody
from signer.messages.card import fingerprint
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.policy.amending import adopt, propose, require_amendment
from signer.policy.policy import Policy
from signer.policy.words import difference, policy_text
from signer.strict import canonical, parse_object

_MAX_SIGNATURE_BYTES = 1024 * 1024
_CHECKED_DIGITS, _TYPED_DIGITS = 12, 6


def proposed(
    group_path: Path, policy_path: Path, current: Path | None, out: Path
) -> tuple[dict[str, Any], str]:
    """Write the amendment that would bring the policy into force."""
    group = read_group(group_path)
    policy = read_policy(policy_path)
    body = propose(group, policy)
    changes = _changes(_before(group, current), policy)
    write_new(out, body.to_payload() + b"\n")
    value = {"amendment": str(out), **_summary(body)}
    lines = [
        f"amendment {body.number} written to {out}",
        f"policy       {group.marked(policy.digest)}   (each holder compares it by voice)",
        "",
        *changes,
        "",
        f"Now: each of the {group.threshold.n} holders reads it and signs: signer policy sign",
    ]
    return value, "\n".join(lines)


def signed(
    printer: Printer,
    *,
    amendment: Path,
    group_path: Path,
    current: Path | None,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: SecretSource | None,
    checked: str | None,
    out: Path,
) -> tuple[dict[str, Any], str]:
    """Show what changes, have the person confirm it, and write the token's signature."""
    group = read_group(group_path)
    body = _read_amendment(amendment)
    policy = require_amendment(group, body)
    require_new(out)
    for line in [
        f"Amendment {body.number} of group {group.marked(group.group_id)}. The policy would say:",
        "",
        *policy_text(policy).splitlines(),
        "",
        *(
            line
            for change in _changes(_before(group, current), policy)
            for line in change.splitlines()
        ),
        "",
        f"new policy   {group.marked(policy.digest)}",
    ]:
        printer.note(line)
    _confirm(policy.digest, checked)
    index, signature = sign_amendment(
        token_choice(profile, module, label, serial), pin, group.to_bytes(), body.to_payload()
    )
    write_new(out, canonical(signature.to_json()) + b"\n")
    holder = group.card_of(index).body.name
    value = {"signature": str(out), "index": index, "holder": holder, **_summary(body)}
    return value, f"{holder} (share {index}) signed amendment {body.number}: {out}"


def adopted(
    amendment: Path, group_path: Path, signatures: tuple[Path, ...], out: Path
) -> tuple[dict[str, Any], str]:
    """Write the group file in which the amendment is in force."""
    group = read_group(group_path)
    body = _read_amendment(amendment)
    whole = adopt(group, body, [_read_signature(path) for path in signatures])
    write_new(out, whole.to_bytes())
    value = {"group_file": str(out), "digest": whole.digest.hex(), **_summary(body)}
    lines = [
        f"amendment {body.number} is in force in {out}, signed by all {group.threshold.n} holders",
        f"group file   {whole.marked(whole.digest)}   (compare by voice)",
        f"policy       {whole.marked(body.policy_digest)}",
        "",
        "Now: each holder puts this group file and the new policy beside his envelope and starts",
        "his agent again. The envelopes stay as they are.",
    ]
    return value, "\n".join(lines)


def _before(group: GroupFile, current: Path | None) -> Policy | None:
    """Return the policy in force; None where nobody gave the first one, which no file carries."""
    if current is not None:
        policy = read_policy(current)
        if policy.digest != group.current_policy_digest:
            raise PolicyError(f"policy {str(current)!r} is not the one in force")
        return policy
    return Policy.parse(group.amendments[-1].body.policy) if group.amendments else None


def _changes(before: Policy | None, after: Policy) -> list[str]:
    if before is None:
        return ["What changes is not known: give the policy in force with --current."]
    return ["What changes:", *difference(before, after)]


def _confirm(digest: bytes, checked: str | None) -> None:
    """Have the person show that he has the new policy's digest from somewhere else.

    Raises:
        UsageError: nobody is there to ask.
        DeniedError: E_CONFIRM: it is another digest.
    """
    if checked is not None:
        if checked != digest.hex()[:_CHECKED_DIGITS]:
            raise DeniedError(
                f"--yes-i-checked is not the first {_CHECKED_DIGITS} hex digits of the new "
                "policy's digest; nothing was signed",
                hint="compare it with whoever proposed the amendment",
                code="E_CONFIRM",
            )
        return
    with terminal("a confirmation", "--yes-i-checked with the digest you compared") as tty:
        typed = ask(
            tty,
            f"The last {_TYPED_DIGITS} digits of the new policy's fingerprint, as you heard them: ",
        )
    if typed.replace(" ", "").lower() != fingerprint(digest).replace(" ", "")[-_TYPED_DIGITS:]:
        raise DeniedError(
            "these are not the new policy's last digits; nothing was signed",
            hint="compare the fingerprint with whoever proposed the amendment",
            code="E_CONFIRM",
        )


def _read_amendment(path: Path) -> AmendmentBody:
    raw = read_file(path, what="amendment", max_bytes=MAX_PAYLOAD_BYTES + 1)
    return AmendmentBody.parse(raw.removesuffix(b"\n"), f"amendment {str(path)!r}")


def _read_signature(path: Path) -> SignedFile:
    what = f"signature {str(path)!r}"
    raw = read_file(path, what="signature", max_bytes=_MAX_SIGNATURE_BYTES)
    value = parse_object(raw, what=what, max_bytes=_MAX_SIGNATURE_BYTES)
    return SignedFile.parse(value, what, payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD_BYTES)


def _summary(body: AmendmentBody) -> dict[str, Any]:
    return {
        "number": body.number,
        "previous": body.previous.hex(),
        "policy_digest": body.policy_digest.hex(),
    }
