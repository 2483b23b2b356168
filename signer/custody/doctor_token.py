"""Whether profile, module and token fit each other. Nobody logs in."""

import shlex
from pathlib import Path

from signer.custody.doctor import Finding
from signer.custody.jobs.sources import TokenChoice
from signer.custody.orders import TokenRow, list_tokens
from signer.errors import SignerError
from signer.hsm.module_file import require_unchangeable
from signer.messages.card import UNPROVEN

_PIN_WORDS = {
    "low": ("warn", "a wrong PIN was tried before", "log in once with the right PIN"),
    "final try": (
        "bad",
        "one wrong PIN more would lock the token",
        "log in by hand with the vendor's tool, to reset the count",
    ),
    "locked": ("bad", "the user PIN is locked", "unlock it with the SO PIN and the vendor's tool"),
    "not set": ("bad", "the token has no user PIN", "set one with the vendor's tool"),
}


def token_findings(token: TokenChoice) -> list[Finding]:
    """Look at the module's file and, through a worker, at the tokens it shows."""
    module = module_path(token)
    if module is None:
        return [
            Finding(
                "D_MODULE",
                "bad",
                f"no PKCS#11 module where profile {token.profile.name!r} looks for one",
                "install the device's software, or set token.module",
            )
        ]
    judged = module_finding(module)
    if judged.state == "bad":
        return [judged, Finding("D_TOKEN", "skipped", "such a module is not loaded")]
    try:
        rows = list_tokens(token)
    except SignerError as error:
        fix = error.hint or "plug the token in, and look at its software"
        return [judged, Finding("D_TOKEN", "bad", error.message, fix)]
    return [judged, *matching_findings(token, rows)]


def module_path(token: TokenChoice) -> Path | None:
    """Return the module's file as a worker would choose it."""
    if token.module is not None:
        return Path(token.module)
    return next((path for path in token.profile.module_paths if path.exists()), None)


def module_finding(path: Path) -> Finding:
    """Judge who could put another file in the module's place."""
    try:
        require_unchangeable(path)
    except SignerError as error:
        fix = error.hint or "let root own it and every folder above"
        return Finding("D_MODULE", "bad", error.message, fix)
    return Finding("D_MODULE", "ok", f"nobody else can change the module {str(path)!r}")


def matching_findings(token: TokenChoice, rows: list[TokenRow]) -> list[Finding]:
    """Judge the one token that is meant among those that are there."""
    found = [row for row in rows if row.meant]
    if not found:
        return [
            Finding(
                "D_TOKEN",
                "bad",
                f"the configured token is not there; present: {_names(rows) or 'none'}",
                "plug it in, or correct token.uri; `signer token list` shows what is there",
            )
        ]
    if len(found) > 1:
        return [
            Finding(
                "D_TOKEN",
                "bad",
                f"{len(found)} tokens match: {_names(found)}",
                "name the one by token.uri",
            )
        ]
    (row,) = found
    findings = [_kind_finding(token, row)]
    if token.serial is None:
        findings.append(
            Finding(
                "D_TOKEN_SERIAL",
                "warn",
                "the token is chosen by its label, which another can have too",
                f"set token.uri instead: {_names([row])}",
            )
        )
    if row.pin_state in _PIN_WORDS:
        findings.append(Finding("D_PIN_STATE", *_PIN_WORDS[row.pin_state]))
    else:
        findings.append(Finding("D_PIN_STATE", "ok", "the user PIN is set and not locked"))
    return findings


def _kind_finding(token: TokenChoice, row: TokenRow) -> Finding:
    if row.profile is None:
        return Finding(
            "D_TOKEN",
            "bad",
            f"the token is {row.manufacturer!r} {row.model!r}, "
            f"not what profile {token.profile.name!r} describes",
            "take the profile of this device"
            if row.described_by is None
            else f"token.profile: {row.described_by}",
        )
    if not row.initialized:
        return Finding(
            "D_TOKEN", "bad", "the token is not initialised", f"once: {token.profile.initialise}"
        )
    matching = f"exactly one token matches: {_names([row])}"
    if not token.profile.proven:
        fix = "use a device whose profile says `provenance: strict`"
        return Finding("D_TOKEN", "warn", f"{matching}; {UNPROVEN}", fix)
    return Finding("D_TOKEN", "ok", matching)


def _names(rows: list[TokenRow]) -> str:
    """Return the URIs of some tokens, quoted as a shell and YAML take them."""
    return ", ".join(shlex.quote(row.uri) for row in rows[:8] if row.uri)
