"""The paper's loss, against its formula and a slow loop."""

from __future__ import annotations

import math

import pytest
import torch

from shallowdeep.training.losses import exit_losses, exit_weights, weighted_loss


def test_weights_follow_the_papers_formula() -> None:
    """Weights grow from .01 by C/epochs an epoch and stop at C."""
    assert exit_weights((0.15, 0.9), 1, 100) == pytest.approx((0.0115, 0.019))
    assert exit_weights((0.15, 0.9), 50, 100) == pytest.approx((0.085, 0.46))
    assert exit_weights((0.15, 0.9), 99, 100) == pytest.approx((0.15, 0.9))
    assert exit_weights((0.15, 0.9), 100, 100) == (0.15, 0.9)


def test_weights_take_any_number_of_exits() -> None:
    """There is one weight for each target, none for none."""
    assert exit_weights((), 3, 10) == ()
    assert exit_weights((0.5,), 5, 10) == pytest.approx((0.26,))


def test_equal_logits_cost_the_logarithm_of_the_classes() -> None:
    """Logits that say nothing cost ln C at every exit."""
    losses = exit_losses(torch.zeros(3, 5, 4), torch.tensor([0, 1, 2, 3, 0]))
    assert losses.tolist() == pytest.approx([math.log(4)] * 3)


def test_weighted_loss_equals_a_slow_loop() -> None:
    """The vectorised loss is the sum over exits and samples, written out."""
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(3, 6, 4), torch.tensor([0, 3, 2, 1, 1, 0]), (0.15, 0.5, 1.0)
    slow = 0.0
    for exit_logits, weight in zip(logits, weights, strict=True):
        for row, label in zip(exit_logits.tolist(), labels.tolist(), strict=True):
            slow += weight * (math.log(sum(math.exp(z) for z in row)) - row[label]) / len(labels)
    assert weighted_loss(logits, labels, weights).item() == pytest.approx(slow, rel=1e-5)


def test_half_precision_logits_give_a_float32_loss() -> None:
    """Autocast's bfloat16 logits are summed in float32."""
    assert weighted_loss(
        torch.zeros(2, 3, 5, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.long), (1, 1)
    ).dtype is (torch.float32)


def test_an_empty_share_costs_nothing() -> None:
    """A device whose images could all not be decoded adds 0, not NaN."""
    assert exit_losses(torch.zeros(2, 0, 3), torch.zeros(0, dtype=torch.long)).tolist() == [0.0, 0.0]
