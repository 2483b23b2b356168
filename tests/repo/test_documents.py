"""What the documents say is so: rooms, commands, codes, formats."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from signer.cli.main import cli
from signer.errors import SignerError

ROOT = Path(__file__).resolve().parents[2]


def commands(group: click.Group = cli, path: str = "signer") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands())


def test_the_architecture_page_names_every_room_and_no_other() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = text[text.index("## The rooms") : text.index("## One flow")]
    named = set(re.findall(r"`([a-z0-9_]+)(?:\.py|/)`", table))
    there = {
        path.stem
        for path in (ROOT / "signer").iterdir()
        if not path.name.startswith("__") and path.name != "py.typed"
    }
    assert named == there


def test_the_glossary_has_each_word_once_and_every_command() -> None:
    page = (ROOT / "docs/glossary.md").read_text()
    words = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    each = [part.strip("` ") for word in words for part in word.split(",")]
    each = [word for word in each if word not in ("word", "name") and set(word) != {"-"}]
    assert {word for word in each if each.count(word) > 1} == set()
    said = set(re.findall(r"[a-z]+", page.lower()))
    assert {word for name in COMMANDS for word in name.split()[1:]} - said == set()
    code = "\n".join(path.read_text() for path in (ROOT / "signer").rglob("*.py"))
    named = re.findall(r"^\| `([A-Za-z]+)` \|", page, re.MULTILINE)
    assert len(named) >= 12
    assert [name for name in named if not re.search(rf"^class {name}\b", code, re.MULTILINE)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert len(command.help) > 40
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or name == "signer agent run"
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, (name, parameter.opts)


def shown_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("signer ")]


def test_the_readme_shows_commands() -> None:
    assert len(shown_commands()) == 9


@pytest.mark.parametrize("line", shown_commands())
def test_commands_in_the_readme_exist_with_these_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    depth = 3 if " ".join(words[:3]) in COMMANDS else 2
    command = COMMANDS[" ".join(words[:depth])]
    # Parsing is enough: it knows every option and demands the required ones.
    command.make_context(words[depth - 1], words[depth:], resilient_parsing=False)


def error_classes(root: type[SignerError] = SignerError) -> Iterator[type[SignerError]]:
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


def test_the_error_tree_is_drawn_as_it_is() -> None:
    import signer.errors

    drawing = signer.errors.__doc__ or ""
    for kind in error_classes():
        (line,) = [
            line for line in drawing.splitlines() if re.search(rf"\b{kind.__name__}\b", line)
        ]
        if kind is not SignerError and kind.__name__ not in ("ThresholdError", "DeniedError"):
            assert kind.code in line.split()
            assert f" {kind.exit_status} " in line


def test_every_code_that_is_raised_is_documented() -> None:
    documented = (ROOT / "signer/errors.py").read_text() + (ROOT / "docs/formats.md").read_text()
    documented += (ROOT / "signer/policy/decision.py").read_text()
    raised = set()
    for path in (ROOT / "signer").rglob("*.py"):
        raised |= set(re.findall(r"\"(E_[A-Z_]+)\"", path.read_text()))
    missing = {code for code in raised if not re.search(rf"\b{code}\b", documented)}
    assert missing == set()


def test_the_makefile_has_every_target_that_is_promised() -> None:
    text = (ROOT / "Makefile").read_text()
    for target in (
        "setup",
        "fmt",
        "lint",
        "test",
        "demo",
        "demo-ceremony",
        "bench",
        "cases",
        "check",
        "faults",
        "fuzz",
        "dist",
        "long-run",
    ):
        assert re.search(rf"^{target}:", text, re.MULTILINE)


def test_links_between_documents_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)
