"""What `signer token probe` orders, prints and writes."""

import os
import re
import time
from dataclasses import asdict
from pathlib import Path

from signer.cli.printer import Printer, Progress, printable, table
from signer.cli.wiring import token_choice
from signer.custody.conformance import probe_token
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import UsageError
from signer.files import make_folder, require_new, write_new
from signer.hsm.probe.differences import Difference, differences
from signer.hsm.probe.draft import draft_of
from signer.hsm.probe.draft_file import profile_text
from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import STEPS
from signer.hsm.probe.verdict import Conclusions, conclude, makes_no_session_keys, rows
from signer.hsm.profile import DeviceProfile, load_profile, profile_names

UNKNOWN = "generic"  # the profile that is taken where none was named: it says nothing of a token
_MOST_VARIABLES = 8
_LEGEND = (
    "T/F/F: what a key says of LOCAL, ALWAYS_SENSITIVE, NEVER_EXTRACTABLE; - is not told. "
    "claimed: by its list of mechanisms, or by CK_TOKEN_INFO."
)


def probe(
    printer: Printer,
    *,
    profile: str | None,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: SecretSource | None,
    variables: tuple[str, ...],
    out: Path | None,
    seconds: int,
    token_keys: bool,
) -> None:
    """Probe a token, print what was seen, write it to the new folder `out`.

    Raises:
        UsageError: no module is named, or a variable that can be none.
        OutputError: `out` exists, or cannot be written.
        TokenError: it cannot be logged in to.
    """
    token = _token(profile, module, label, serial)
    _require_variables(variables)
    if out is not None:
        require_new(out)
    bar = Progress(printer)
    try:
        done = probe_token(
            token,
            pin,
            environment=_environment(profile, token.profile, variables),
            seconds=seconds,
            token_keys=token_keys,
            moment=int(time.time()),
            on_step=lambda number, words: bar.show(number, len(STEPS), words),
        )
    finally:
        bar.end()
    report = done.report
    known = None if report.profile is None else load_profile(report.profile)
    otherwise = () if known is None else differences(report, known)
    written = [] if out is None else _write(out, report, token, known, variables)
    if done.left is not None:
        printer.note(
            f"objects labelled {done.left} may be left on the token: look with "
            "`pkcs11-tool --login --list-objects`, and destroy them"
        )
    found = conclude(report)
    value = {
        "version": 1,
        "report": report.to_json(),
        "rows": [asdict(row) for row in rows(report)],
        "conclusions": asdict(found),
        "profile": None if known is None else known.name,
        "differences": [asdict(entry) for entry in otherwise],
        "left": done.left,
        "written": [str(path) for path in written],
    }
    printer.result(value, _text(report, found, known, otherwise, written))


def _token(
    profile: str | None, module: Path | None, label: str | None, serial: str | None
) -> TokenChoice:
    choice = token_choice(profile or UNKNOWN, module, label, serial)
    if choice.module is None and not choice.profile.modules:
        raise UsageError(
            "name the PKCS#11 module with --module, or a profile that knows its place",
            hint=f"--profile takes {', '.join(profile_names())}, or a YAML file",
        )
    return choice


def _require_variables(names: tuple[str, ...]) -> None:
    if len(names) > _MOST_VARIABLES:
        raise UsageError(f"--environment takes {_MOST_VARIABLES} names")
    for name in names:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) is None:
            raise UsageError(f"--environment takes a variable's name, not {name[:40]!a}")
        if name not in os.environ:
            raise UsageError(f"--environment {name}: this variable is not set")


def _environment(
    named: str | None, profile: DeviceProfile, variables: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the variables that the module gets: those of every known module if none was named."""
    profiles = [profile] if named is not None else [load_profile(name) for name in profile_names()]
    known = {name for entry in profiles for name in entry.environment}
    return tuple(sorted(known | set(variables)))


def _write(
    out: Path,
    report: ProbeReport,
    token: TokenChoice,
    known: DeviceProfile | None,
    variables: tuple[str, ...],
) -> list[Path]:
    """Write report and draft; what is written parses."""
    module = Path(token.module or next(p for p in token.profile.module_paths if p.is_file()))
    inherited = tuple(dict.fromkeys((*(() if known is None else known.environment), *variables)))
    draft = profile_text(draft_of(report, module, inherited, known))
    files = {"report.json": report.to_bytes(), "profile.yaml": draft}
    ProbeReport.parse(files["report.json"])
    DeviceProfile.parse(draft, "profile.yaml")
    make_folder(out)
    for name, content in files.items():
        write_new(out / name, content)
    return [out / name for name in files]


def _text(
    report: ProbeReport,
    found: Conclusions,
    known: DeviceProfile | None,
    otherwise: tuple[Difference, ...],
    written: list[Path],
) -> str:
    head = ("WHAT", "CLAIMED", "WORKS", "DETAIL")
    lines = [
        f"{printable(report.token.manufacturer)}, {printable(report.token.model)}; "
        f"{printable(report.token.library)} {report.token.library_version}",
        "",
        table(head, [(row.what, row.claimed, row.works, row.detail) for row in rows(report)]),
        _LEGEND,
        "",
        f"A share can be sealed to it by: {', '.join(found.seal) or 'nothing that was tried'}",
        f"Ceremonies: {'yes' if found.ceremony else 'no'}. Provenance: {found.provenance}.",
        *(f"It says what is not so {lie}." for lie in found.lies),
        *(_profile_words(report, known, otherwise)),
        *_session_words(report),
        *(f"Written: {path}" for path in written),
    ]
    return "\n".join(lines)


def _session_words(report: ProbeReport) -> list[str]:
    if not makes_no_session_keys(report):
        return []
    return ["It makes no session keys; --with-token-keys would make keys on it, and destroy them."]


def _profile_words(
    report: ProbeReport, known: DeviceProfile | None, otherwise: tuple[Difference, ...]
) -> list[str]:
    if known is None:
        return ["No packaged profile describes it: with --out a draft of one is written."]
    words = f"Profile {known.name} ({known.title}) describes it"
    if not otherwise:
        return [f"{words}, and nothing that was seen is otherwise."]
    return [f"{words}. Otherwise than it says:"] + [
        f"  {entry.field}: it says {entry.profile}, seen: {entry.seen}" for entry in otherwise
    ]
