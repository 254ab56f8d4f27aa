"""What a policy is asked for on the command line."""

# ruff: noqa: PLC0415 - NumPy is imported when a command runs, so that --help answers at once
from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.workflows.calibrate import Choice


def typed_objective(
    threshold: float | None,
    budget: float | None,
    max_accuracy_loss: float | None,
    **settings: Any,  # noqa: ANN401 - as `Objective` has them
) -> Objective | Choice:
    """Return what was asked for; where nothing was, what suits the number of images.

    Args:
        threshold: of ``--threshold``.
        budget: of ``--budget``.
        max_accuracy_loss: of ``--max-accuracy-loss``.
        settings: other fields of `Objective`.

    Raises:
        ConfigurationError: several of the three, or a value out of range.
    """
    from shallowdeep.calibration.objective import Objective
    from shallowdeep.calibration.promisable import suggested_objective
    from shallowdeep.errors import ConfigurationError

    given = {"--threshold": threshold, "--budget": budget, "--max-accuracy-loss": max_accuracy_loss}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ConfigurationError(f"Expected one of {', '.join(given)}, got {' and '.join(names)}")
    if names:
        return Objective(threshold, budget, max_accuracy_loss, **settings)
    return functools.partial(suggested_objective, **settings)
