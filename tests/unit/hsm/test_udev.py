from pathlib import Path

import pytest

from signer.errors import ConfigError, UsageError
from signer.hsm import udev
from signer.hsm.udev import RULES_NAME, RulesFile, load_rules

RAW = (Path(__file__).parents[3] / "udev" / RULES_NAME).read_bytes()
RULE = next(line for line in RAW.splitlines() if line.startswith(b"SUBSYSTEM"))
SECOND = (
    b"# [other1] Another device\n"
    b'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{idVendor}=="0abc", '
    b'ATTR{idProduct}=="000f", GROUP="signer", MODE="0640"\n\n'
)
TWO = RAW.replace(b"LABEL=", SECOND + b"LABEL=")


def test_the_packaged_file_names_the_yubihsm_and_comes_out_as_it_went_in() -> None:
    rules = load_rules()
    assert rules.text.encode() == RAW
    (rule,) = rules.rules
    assert (rule.name, rule.title) == ("yubihsm2", "YubiHSM 2")
    assert (rule.vendor, rule.product) == ("1050", "0030")
    assert (rule.group, rule.mode, rule.tags) == ("signer", "0660", ("uaccess",))
    assert rule.text.splitlines()[-1].encode() == RULE


def test_which_rule_matches_a_device() -> None:
    rules = RulesFile.parse(TWO, "x.rules")
    assert [rules.rule_for("1050", "0030"), rules.rule_for("0abc", "000f")] == list(rules.rules)
    for ids in (("1050", "000f"), ("0abc", "0030"), ("20a0", "4230"), ("0ABC", "000F"), ("", "")):
        assert rules.rule_for(*ids) is None


def test_one_device_of_two() -> None:
    rules = RulesFile.parse(TWO, "x.rules")
    assert rules.text.encode() == TWO
    assert rules.only("yubihsm2").text.encode() == RAW
    other = rules.only("other1")
    assert other.text.encode() == TWO.replace(RULE, b"").replace(
        TWO[TWO.index(b"# [yubihsm2]") : TWO.index(RULE)], b""
    ).replace(b"\n\n\n\n", b"\n\n")
    assert RulesFile.parse(other.text.encode(), "y.rules") == other


def test_another_group_and_nothing_else() -> None:
    changed = RulesFile.parse(TWO, "x.rules").for_group("my_hsm-2")
    assert changed.text.encode() == TWO.replace(b'GROUP="signer"', b'GROUP="my_hsm-2"')
    assert {rule.group for rule in changed.rules} == {"my_hsm-2"}
    assert RulesFile.parse(changed.text.encode(), "y.rules") == changed


def test_a_file_that_an_administrator_changed() -> None:
    edited = RAW.replace(b', TAG+="uaccess"', b"").replace(b'"signer"', b'"hsm"')
    rule = RulesFile.parse(edited, "x.rules").rule_for("1050", "0030")
    assert rule is not None
    assert (rule.group, rule.tags) == ("hsm", ())


@pytest.mark.case("X850", "udev group: what udev, a shell or a terminal would read as more")
@pytest.mark.parametrize(
    "group",
    [
        *("", "a b", 'x", RUN+="/bin/sh', "$env{X}", "%k", "a\nb", "signer\n", "Signer", "0", "46"),
        *("-g", "sïgner", "a" * 32, "a,b", "\x1b[2J"),
    ],
)
def test_a_group_that_is_none(group: str) -> None:
    with pytest.raises(UsageError, match="cannot be a group's name") as caught:
        load_rules().for_group(group)
    assert len(caught.value.line()) < 200


@pytest.mark.case("X851", "udev device that no rule is for")
@pytest.mark.parametrize("name", ["nitrokey", "", "1050:0030", "YubiHSM2", "x" * 5000])
def test_a_device_without_a_rule(name: str) -> None:
    with pytest.raises(UsageError, match="no udev rule for a device called") as caught:
        load_rules().only(name)
    assert "known: yubihsm2" in caught.value.hint
    assert len(caught.value.line()) < 250


def change(old: bytes, new: bytes) -> bytes:
    assert RAW.count(old) == 1, old
    return RAW.replace(old, new)


