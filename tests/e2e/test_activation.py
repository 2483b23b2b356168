"""A group that waits for its test signature, with real agents, tokens and commands."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from signer.cli.drill_words import read_certificate
from signer.custody.desk import read_group
from signer.messages.activation import activation_from_drill
from signer.messages.group_file import GroupFile
from signer.testing.pool import Pool, summary

pytestmark = pytest.mark.softhsm


def start(pool: Pool) -> None:
    uid = os.geteuid()
    for holder in pool.holders:
        pool.start_agent(holder, peers=f"{{status: [{uid}], sign: [{uid}], drill: [{uid}]}}")


def stop(pool: Pool) -> None:
    for holder in pool.holders:
        pool.stop_agent(holder)


def write(pool: Pool, group: GroupFile) -> None:
    pool.group.chmod(0o644)
    pool.group.write_bytes(group.to_bytes())


@pytest.mark.case("X626", "request to real agents of a group whose ceremony has not ended")
def test_a_group_signs_once_its_ceremony_has_ended(pool: Pool, tmp_path: Path) -> None:
    waiting = replace(read_group(pool.group), certificate=b"\5" * 32, rehearsal=True)
    active = read_group(pool.group)
    request = pool.request([1, 2])
    write(pool, waiting)
    start(pool)
    agents = [part for holder in pool.holders for part in ("--agent", holder.socket)]
    pool.sign(request, tmp_path, expect=3)  # the operator's own look
    write(pool, active)  # one who claims otherwise gets nothing from the agents
    denied = pool.sign(request, tmp_path, expect=None)
    assert denied.returncode == 3
    assert "E_NOT_ACTIVE" in denied.stderr + denied.stdout
    write(pool, waiting)
    status = pool.run("agent", "status", pool.holders[0].socket).stdout
    assert "group    REHEARSAL " in status
    assert "NOT ACTIVE" in status

    done = pool.run("drill", "run", "--group", pool.group, *agents, "--activate", "--json",
                    "--out", tmp_path / "drills")  # fmt: skip
    drilled = read_certificate(Path(summary(done)["certificate"]), waiting, int(time.time()) + 1)
    stop(pool)
    kinds = [json.loads(line)["type"] for line in pool.holders[0].journal.read_text().splitlines()]
    assert kinds == ["OPENED", "POLICY", "DRILLED"]

    write(pool, waiting.activated(activation_from_drill(waiting, drilled)))
    start(pool)
    pool.sign(request, tmp_path)
    assert "NOT ACTIVE" not in pool.run("agent", "status", pool.holders[0].socket).stdout
    stop(pool)
