"""Networks of several inputs, and of token ids: what travels beside the activation."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shallowdeep.checkpoint import load
from shallowdeep.errors import ConversionError, DataError
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.inputs import ordered, random_like


class _Layer(nn.Module):
    """Attention over tokens that a mask allows, and a feed-forward part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens (N, L, C)."""
        query, key, value = (part(x).unsqueeze(1) for part in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.unsqueeze(1))
        x = self.norm(x + self.dropout(attended.squeeze(1)))
        wide: Tensor = F.gelu(self.wide(x))
        return x + self.narrow(wide)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A small text classifier of ids and a mask, whose head reads the first token."""

    def __init__(self, width: int = 16, layers: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, width), nn.Embedding(32, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.head = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Logits among other things."""
        x = self.hidden(input_ids, torch.ones_like(input_ids) if attention_mask is None else attention_mask)
        return {"hidden": x, "logits": self.head(x[:, 0])}

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens (N, L, C)."""
        mask = attention_mask[:, None, :].bool().expand(-1, input_ids.shape[1], -1)
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        for layer in self.layers:
            x = layer(x, mask)
        tokens: Tensor = x
        return tokens


class MeanEncoder(Encoder):
    """The same, whose head reads the mean of the tokens."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Logits among other things."""
        assert attention_mask is not None
        hidden = self.hidden(input_ids, attention_mask)
        counted = attention_mask[..., None].to(hidden.dtype)
        return {"logits": self.head((hidden * counted).sum(1) / counted.sum(1))}


class Tabular(nn.Module):
    """Images beside a vector of measurements, which joins at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 + 4, 5)

    def forward(self, pixels: Tensor, measured: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.second(F.relu(self.first(pixels))))
        return self.head(torch.cat([x.mean((2, 3)), measured], dim=1))  # type: ignore[no-any-return]


def texts(count: int = 3, length: int = 9) -> dict[str, Tensor]:
    """Texts of falling length."""
    mask = torch.ones(count, length, dtype=torch.int64)
    for row in range(count):
        mask[row, length - row :] = 0
    ids = torch.randint(2, 50, (count, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


def example() -> dict[str, Tensor]:
    """An example without padding."""
    return texts(1)


def test_token_ids_and_their_mask_travel_beside_the_activation() -> None:
    """The mask is read by every stage that attends, and the logits are the backbone's."""
    torch.manual_seed(0)
    model = Encoder().eval()
    network = convert(model, example())
    assert len(network.exits) > 2
    assert network.stages[0].beside == network.stages[1].beside == ("attention_mask",)
    assert torch.equal(network(texts())[-1], model(**texts())["logits"])


@pytest.mark.parametrize("length", [1, 4, 9, 20])
def test_the_network_runs_at_other_lengths(length: int) -> None:
    """Lengths are read when a stage runs, not fixed when it is made."""
    torch.manual_seed(0)
    model = Encoder().eval()
    network = convert(model, example())
    batch = texts(2, length)
    assert torch.equal(network(batch)[-1], model(**batch)["logits"])


def test_train_mode_computes_what_the_backbone_does() -> None:
    """With its dropout, drawn from the same numbers."""
    torch.manual_seed(0)
    model = Encoder().train()
    network = convert(model, example())
    torch.manual_seed(3)
    expected = model(**texts())["logits"]
    torch.manual_seed(3)
    assert torch.equal(network(texts())[-1], expected)
    assert not torch.equal(model(**texts())["logits"], expected)


def test_a_head_on_the_first_token_makes_internal_classifiers_read_it() -> None:
    """No mask is asked for."""
    network = convert(Encoder().eval(), example())
    assert not any(classifier.reads_mask for classifier in network.internal_classifiers)


def test_padding_does_not_count_in_a_mean_of_tokens() -> None:
    """A text says the same alone and beside a longer one."""
    torch.manual_seed(0)
    network = convert(MeanEncoder().eval(), example())
    assert all(classifier.reads_mask for classifier in network.internal_classifiers)
    batch = texts(2)
    alone = {key: value[1:, :8] for key, value in batch.items()}
    torch.testing.assert_close(network(batch)[:, 1:], network(alone))


def test_a_second_input_that_joins_at_the_end_leaves_cut_points_before_it() -> None:
    """Only the last stage reads it."""
    torch.manual_seed(0)
    model = Tabular().eval()
    batch = {"pixels": torch.randn(2, 3, 16, 16), "measured": torch.randn(2, 4)}
    network = convert(model, batch)
    assert [stage.beside for stage in network.stages] == [*[()] * (len(network.stages) - 1), ("measured",)]
    assert torch.equal(network(batch)[-1], model(**batch))


def test_inputs_are_taken_in_the_order_of_forward() -> None:
    """Whatever the order of the dictionary."""
    batch = {"measured": torch.zeros(1, 4), "pixels": torch.zeros(1, 3, 16, 16)}
    assert list(ordered(Tabular(), batch)) == ["pixels", "measured"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"pixels": torch.zeros(1, 3, 16, 16)}, "Expected an input 'measured' for Tabular, got pixels alone"),
        ({"pixels": torch.zeros(1, 3, 16, 16), "size": torch.zeros(1)}, "takes \\(pixels, measured\\), got size"),
        ({}, "by name for Tabular, got none"),
        ({"pixels": [1, 2]}, "got list for pixels"),
    ],
)
def test_inputs_that_do_not_fit_are_named(batch: Mapping[str, Tensor], message: str) -> None:
    """In one line."""
    with pytest.raises(ConversionError, match=message):
        convert(Tabular(), batch)


