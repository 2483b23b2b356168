"""`signer completion`: what makes a shell complete this program's commands and options."""

import click

from signer.cli.printer import Printer, json_option

SHELLS = ("bash", "zsh", "fish")


# \b keeps click from re-flowing the paragraph that follows.
_HELP = """Print the completion script for SHELL: put it where that shell looks.

\b
  signer completion bash >~/.local/share/bash-completion/completions/signer
  signer completion zsh  >~/.zfunc/_signer       # with ~/.zfunc in fpath
  signer completion fish >~/.config/fish/completions/signer.fish
"""


@click.command(name="completion", help=_HELP)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@json_option
@click.pass_context
def command(context: click.Context, shell: str | None) -> None:
    """Print the completion script for SHELL."""
    from click.shell_completion import get_completion_class

    from signer.errors import SignerError, UsageError

    if shell is None:
        hint = "see signer completion --help"
        raise UsageError(f"name the shell: {', '.join(SHELLS)}", hint=hint)
    kind = get_completion_class(shell)
    if kind is None:
        raise SignerError(f"this click knows no completion for {shell}")
    script = kind(context.find_root().command, {}, "signer", "_SIGNER_COMPLETE").source()
    context.ensure_object(Printer).result({"shell": shell, "script": script}, script)
