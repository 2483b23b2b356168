from pathlib import Path

import pytest

from signer.hsm.udev import RULES_NAME, load_rules
from signer.hsm.udev_installed import installed_rules

CONNECTOR = (
    'SUBSYSTEM=="usb", ATTRS{idVendor}=="1050", ATTRS{idProduct}=="0030", '
    'OWNER="yubihsm-connector"\n'
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "lib").mkdir()
    return tmp_path / "etc", tmp_path / "lib"


def test_our_file_is_found_by_its_line(folders: tuple[Path, Path]) -> None:
    rules = load_rules()
    (folders[0] / RULES_NAME).write_text(rules.text)
    (found,) = installed_rules("1050", "0030", folders)
    assert found.place == f"{folders[0] / RULES_NAME}:{rules.rules[0].line}"
    assert found.group == "signer"
    line = rules.text.splitlines()[rules.rules[0].line - 1]
    assert line.startswith("SUBSYSTEM")
    assert installed_rules("1050", "0031", folders) == ()


def test_files_are_read_in_udevs_order_and_the_first_of_a_name_counts(
    folders: tuple[Path, Path],
) -> None:
    etc, lib = folders
    (lib / "70-yubihsm-connector.rules").write_text(CONNECTOR)
    (etc / "99-z.rules").write_text("\n\n" + CONNECTOR.replace("OWNER", "GROUP"))
    (lib / "99-z.rules").write_text(CONNECTOR)
    found = installed_rules("1050", "0030", (*folders, lib / "absent"))
    assert [(rule.file, rule.line, rule.group) for rule in found] == [
        (lib / "70-yubihsm-connector.rules", 1, ""),
        (etc / "99-z.rules", 3, "yubihsm-connector"),
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# " + CONNECTOR, []),
        (CONNECTOR.replace('OWNER="yubihsm-connector"', 'SYMLINK+="hsm"'), []),
        (CONNECTOR.replace('OWNER="yubihsm-connector"', 'TAG+="uaccess"'), [1]),
        (CONNECTOR.replace("0030", "0010|0030"), [1]),
        (CONNECTOR.replace("0030", "00*"), [1]),
        (CONNECTOR.replace("0030", "0031"), []),
        (CONNECTOR.replace("idVendor}==", "idVendor}!="), []),
        ("\n" + CONNECTOR.replace(", OWNER", ", \\\n  OWNER"), [2]),
        ("\0\xff garbage\n" + CONNECTOR, [2]),
        ("", []),
    ],
)
def test_which_lines_are_about_a_device(
    folders: tuple[Path, Path], text: str, lines: list[int]
) -> None:
    (folders[0] / "10-x.rules").write_text(text)
    (folders[1] / "folder.rules").mkdir()
    assert [rule.line for rule in installed_rules("1050", "0030", folders)] == lines
