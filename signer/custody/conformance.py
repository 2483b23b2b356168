"""A probe of a token, ordered from workers: whatever the module does to one of them is a finding.

A worker does the steps and tells of each. If its module crashes or hangs, that is what was seen of
the step, and another worker goes on behind it. Each logs in anew, with the right PIN or not at all:
once the token has refused it, no other worker is hired.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from signer import __version__
from signer.custody.conformance_process import ProbeWorker, Progress
from signer.custody.custodian import module_environment
from signer.custody.jobs.conformance import ProbeToken
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.orders import pin_source
from signer.errors import PinError, WorkerError
from signer.hsm.probe.report import ProbeReport
from signer.hsm.probe.steps import STEP_NAMES, Seen

_MOST_WORKERS = 8  # each is a login


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of it. `left` is the label of what may still be on the token; None: nothing is."""

    report: ProbeReport
    left: str | None


def probe_token(
    token: TokenChoice,
    pin: SecretSource | None,
    *,
    environment: tuple[str, ...],
    seconds: int,
    token_keys: bool,
    moment: int,
    on_step: Callable[[int, str], None],
) -> Probe:
    """Try what a token does.

    Args:
        token: which; its profile says only how long a PIN may be.
        pin: where its PIN is; None is the terminal.
        environment: variables that the module reads.
        seconds: for all of it, after the login.
        token_keys: make the keys on the token, and destroy them; else as session objects.
        moment: Unix seconds.
        on_step: is told the number of each step, and its title.

    Raises:
        TokenError: it cannot be found, or logged in to, or its module crashes before.
        WorkerError: no worker can be hired, or none answers.
    """
    progress, label = Progress(seconds), f"signer-probe-{secrets.token_hex(4)}"
    with pin_source(pin) as (source, terminals):
        for number in range(_MOST_WORKERS):
            if number > 0 and not _may_go_on(progress, source):
                break
            job = ProbeToken(
                token=token, pin=source, label=label, token_keys=token_keys,
                seconds=progress.seconds_left, steps=progress.left,
                outcomes=tuple(progress.seen.values()), channel=3,
            )  # fmt: skip
            with ProbeWorker(job, terminals, module_environment(environment)) as worker:
                try:
                    worker.run(progress, on_step)
                except PinError as error:
                    if progress.deadline is None:
                        raise
                    progress.give_up(f"no other worker could log in ({error.code})")
    progress.give_up("the module crashed too often")
    if progress.token is None:
        raise WorkerError("the worker told nothing of the token")
    report = ProbeReport(
        program=__version__,
        made=moment,
        module=_file_name(token),
        keys="token" if token_keys else "session",
        seconds=seconds,
        profile=progress.profile,
        token=progress.token,
        seen=_settled(progress.seen),
    )
    clean = report.by_step["objects-left"].works
    return Probe(report, None if clean or not token_keys else label)


def _may_go_on(progress: Progress, pin: SecretSource) -> bool:
    """Tell whether another worker is needed and may log in; else say why of what is left."""
    why = None
    if progress.refused:
        why = "the token refused the PIN before: it is not tried again"
    elif pin.pipe is not None:
        why = "a PIN from --pin-fd is there once: give --pin-file"
    elif not progress.seconds_left:
        why = "no time left"
    if why is not None:
        progress.give_up(why)
    return bool(progress.left)


def _file_name(token: TokenChoice) -> str:
    path = Path(token.module) if token.module is not None else _installed(token)
    name = "".join(letter if " " <= letter <= "~" else "?" for letter in path.name)
    return name[:255].lstrip() or "?"


def _installed(token: TokenChoice) -> Path:
    paths = token.profile.module_paths
    return next((path for path in paths if path.is_file()), Path("?"))


def _settled(seen: Mapping[str, Seen]) -> tuple[Seen, ...]:
    """Return what was seen in order; objects that came to stay are a fault."""
    before, after = seen["token-objects"], seen["objects-left"]
    both = before.works and after.works
    counts = before.facts.get("objects"), after.facts.get("objects")
    if both and counts[0] != counts[1]:
        words = f"{counts[0]} before, {counts[1]} after"
        seen = {**seen, "objects-left": replace(after, outcome="wrong", detail=words)}
    return tuple(seen[step] for step in STEP_NAMES)
