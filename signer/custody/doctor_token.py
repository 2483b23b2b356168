"""Whether profile, module and token fit each other. Nobody logs in.

Of an agent's configuration the one token that it means is judged, without one all that are there.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from signer.custody.doctor import Finding
from signer.custody.doctor_device import Wanted, look_for_device
from signer.custody.doctor_module import missing_module, module_finding, module_path, this_system
from signer.custody.jobs.sources import TokenChoice
from signer.custody.orders import TokenRow, list_tokens
from signer.errors import ModuleError, SignerError
from signer.hsm.pcsc import needs_pcscd
from signer.hsm.profile import DeviceProfile, load_profile, profile_names
from signer.messages.card import UNPROVEN

_LIST_SECONDS = 60.0  # a module that waits for a card which was pulled may never come back
_MOST_SHOWN = 8
_ANY = "generic"  # the profile that describes everything
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


def token_findings(token: TokenChoice, wanted: Wanted) -> list[Finding]:
    """Look at the device, the module's file and, through a worker, at the tokens it shows.

    The one token that `token` means is judged; if it means none, every one.
    """
    module = None if token.module is None else Path(token.module)
    wanted = replace(wanted, profile=token.profile, module=module)
    findings, rows = _module_and_rows(token)
    if rows is not None:
        means_one = token != TokenChoice(profile=token.profile, module=token.module)
        findings += matching_findings(token, rows) if means_one else every_finding(token, rows)
        wanted = replace(wanted, reached=any(row.profile is not None for row in rows))
    return [*look_for_device(wanted), *findings]


def plugged_findings(name: str | None, module: str | None, wanted: Wanted) -> list[Finding]:
    """Look for a device of profile `name`, or at whatever `module` shows; or only at what is there.

    Raises:
        ProfileError: no such profile.
    """
    if name is None and module is None:
        return look_for_device(wanted)
    profile = load_profile(_profile_of(module) if name is None else name)
    if name is None:
        rows = _module_and_rows(TokenChoice(profile=profile, module=module))[1] or []
        if rows and all(row.profile is None for row in rows):
            profile = load_profile(rows[0].described_by or _ANY)
    return token_findings(TokenChoice(profile=profile, module=module), wanted)


def _profile_of(module: str | None) -> str:
    """Return a profile that has a module of this file's name; its tokens say which it is."""
    file = Path(module or "").name
    return next(
        (
            name
            for name in profile_names()
            if file in {path.name for path in load_profile(name).module_paths}
        ),
        _ANY,
    )


def _module_and_rows(token: TokenChoice) -> tuple[list[Finding], list[TokenRow] | None]:
    """Return what is to be said of the module, and the tokens that it shows if it can be asked."""
    module = module_path(token)
    if module is None or not module.is_file():
        named = None if token.module is None else Path(token.module)
        judged = missing_module(token.profile, named, this_system())
    else:
        judged = module_finding(module)
    if judged.state == "bad":
        return [judged, Finding("D_TOKEN", "skipped", "such a module is not loaded")], None
    try:
        return [judged], list_tokens(token, seconds=_LIST_SECONDS)
    except ModuleError as error:
        fix = error.hint or "install its package again"
        if unset := _unset(token.profile, os.environ):
            fix += f"; not set here: {unset}"
        return [
            Finding("D_MODULE", "bad", error.message, fix),
            Finding("D_TOKEN", "skipped", "a module that cannot be loaded shows no token"),
        ], None
    except SignerError as error:
        fix = error.hint or "plug the token in, and look at its software"
        return [judged, Finding("D_TOKEN", "bad", error.message, fix)], None


def every_finding(token: TokenChoice, rows: Sequence[TokenRow]) -> list[Finding]:
    """Judge all tokens of the profile; of others say which profile is theirs."""
    if not rows:
        return [Finding("D_TOKEN", "bad", "the module shows no token", no_token(token, os.environ))]
    ours = [row for row in rows if row.profile is not None]
    findings = [_profile_finding(row, token.profile) for row in (ours or rows)[:_MOST_SHOWN]]
    ready = [row for row in ours if row.initialized]
    for row in ready[:_MOST_SHOWN]:
        findings += [_kind_finding(token, row, "there is"), _pin_finding(row)]
    if ours and not ready:
        findings.append(_kind_finding(token, ours[0], "there is"))
    return findings


def no_token(token: TokenChoice, environment: Mapping[str, str]) -> str:
    """Say what to look at when a module shows no token."""
    steps = ["plug it in, or the card into its reader"]
    if needs_pcscd(token.profile, None if token.module is None else Path(token.module)):
        steps.append("pcscd 2 asks polkit who may use a card: udev/README.md")
    if unset := _unset(token.profile, environment):
        steps.append(f"set {unset} if its module needs it")
    return "; ".join(steps)


def _unset(profile: DeviceProfile, environment: Mapping[str, str]) -> str:
    """Return which of the variables that a module reads are not there."""
    return ", ".join(name for name in profile.environment if name not in environment)


def _profile_finding(row: TokenRow, meant: DeviceProfile) -> Finding:
    """Say which profile describes a token, and whether it is the one that was meant."""
    name = f"{row.manufacturer!r} {row.model!r}"
    if row.described_by in (None, _ANY):
        return Finding(
            "D_PROFILE",
            "warn",
            f"no profile is for a token that calls itself {name}",
            "write one, hsm_profiles/README.md; until then `generic` promises little",
        )
    if row.profile is not None:
        return Finding("D_PROFILE", "ok", f"profile {meant.name!r} describes {name}")
    return Finding(
        "D_PROFILE",
        "bad",
        f"the token is {name}, which profile {meant.name!r} does not describe",
        f"--profile {row.described_by}",
    )


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
    findings.append(_pin_finding(row))
    return findings


def _pin_finding(row: TokenRow) -> Finding:
    """Judge the PIN by the token's own flags."""
    if row.pin_state in _PIN_WORDS:
        return Finding("D_PIN_STATE", *_PIN_WORDS[row.pin_state])
    return Finding("D_PIN_STATE", "ok", "the user PIN is set and not locked")


def _kind_finding(
    token: TokenChoice, row: TokenRow, found: str = "exactly one token matches:"
) -> Finding:
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
    matching = f"{found} {_names([row])}"
    if not token.profile.proven:
        fix = "use a device whose profile says `provenance: strict`"
        return Finding("D_TOKEN", "warn", f"{matching}; {UNPROVEN}", fix)
    return Finding("D_TOKEN", "ok", matching)


def _names(rows: list[TokenRow]) -> str:
    """Return the URIs of some tokens, quoted as a shell and YAML take them."""
    return ", ".join(shlex.quote(row.uri) for row in rows[:8] if row.uri)