def test_a_network_of_several_inputs_is_copied_pickled_and_saved(tmp_path: object) -> None:
    """Its inputs are in the manifest."""
    torch.manual_seed(0)
    network = convert(Encoder().eval(), example()).eval()
    expected = network(texts())
    assert torch.equal(copy.deepcopy(network)(texts()), expected)
    assert torch.equal(pickle.loads(pickle.dumps(network))(texts()), expected)  # noqa: S301 - its own
    network.save(f"{tmp_path}/run")
    again = load(f"{tmp_path}/run", backbone=Encoder())
    assert [spec.name for spec in again.inputs] == ["input_ids", "attention_mask"]
    assert torch.equal(again(texts()), expected)


def test_random_samples_keep_to_the_example() -> None:
    """Ids within its range, masks as they are."""
    drawn = random_like(texts(1), 5)
    assert isinstance(drawn, dict)
    assert drawn["input_ids"].shape == (5, 9)
    assert int(drawn["input_ids"].max()) <= int(texts(1)["input_ids"].max())
    assert bool((drawn["attention_mask"] == 1).all())


class Mixing(Encoder):
    """Answers that depend on the other texts of a batch."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Logits among other things."""
        logits = super().forward(input_ids, attention_mask)["logits"]
        return {"logits": logits - logits.mean(0)}


def test_texts_of_a_batch_that_change_each_others_answers_are_refused() -> None:
    """As images are."""
    torch.manual_seed(0)
    with pytest.raises(ConversionError, match="mixes the images of a batch"):
        convert(Mixing().eval(), example())


def test_names_are_what_counts_not_their_order() -> None:
    """As keywords too; missing and unknown names are refused in one line."""
    torch.manual_seed(0)
    network, batch = convert(Encoder().eval(), example()), texts()
    backwards = dict(reversed(batch.items()))
    assert torch.equal(network(backwards), network(batch))
    assert torch.equal(network(**batch), network(batch))
    with pytest.raises(DataError, match="Expected inputs by the names input_ids, attention_mask, got input_ids"):
        network({"input_ids": batch["input_ids"]})
    with pytest.raises(DataError, match="got input_ids, attention_mask, token_type_ids"):
        network({**batch, "token_type_ids": batch["input_ids"]})


class Router(nn.Module):
    """A module without weights that reads the order of values, and nothing else of them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C), 1 at the largest channel."""
        if x.sum() > 1e9:  # cannot be traced
            return x.mean((2, 3))
        return F.one_hot(x.mean((2, 3)).argmax(1), x.shape[1]).to(x.dtype)


class Routed(nn.Module):
    """A network whose head reads what a router said long before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.router, self.head = Router(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu(self.first(x))
        chosen = self.router(x)
        output: Tensor = self.head(F.relu(self.second(x)).mean((2, 3)) * chosen)
        return output


def test_a_module_that_reads_the_order_of_values_reads_more_than_sizes() -> None:
    """What it said stays alive until it is read: there is no cut between."""
    torch.manual_seed(0)
    model = Routed().eval()
    try:
        network = convert(model, torch.zeros(1, 3, 16, 16))
    except ConversionError:
        return
    images = torch.randn(8, 3, 16, 16)
    assert torch.equal(network(images)[-1], model(images))


class Padded(Encoder):
    """A classifier that forgets its mask."""

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens, of which padding is one like the others."""
        return super().hidden(input_ids, torch.ones_like(attention_mask))


def test_answers_that_depend_on_padding_are_refused() -> None:
    """With such a network texts of a batch would change each other's answers."""
    torch.manual_seed(0)
    with pytest.raises(ConversionError, match="that do not depend on padding, but 8 tokens of it change the logits"):
        convert(Padded().eval(), example())


class Halved(nn.Module):
    """Makes a Python number of its input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        half = int(x.shape[2] / 2)
        x = self.second(F.relu(self.first(x)))[:, :, :half]
        output: Tensor = self.head(x.mean((2, 3)))
        return output


def test_a_number_made_of_a_size_binds_the_network_to_it() -> None:
    """Other sizes are refused, where they would go wrong without a word."""
    torch.manual_seed(0)
    model = Halved().eval()
    network = convert(model, torch.randn(1, 3, 16, 16))
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(network(images)[-1], model(images))
    with pytest.raises(DataError, match=r"Expected images of \(3, 16, 16\), .* got \(3, 32, 32\)"):
        network(torch.randn(2, 3, 32, 32))
