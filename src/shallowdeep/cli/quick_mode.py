"""What the ``audit`` commands take: ``--quick`` alone, or what is to be audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shallowdeep.errors import ConfigurationError


def check_mode(needed: Mapping[str, object], others: Sequence[str], *, quick: bool) -> None:
    """Refuse anything but ``--quick`` alone, or everything that is needed without it.

    Args:
        needed: values of the options that are needed without ``--quick``, by name; None where not given.
        others: names of the other options given that ``--quick`` has no use for, as Python spells them.
        quick: whether ``--quick`` was given.

    Raises:
        ConfigurationError: what was given.
    """
    given = [name for name, value in needed.items() if value is not None]
    if quick and (given or others):
        named = [*given, *(f"--{name.replace('_', '-')}" for name in others)]
        raise ConfigurationError(f"Expected no {', '.join(named)} beside --quick")
    if not quick and len(given) < len(needed):
        *first, last = needed
        got = ", ".join(given) or "none of them"
        raise ConfigurationError(f"Expected --quick, or {', '.join(first)} and {last}, got {got}")
