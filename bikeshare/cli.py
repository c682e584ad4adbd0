"""The command line: one group per topic, loaded only when it is named.

Exit codes: 0 done, 1 the world was not ready (retry), 2 bad input, bad configuration or refused.
"""

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from bikeshare import __version__
from bikeshare.errors import BikeshareError

TOPICS = {
    "demo": "Play the whole loop on real history, on this machine, in minutes.",
    "data": "Land, import, inspect and release observations.",
    "pipeline": "Run, compile, publish and schedule the training pipeline.",
    "registry": "List versions, promote one, roll back.",
    "monitor": "Judge live predictions and decide: nothing, alert, hold, retrain.",
    "serve": "Serve the champion with safe roll-outs (front, canary, supervisor).",
    "dashboard": "Show the loop, the forecast and the models in the browser.",
    "replay": "Replay a year on the virtual clock and count what the monitor did.",
    "drill": "Break something on purpose and check the reaction.",
    "score": "Print the ML Test Score, each point tied to a test that exists.",
    "doctor": "Say what is missing on this machine and how to fix it.",
}
"""Topic -> help line; the module is `bikeshare.commands.<topic>` with a Typer `app`."""


class _LazyGroup(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is Click's
        return list(TOPICS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in TOPICS:
            return None
        command = get_command(importlib.import_module(f"bikeshare.commands.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the topics from the table: importing each one only to print its help would cost seconds."""
        formatter.write_usage("bikeshare", "[OPTIONS] COMMAND [ARGS]...")
        formatter.write_paragraph()
        formatter.write_text(self.help or "")
        with formatter.section("Commands"):
            formatter.write_dl(list(TOPICS.items()))

    def get_help(self, ctx: Any) -> str:
        formatter = ctx.make_formatter()
        self.format_help(ctx, formatter)
        return str(formatter.getvalue()).rstrip("\n")


app = typer.Typer(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bikeshare {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,  # noqa: ARG001
) -> None:
    """Keeps an hourly bike-demand forecast accurate in production by itself."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; turns our errors into one line on stderr and their exit code."""
    try:
        get_command(app).main(args=arguments, prog_name="bikeshare")
    except BikeshareError as error:
        typer.echo(f"bikeshare: {error}", err=True)
        sys.exit(error.exit_code)
