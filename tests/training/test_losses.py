"""The paper's loss, against its formula and a slow loop."""

from __future__ import annotations

import math

import pytest
import torch

from shallowdeep.training.losses import (
    Distillation,
    distilled_losses,
    exit_loss,
    exit_losses,
    exit_weights,
)


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


def test_exit_loss_equals_a_slow_loop() -> None:
    """The vectorised loss is the sum over exits and samples, written out."""
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(3, 6, 4), torch.tensor([0, 3, 2, 1, 1, 0]), (0.15, 0.5, 1.0)
    slow = 0.0
    for exit_logits, weight in zip(logits, weights, strict=True):
        for row, label in zip(exit_logits.tolist(), labels.tolist(), strict=True):
            slow += weight * (math.log(sum(math.exp(z) for z in row)) - row[label]) / len(labels)
    assert exit_loss(logits, labels, weights).item() == pytest.approx(slow, rel=1e-5)


def test_half_precision_logits_give_a_float32_loss() -> None:
    """Autocast's bfloat16 logits are summed in float32."""
    assert exit_loss(torch.zeros(2, 3, 5, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.long), (1, 1)).dtype is (
        torch.float32
    )


def test_an_empty_share_costs_nothing() -> None:
    """A device whose images could all not be decoded adds 0, not NaN."""
    assert exit_losses(torch.zeros(2, 0, 3), torch.zeros(0, dtype=torch.long)).tolist() == [0.0, 0.0]


def test_distilled_losses_equal_a_slow_loop() -> None:
    """(1-w)·CE + w·T²·KL(final || exit), softened by T, for each internal classifier; the final exit's is plain."""
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(3, 6, 4), torch.tensor([0, 3, 2, 1, 1, 0]), (0.15, 0.5, 1.0)
    share, temperature = 0.4, 2.0
    slow = 0.0
    for k, weight in enumerate(weights):
        for n, label in enumerate(labels.tolist()):
            cross_entropy = -float(logits[k, n].log_softmax(-1)[label])
            teacher, student = ((logits[e, n] / temperature).softmax(-1) for e in (2, k))
            divergence = sum(float(t * (t / s).log()) for t, s in zip(teacher, student, strict=True))
            taught = (1 - share) * cross_entropy + share * temperature**2 * divergence
            slow += weight * (taught if k < 2 else cross_entropy) / 6
    losses = distilled_losses(logits, labels, Distillation(share, temperature))
    assert float((losses * torch.tensor(weights)).sum()) == pytest.approx(slow)


def test_the_final_exit_learns_nothing_from_its_pupils() -> None:
    """Its gradient is that of its own cross-entropy; without a share of teaching all is cross-entropy."""
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 6, 4, requires_grad=True), torch.tensor([0, 3, 2, 1, 1, 0])
    weights = (0.5, 0.5, 1.0)

    def distilled_loss(share: float) -> torch.Tensor:
        return (distilled_losses(logits, labels, Distillation(share, 3.0)) * torch.tensor(weights)).sum()

    (taught,) = torch.autograd.grad(distilled_loss(0.5), logits)
    (plain,) = torch.autograd.grad(exit_loss(logits, labels, weights), logits)
    assert torch.allclose(taught[-1], plain[-1])
    assert not torch.allclose(taught[0], plain[0])
    (untaught,) = torch.autograd.grad(distilled_loss(0.0), logits)
    assert torch.allclose(untaught, plain)
