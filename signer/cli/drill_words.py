"""What drill certificates say: `signer drill status` and `signer drill verify`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from signer.cli import wiring
from signer.cli.printer import Printer, table
from signer.custody.desk import read_group
from signer.files import read_file
from signer.messages.drill import is_overdue
from signer.messages.drill_certificate import (
    MAX_BYTES as MAX_CERTIFICATE_BYTES,
)
from signer.messages.drill_certificate import DrillCertificate, LastDrill, last_drills
from signer.messages.drill_report import SCRATCH
from signer.messages.group_file import GroupFile

_OVERDUE = 6


def drill_status(
    printer: Printer, *, certificates: tuple[Path, ...], group: Path, every: str
) -> int:
    """Do what `signer drill status` is asked and return its exit status, 0 or 6."""
    pool, now, seconds = read_group(group), int(time.time()), wiring.seconds(every)
    last = last_drills([read_certificate(path, pool, now) for path in certificates])
    rows = []
    for index in map(int, pool.indices):
        name = pool.card_of(index).body.name
        entries: list[LastDrill | None] = [entry for entry in last if entry.index == index]
        rows += [_row(index, name, entry, seconds, now) for entry in entries or [None]]
    late = sorted({row["index"] for row in rows if row["state"] == "overdue"})
    printer.result({"every_seconds": seconds, "devices": rows, "overdue": late}, _table(rows))
    if late:
        printer.note(f"overdue: holder {', '.join(map(str, late))}")
    return _OVERDUE if late else 0


def _row(index: int, name: str, entry: LastDrill | None, every: int, now: int) -> dict[str, Any]:
    """Return one device's row; a scratch token only ever rehearses and is never due."""
    row = {"index": index, "holder": name, "device": None, "serial_sha256": None, "last": None,
           "age_seconds": None, "state": "overdue"}  # fmt: skip
    if entry is None:
        return row
    state = "overdue" if is_overdue(entry.moment, every, now) else "good"
    return row | {
        "device": entry.device.role,
        "serial_sha256": entry.device.serial_sha256.hex(),
        "last": entry.moment,
        "age_seconds": max(0, now - entry.moment),
        "state": "rehearsed" if entry.device.role == SCRATCH else state,
    }


def verify_certificate(printer: Printer, certificate: Path, group: Path) -> None:
    """Do what `signer drill verify` is asked.

    Raises:
        InputError: it does not hold; says whose report.
    """
    found = read_certificate(certificate, read_group(group), int(time.time()))
    printer.result({"verified": True, **summary(found)}, certificate_words(found))


def read_certificate(path: Path, pool: GroupFile, now: int) -> DrillCertificate:
    """Read and verify the certificate at `path`."""
    raw = read_file(path, what="drill certificate", max_bytes=MAX_CERTIFICATE_BYTES)
    return DrillCertificate.parse(raw, pool, now, f"drill certificate {str(path)!r}")


def date(moment: int) -> str:
    """Return Unix seconds as a date that may stand in a file's name."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y%m%dT%H%M%SZ}"


def summary(certificate: DrillCertificate) -> dict[str, Any]:
    """Return what a certificate says, as JSON."""
    pool = certificate.group
    return {
        "group": pool.group_id.hex(),
        "epoch": pool.epoch,
        "reports": [
            {
                "index": entry.index,
                "holder": pool.card_of(entry.index).body.name,
                "device": entry.device.role,
                "serial_sha256": entry.device.serial_sha256.hex(),
                "moment": entry.moment,
            }
            for entry in last_drills([certificate])
        ],
        "missing": [
            {"index": index, "holder": pool.card_of(index).body.name}
            for index in certificate.missing
        ],
        "combined": [list(map(int, chosen)) for chosen in certificate.combined_sets()],
    }


def certificate_words(certificate: DrillCertificate) -> str:
    """Return what a certificate says, for people."""
    pool = certificate.group
    rows = [
        (
            entry.index,
            pool.card_of(entry.index).body.name,
            entry.device.role,
            date(entry.moment),
            entry.device.serial_sha256.hex()[:16],
        )
        for entry in last_drills([certificate])
    ]
    count = pool.threshold.n - len(certificate.missing)
    lines = [
        f"{count} of {pool.threshold.n} holders drilled, epoch {pool.epoch}",
        table(("SHARE", "HOLDER", "DEVICE", "DRILLED", "SERIAL'S DIGEST"), rows),
    ]
    sets = certificate.combined_sets()
    if sets:
        shown = "; ".join(", ".join(map(str, map(int, chosen))) for chosen in sets)
        lines.append(f"their partials combine to the group's signature: {shown}")
    else:
        lines.append(f"no {pool.threshold.t} holders answered one order: nothing was combined")
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        ("SHARE", "HOLDER", "DEVICE", "LAST DRILL", "AGE", "STATE"),
        [
            (
                row["index"],
                row["holder"],
                row["device"] or "-",
                "never" if row["last"] is None else date(row["last"]),
                "-" if row["age_seconds"] is None else f"{row['age_seconds'] // 86400} d",
                row["state"],
            )
            for row in rows
        ],
    )
