"""The fast network's whitening and its other peculiarities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.errors import ConfigurationError
from shallowdeep.models.fastnet import ConvGroup, fastnet, whitening_filters
from shallowdeep.models.initialization import initialize_from


def correlated_images() -> Tensor:
    """Returns (700, 3, 12, 12) images with neighbouring pixels and channels alike, mean zero."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(700, 3, 14, 14, generator=generator)
    smooth = F.avg_pool2d(noise, 3, stride=1) * 3
    return smooth + 0.7 * smooth.roll(1, dims=1)


def test_whitened_patches_have_identity_covariance() -> None:
    """Responses to the patches of the images given are uncorrelated and of power one."""
    images = correlated_images()
    raw = F.unfold(images, 2).transpose(1, 2).reshape(-1, 12)
    responses = F.conv2d(images, whitening_filters(images)).transpose(0, 1).flatten(1)  # (12, N * places)
    identity = torch.eye(12)
    assert (raw.T @ raw / len(raw) - identity).abs().max() > 0.3
    torch.testing.assert_close(responses.cov(), identity, atol=0.02, rtol=0)


def test_whitening_agrees_with_a_loop_over_patches() -> None:
    """The second moments are those of every 2x2 patch, one by one."""
    images = correlated_images()[:2, :, :4, :4]
    patches = [images[n, :, i : i + 2, j : j + 2].flatten() for n in range(2) for i in range(3) for j in range(3)]
    moment = torch.stack([torch.outer(p, p) for p in patches]).mean(0)
    flat = whitening_filters(images).flatten(1)
    inverse = torch.linalg.inv(moment + 5e-4 * torch.eye(12))
    torch.testing.assert_close(flat.T @ flat, inverse, rtol=1e-2, atol=1e-1)


def test_initialize_from_sets_filters_and_their_negatives_and_nothing_else() -> None:
    """The filters become the whitening ones with both signs; every other tensor stays."""
    network = fastnet(10, 32)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = correlated_images()
    assert initialize_from(network, images) == 1
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["whitening.weight"]
    filters = whitening_filters(images)
    torch.testing.assert_close(network.whitening.weight.data, torch.cat((filters, -filters)))


def test_whitening_of_constant_images_stays_finite() -> None:
    """Images without any contrast give filters that are large but finite."""
    assert whitening_filters(torch.zeros(2, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 8, 8), torch.zeros(3, 8, 8), torch.full((2, 3, 8, 8), torch.inf)])
def test_whitening_refuses_other_images(images: Tensor) -> None:
    """Grey images, one image alone and infinite values are told apart from a batch."""
    with pytest.raises(ConfigurationError, match="Expected"):
        whitening_filters(images)


def test_whitening_weight_and_batchnorm_scales_are_frozen_and_the_bias_is_not() -> None:
    """Which parameters training must leave alone."""
    network = fastnet(10, 32)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    norms = {f"groups.{group}.norm{norm}.weight" for group in range(3) for norm in (1, 2)}
    assert frozen == {"whitening.weight"} | norms
    assert network.whitening.bias is not None
    assert network.whitening.bias.requires_grad


def test_convolutions_start_as_the_identity() -> None:
    """The first filters of each convolution pass their input on."""
    group = ConvGroup(4, 6)
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(group.conv1(x)[:, :4], x)


@pytest.mark.parametrize("size", [9, 31, 32, 48, 64])
def test_any_image_size_ends_in_one_pixel(size: int) -> None:
    """The last pooling takes the whole map."""
    network = fastnet(7, size).eval()
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_logits_are_scaled_down() -> None:
    """Logits are one ninth of what the linear layer says."""
    network = fastnet(5, 32).eval()
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output)

    network.classifier.register_forward_hook(keep)
    logits = network(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(logits * 9, seen[0])
