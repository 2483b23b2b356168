"""The wiring of `signer drill run`: agents or a desk in, one dated certificate out."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from signer.aggregator.drill import DrillFailure, DrillRound
from signer.cli import wiring
from signer.cli.drill_words import certificate_words, date, read_certificate, summary
from signer.cli.printer import Printer, Progress, printable
from signer.cli.sparing import other_device
from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.custody.devices import Device, drill_at_desk
from signer.errors import DeniedError, TooFewPartialsError, UsageError
from signer.files import make_folder, read_file, require_place, write_new
from signer.messages.drill import DrillOrder, require_open
from signer.messages.drill_certificate import Drill, DrillCertificate
from signer.messages.drill_report import DrillReport
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES

_OPEN_SECONDS = 7 * 86400  # how long holders may answer one order
_SOME_MISSING = 6


def run_drill(
    printer: Printer,
    *,
    group: Path,
    agents: tuple[Path, ...],
    envelope: Path | None,
    include: tuple[Path, ...],
    activate: bool,
    timeout: float,
    wait: str | None,
    out: Path,
    **devices: Any,
) -> int:
    """Do what `signer drill run` is asked and return its exit status, 0 or 6.

    Raises:
        TooFewPartialsError: nobody brought a report that holds. Nothing was written.
        SignerError: the files are not in order, a device failed, or nothing could be written.
    """
    if bool(agents) == (envelope is not None):
        raise UsageError("either --agent SOCKET or --envelope FILE is needed")
    if len(set(agents)) != len(agents):
        raise UsageError("an --agent is given twice")
    pool, now = read_group(group), int(time.time())
    included = [read_certificate(path, pool, now) for path in include]
    order = _order(pool, included, now, _nonce_to_activate(pool) if activate else None)
    require_place(out)
    make_folder(out)
    if envelope is None:
        _require_no_devices(devices)
        patience = timeout if wait is None else wiring.seconds(wait)
        reports, failures = _ask_agents(printer, order, pool, agents, timeout, patience)
    else:
        reports, failures = [_at_desk(printer, order, pool, envelope, devices, now)], []
    if not reports:
        printer.account = {"failed": [asdict(failure) for failure in failures]}
        raise TooFewPartialsError(
            "no holder brought a report that holds", have=0, need=pool.threshold.n,
            hint="see why above; nothing was written",
        )  # fmt: skip
    drills = [Drill(order, tuple(reports)), *(drill for one in included for drill in one.drills)]
    certificate = DrillCertificate.of(pool, drills)
    path = _free_path(out, pool, now)
    write_new(path, certificate.to_bytes())
    value = {"certificate": str(path), **summary(certificate)}
    value["failed"] = [asdict(failure) for failure in failures]
    printer.result(value, f"{certificate_words(certificate)}\n{printable(str(path))}")
    if envelope is not None:
        return 0
    answered = {r.index for drill in drills if drill.order == order for r in drill.reports}
    missing = [int(index) for index in pool.indices if index not in answered]
    for index in missing:
        printer.note(f"missing: holder {index} ({pool.card_of(index).body.name}) has not drilled")
    return _SOME_MISSING if missing else 0


def _nonce_to_activate(pool: GroupFile) -> bytes:
    """Return the nonce of orders that activate `pool`.

    Raises:
        UsageError: there is nothing to activate.
    """
    if pool.certificate is None:
        raise UsageError("--activate is for a group with a certificate; this one was split without")
    if pool.active:
        raise UsageError("this group is active already", hint="leave out --activate")
    return pool.certificate


def _order(
    pool: GroupFile, included: Sequence[DrillCertificate], now: int, nonce: bytes | None
) -> DrillOrder:
    """Return the newest order of the included certificates that is open, or a new one.

    With a `nonce` only orders that have it count; a new one gets it.
    """
    orders = [
        drill.order
        for certificate in included
        for drill in certificate.drills
        if nonce is None or drill.order.nonce == nonce
    ]
    for order in sorted(orders, key=lambda order: -order.moment):
        try:
            require_open(order, pool, now)
        except DeniedError:
            continue
        return order
    return DrillOrder(
        group_id=pool.group_id,
        epoch=pool.epoch,
        nonce=secrets.token_bytes(32) if nonce is None else nonce,
        moment=now,
        expires=now + _OPEN_SECONDS,
    )


def _ask_agents(
    printer: Printer,
    order: DrillOrder,
    pool: GroupFile,
    agents: tuple[Path, ...],
    timeout: float,
    wait: float,
) -> tuple[list[DrillReport], list[DrillFailure]]:
    progress = Progress(printer)
    round_ = DrillRound(order, pool, time.time)

    def draw() -> None:
        words = "holders drilled"
        if round_.waiting:
            words += f"; waiting for holder {', '.join(map(str, sorted(round_.waiting.values())))}"
        progress.show(len(round_.reports), pool.threshold.n, words)

    draw()
    clients = [AgentClient(path) for path in agents]
    asyncio.run(round_.ask(clients, seconds=timeout, wait=wait, on_change=draw))
    progress.end()
    for failure in round_.failures:
        known = failure.index is not None and failure.index <= pool.threshold.n
        who = f"holder {failure.index} ({pool.card_of(failure.index or 1).body.name})"
        printer.note(f"{who if known else failure.agent}: {failure.code}: {failure.message}")
    return [round_.reports[index] for index in sorted(round_.reports)], round_.failures


def _at_desk(
    printer: Printer,
    order: DrillOrder,
    pool: GroupFile,
    envelope: Path,
    devices: dict[str, Any],
    now: int,
) -> DrillReport:
    profile, module = devices["profile"], devices["module"]
    choice = wiring.token_choice(profile, module, devices["label"], devices["serial"])
    spare = other_device("spare", devices, profile, module)
    scratch = other_device("scratch", devices, profile, module)
    if devices["restore"] and (spare is None or scratch is None):
        raise UsageError("--restore takes --spare-token and --scratch-token")
    if scratch is not None and not devices["restore"]:
        raise UsageError("a scratch token is for --restore")
    done = drill_at_desk(
        order,
        pool.to_bytes(),
        read_file(envelope, what="envelope", max_bytes=MAX_ENVELOPE_BYTES),
        primary=Device(choice, devices["pin"]),
        spare=spare,
        scratch=scratch,
        moment=now,
    )
    if done.scratch is not None:
        made = ", ".join(done.scratch.made) or "none"
        there = ", ".join(done.scratch.present) or "none"
        printer.note(
            f"the rehearsal leaves keys on the scratch token (made: {made}; there before: {there}) "
            "and nothing else. Delete them, or initialise the token, to have it as before"
        )
    return done.report


def _require_no_devices(devices: dict[str, Any]) -> None:
    given = [name for name, value in devices.items() if value and name != "profile"]
    if given:
        name = given[0].replace("label", "token").replace("_", "-")
        raise UsageError(f"--{name} goes with --envelope; an agent knows its own token")


def _free_path(folder: Path, pool: GroupFile, moment: int) -> Path:
    """Return the certificate's name for now, or for the next second that has no file yet."""
    group = pool.group_id.hex()[:8]
    while (path := folder / f"drill-{group}-{date(moment)}.json").exists():
        moment += 1
    return path