def case(number: str, what: str, raw: bytes, words: str) -> object:
    return pytest.param(raw, words, marks=pytest.mark.case(number, f"udev rules: {what}"))


LAST = b'LABEL="signer_hsm_end"\n'
HERE = f"x.rules:{RAW.splitlines().index(RULE) + 1}: "


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        case("X852", "an action that is not ours", change(b"TAG+=", b"RUN+="), f"{HERE}'RUN+="),
        case("X852", "a misspelt key", change(b"GROUP=", b"GRUOP="), f"{HERE}'GRUOP="),
        case("X852", "a key twice", change(RULE, RULE + b', MODE="0600"'), f"{HERE}'MODE="),
        case("X852", "a quote too few", change(b'"0660"', b'"0660'), f"{HERE}'MODE="),
        case("X852", "no comma", change(b', MODE="', b' MODE="'), f"{HERE}'GROUP="),
        case("X852", "rule on two lines", change(b", MODE=", b", \\\nMODE="), HERE),
        case("X853", "ids in upper case", change(b'"1050"', b'"10AB"'), "'10AB' is not allowed"),
        case("X853", "ids as a pattern", change(b'"0030"', b'"003*"'), "'003*' is not allowed"),
        case("X853", "ids with 0x", change(b'"1050"', b'"0x1050"'), "'0x1050' is not allowed"),
        case("X853", "parts of devices", change(b"b_device", b"b_interface"), "not allowed here"),
        case("X853", "other devices", change(b'M=="usb"', b'M=="hidraw"'), "not allowed here"),
        case("X853", "any device", change(b', ATTR{idProduct}=="0030"', b""), "idProduct"),
        case("X854", "rule without a name", change(b"# [yubihsm2] ", b"# "), "# [name] title"),
        case("X854", "comment far above", change(RULE, b"\n" + RULE), "# [name] title"),
        case("X854", "no name the second time", change(LAST, RULE + b"\n" + LAST), "# [name]"),
        case(
            "X855", "ids twice",
            change(LAST, b"# [copy] Copy\n" + RULE + b"\n" + LAST), "'copy' or its ids stand twice",
        ),
        case(
            "X855", "name twice",
            change(LAST, SECOND.replace(b"other1", b"yubihsm2") + LAST), "'yubihsm2' or its ids",
        ),
        case("X856", "no end", change(LAST, b""), "ends without the label"),
        case("X856", "another label", change(LAST, b'LABEL="end"\n'), "not the label"),
        case(
            "X856", "two beginnings",
            change(LAST, b'ACTION=="remove", GOTO="signer_hsm_end"\n' + LAST), "twice",
        ),
        case("X856", "rules after the end", RAW + b"\n" + RULE + b"\n", "not the label"),
        case(
            "X856", "removed devices not skipped",
            change(b'ACTION=="remove", GOTO="signer_hsm_end"\n', b""), "removed device",
        ),
        case("X857", "others may read", change(b'"0660"', b'"0664"'), "'0664' is not allowed"),
        case("X857", "no mode", change(b', MODE="0660"', b""), "MODE= is missing"),
        case("X857", "a group with udev's $", change(b'"signer"', b'"$attr{x}"'), "not allowed"),
        case("X857", "empty", b"", "printable ASCII"),
        case("X857", "too large", RAW + b"#" * 16384 + b"\n", "at most 16384"),
        case("X857", "not ASCII", change(b"YubiHSM 2\n", b"Yubi\xffHSM 2\n"), "printable ASCII"),
        case("X857", "Windows' line ends", RAW.replace(b"\n", b"\r\n"), "printable ASCII"),
    ],
)  # fmt: skip
def test_refuses(raw: bytes, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RulesFile.parse(raw, "x.rules")
    assert words in caught.value.message
    assert "x.rules" in caught.value.message


@pytest.mark.case("X857", "udev rules: truncated at every byte")
def test_truncated() -> None:
    for length in range(len(RAW)):
        with pytest.raises(ConfigError):
            RulesFile.parse(RAW[:length], "x.rules")


@pytest.mark.case("X857", "udev rules: missing from the installation")
def test_rules_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(udev, "_FOLDERS", (tmp_path,))
    with pytest.raises(ConfigError, match="missing from this installation"):
        load_rules()
