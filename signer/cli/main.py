"""`signer`: the one place where errors become text and exit statuses."""

import importlib
import sys
from typing import NoReturn

import click

from signer import __version__
from signer.cli.printer import Printer
from signer.errors import SignerError, UsageError

# Name, module, what it is for. Modules are imported when their command runs: help stays fast.
_COMMANDS = {
    "token": ("signer.cli.token", "Prepare a PKCS#11 token and show its public card."),
    "group": ("signer.cli.group", "Split a withdrawal key among holders; show a group."),
    "ceremony": (
        "signer.cli.ceremony",
        "Generate a key together, by files; deal its shares anew.",
    ),
    "share": ("signer.cli.share", "Prove a sealed share; seal it to a spare token."),
    "policy": ("signer.cli.policy", "Read a policy aloud, explain what it decides, amend it."),
    "agent": ("signer.cli.agent", "Run a holder's signer agent; ask one how it is."),
    "request": ("signer.cli.request", "Make a request to sign; show one in words."),
    "drill": ("signer.cli.drill", "Show that every share can still be used; see who is overdue."),
    "journal": ("signer.cli.journal", "Look at a share's journal; back it up, put it back."),
    "sign": ("signer.cli.sign", "Gather partials from agents and write the signed changes."),
    "doctor": ("signer.cli.doctor", "See whether machine and agent are fit to hold a share."),
    "completion": ("signer.cli.completion", "Print what makes a shell complete these commands."),
}
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


# \b keeps click from re-flowing the paragraph that follows.
_HELP = """Hold one Ethereum withdrawal key together, t of n, each share sealed to a PKCS#11 token.

\b
The first pool, in order:
  signer token setup     each holder: make the keys on the token
  signer token card      each holder: export the public card
  signer group split     the dealer: split the key among the cards
  signer share verify    each holder: prove the share
  signer agent run       each holder: serve it on a local socket
  signer request new     the operator: say what shall be signed
  signer sign            the operator: gather, combine, write the file

\b
Exit status: 0 done, 1 failed, 2 usage, 3 denied by policy, 4 too few partials,
5 too few because of bad partials, 6 some items denied or skipped, 7 token,
8 journal, 130 interrupted.
"""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command = module.command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])


@click.group(cls=LazyGroup, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="signer")
def cli() -> None:
    """Hold one Ethereum withdrawal key together, t of n."""


def main() -> NoReturn:
    """Run the command line and exit."""
    printer = Printer()
    try:
        status = cli.main(prog_name="signer", obj=printer, standalone_mode=False)
    except SignerError as error:
        printer.error(error)
        status = error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        status = UsageError.exit_status
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "signer"
        hint = f"see {command} --help"
        printer.error(UsageError(error.format_message(), hint=hint))
        status = UsageError.exit_status
    except click.ClickException as error:
        printer.error(SignerError(error.format_message()))
        status = SignerError.exit_status
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        status = _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        status = SignerError.exit_status
    except Exception as error:  # a bug of ours
        printer.error(_bug(error))
        status = SignerError.exit_status
    sys.exit(status if isinstance(status, int) else 0)


def _bug(error: Exception) -> SignerError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
    return SignerError(
        f"internal error, {type(error).__name__}{where}", hint="this is a bug: please report it"
    )
