"""The program: its subcommands, and what becomes of errors."""

from __future__ import annotations

import io
import shlex
import sys

import typer
from typer.main import get_command

from shallowdeep import __version__
from shallowdeep.cli.analyze import analyze
from shallowdeep.cli.audit import app as audit
from shallowdeep.cli.bench import bench
from shallowdeep.cli.calibrate import calibrate
from shallowdeep.cli.convert import convert
from shallowdeep.cli.datasets import datasets
from shallowdeep.cli.demo import demo
from shallowdeep.cli.evaluate import evaluate
from shallowdeep.cli.export import export
from shallowdeep.cli.loading import loading_shown
from shallowdeep.cli.models import models
from shallowdeep.cli.plan import plan
from shallowdeep.cli.predict import predict
from shallowdeep.cli.report import report
from shallowdeep.cli.train import train
from shallowdeep.errors import BadImageError, ShallowDeepError, not_installed

BAD_INPUT = 2
INTERRUPTED = 130  # what shells report for Ctrl-C
READER_GONE = 141  # and for writing to a pipe that nobody reads

app = typer.Typer(
    name="shallowdeep",
    help="Turn a classifier into a Shallow-Deep Network: internal classifiers, early exits, overthinking.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo, convert, train, evaluate, plan, calibrate, analyze, report, export, predict, bench, models, datasets,
):  # fmt: skip
    app.command()(command)
app.add_typer(audit, name="audit")


def _show_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"shallowdeep {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *, version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version.")
) -> None:
    """Turn a classifier into a Shallow-Deep Network: internal classifiers, early exits, overthinking."""
    del version


def main() -> None:
    """Run the command line and exit: 0; 2 with one line on standard error for bad usage or input; 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that it cannot encode are shown with escapes
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Exit status of the command line ``arguments``; without any, the help is shown."""
    try:
        with loading_shown():
            status = get_command(app).main(arguments or ["--help"], prog_name="shallowdeep", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except SystemExit:  # how typer and rich leave when the reader of standard output has gone
        return READER_GONE
    except Exception as error:
        message = _message(error, arguments)
        if message is None:
            raise
        return _fail(message)
    if status == INTERRUPTED:
        sys.stderr.write(f"shallowdeep: interrupted{_how_to_go_on(arguments)}\n")
    return status if isinstance(status, int) else 0


def _how_to_go_on(arguments: list[str]) -> str:
    """What the line of an interrupted command ends with: the command that goes on, where there is one."""
    if not _resumes(arguments):
        return ""
    kept = [argument for argument in arguments if argument not in {"--overwrite", "--resume"}]
    command = shlex.join(["shallowdeep", *kept, "--resume"])
    return f"; this goes on after the last whole epoch: {command}"


def _resumes(arguments: list[str]) -> bool:
    """Whether the subcommand that was typed takes ``--resume``."""
    command = get_command(app)
    for name in arguments:
        further = getattr(command, "commands", {})
        if name not in further:
            break
        command = further[name]
    return any("--resume" in parameter.opts for parameter in command.params)


def _message(error: Exception, arguments: list[str]) -> str | None:
    """The one line of an error that the user can mend; None for others."""
    if isinstance(error, BadImageError):
        return f"{error}; --skip-bad-images leaves such images out"
    if isinstance(error, ShallowDeepError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        command = " ".join(arguments[: 2 if arguments[:1] == ["audit"] else 1])
        lacking = not_installed(error, f"shallowdeep {command}")
        return None if lacking is None else str(lacking)
    if isinstance(error, OSError):
        return f"Expected to read and write files, got: {error}"
    return _usage_message(error)


def _usage_message(error: Exception) -> str | None:
    """The one line of a usage error of the option parser, whichever package it ships in; None for other errors."""
    formatted = getattr(error, "format_message", None)
    if formatted is None:
        return None
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return f"{formatted()}{hint}"


def _fail(message: str) -> int:
    one_line = " ".join(message.split())
    sys.stderr.write(f"shallowdeep: {one_line}\n")
    return BAD_INPUT
