"""`journal import --ceremony`: only what the ceremony of this very group file has agreed to."""

from pathlib import Path

import pytest

from signer.cli.journaling import Place, import_ceremony
from signer.cli.printer import Printer
from signer.custody.journal_backup import verify_journal
from signer.messages.items import Change
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import ADDRESS, NOW
from tests.unit.ceremony.honest import dkg, refused


def folder_of(made: Gathering, path: Path) -> Path:
    path.mkdir()
    files = made.files() | {"roster.json": made.setting.roster.to_bytes()}
    if made.setting.previous is not None:
        files["previous.json"] = made.setting.old.to_bytes()
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


@pytest.mark.case("X825", "journal import with the folder of another ceremony of the same group")
def test_only_the_group_files_own_ceremony_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    made = dkg().reshare(2, changes=(Change(7, ADDRESS),))
    other = dkg().reshare(2, nonce=b"\7" * 32)  # its dealers were bound to nothing
    group = made.group(active=True)
    assert (group.group_id, group.epoch) == (other.group().group_id, other.group().epoch)
    path, envelope = tmp_path / "state" / "journal.jsonl", tmp_path / "envelope.json"
    place = Place(path=path, group=group, index=1, envelope=envelope)
    theirs = folder_of(other, tmp_path / "theirs")
    refused("E_CEREMONY", "another ceremony than", import_ceremony, Printer(), place, theirs)
    first = folder_of(dkg(), tmp_path / "first")
    refused("E_CEREMONY", "not of a reshare", import_ceremony, Printer(), place, first)
    assert not place.path.parent.exists()

    import_ceremony(Printer(), place, folder_of(made, tmp_path / "own"))
    assert verify_journal(place.path).bindings() == [Change(7, ADDRESS)]
