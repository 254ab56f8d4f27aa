"""What each internal classifier alone costs, read back from the exits' costs and depths."""

from __future__ import annotations

from collections.abc import Sequence

from shallowdeep.sdn.network import Exit


def head_costs(exits: Sequence[Exit], backbone_macs: int) -> tuple[float, ...]:
    """Return the MACs of each internal classifier over the backbone's.

    An exit's MACs are those of the backbone up to there and of every internal classifier up to there, its own among
    them. So heads up to exit k do ``macs_k - depth_k·B``, in whole MACs, and a head does a difference of two of these.

    Args:
        exits: E of them, the last the final classifier.
        backbone_macs: B, of the backbone alone, per sample.

    Returns:
        E-1 relative costs, none for the final classifier, which is part of the backbone.
    """
    up_to = [exit_.macs - round(exit_.depth * backbone_macs) for exit_ in exits[:-1]]
    return tuple((total - before) / backbone_macs for before, total in zip([0, *up_to], up_to, strict=False))
