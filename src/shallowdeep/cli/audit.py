"""``shallowdeep audit``: the group of its subcommands."""

from __future__ import annotations

import typer

from shallowdeep.cli.audit_backdoor import backdoor
from shallowdeep.cli.audit_slowdown import slowdown
from shallowdeep.cli.audit_suspects import suspects

app = typer.Typer(
    help="Is a network backdoored, and can it be slowed down?", context_settings={"help_option_names": ["-h", "--help"]}
)
for command in (backdoor, suspects, slowdown):
    app.command()(command)
