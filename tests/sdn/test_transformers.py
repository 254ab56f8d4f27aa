"""Networks of `transformers`, small and untrained: cut, exact, at other lengths, and exported."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForImageClassification, AutoModelForSequenceClassification

from shallowdeep.errors import ConversionError
from shallowdeep.sdn.convert import convert
from shallowdeep.sdn.logits import logits_of

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 3,
}  # fmt: skip
WORDS = {**SMALL, "vocab_size": 100, "max_position_embeddings": 64, "pad_token_id": 1, "use_cache": False}
DEBERTA = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "share_att_key": True,
    "norm_rel_ebd": "layer_norm", "position_buckets": 16,
}  # fmt: skip
TEXT: dict[str, dict[str, Any]] = {
    "bert": WORDS,
    "roberta": WORDS,
    "xlm-roberta": WORDS,
    "mpnet": WORDS,
    "electra": {**WORDS, "embedding_size": 32},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "vocab_size": 100, "num_labels": 3},
    "modernbert": {
        **WORDS,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2),
    },
    "deberta-v2": {**WORDS, **DEBERTA},
    "gpt2": {
        "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 100, "n_positions": 64, "num_labels": 3,
        "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2, "use_cache": False,
    },
    "llama": {**WORDS, "num_key_value_heads": 2},
}  # fmt: skip
PIXELS = {**SMALL, "image_size": 32, "patch_size": 8}
IMAGES: dict[str, dict[str, Any]] = {
    "vit": PIXELS,
    "deit": {**PIXELS, "architectures": ["DeiTForImageClassification"]},
    "beit": {**PIXELS, "use_relative_position_bias": True},
    "dinov2": PIXELS,
    "swin": {
        "image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
        "num_labels": 3,
    },
    "convnext": {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1], "num_labels": 3},
    "mobilevit": {
        "image_size": 64, "num_labels": 3, "hidden_sizes": [24, 32, 48],
        "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 96],
    },
}  # fmt: skip


def text_model(kind: str) -> nn.Module:
    """A small text classifier."""
    torch.manual_seed(0)
    model: nn.Module = AutoModelForSequenceClassification.from_config(CONFIG_MAPPING[kind](**TEXT[kind]))
    return model


def image_model(kind: str) -> nn.Module:
    """A small image classifier."""
    torch.manual_seed(0)
    model: nn.Module = AutoModelForImageClassification.from_config(CONFIG_MAPPING[kind](**IMAGES[kind]))
    return model


def texts(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Texts of several lengths, padded to the longest."""
    ids = torch.from_numpy(np.random.default_rng(0).integers(4, 100, (len(lengths), max(lengths))))
    mask = torch.stack([(torch.arange(max(lengths)) < length).long() for length in lengths])
    return {"input_ids": torch.where(mask.bool(), ids, 1), "attention_mask": mask}


@pytest.mark.parametrize("kind", TEXT)
def test_texts(kind: str) -> None:
    """Eval logits are the model's bit for bit, with padding and without and at other lengths; train logits too."""
    model = text_model(kind).eval()
    network = convert(model, texts((12,)))
    assert len(network.exits) > 2
    for batch in (texts((12, 12)), texts((12, 7, 4)), texts((5, 3)), texts((20, 18))):
        with torch.no_grad():
            assert torch.equal(network(batch)[-1], logits_of(model(**batch)))
    network.train()
    torch.manual_seed(1)
    expected = logits_of(model(**texts((12, 7))))
    torch.manual_seed(1)
    assert torch.equal(network(texts((12, 7)))[-1], expected)


@pytest.mark.parametrize("kind", IMAGES)
def test_images(kind: str) -> None:
    """Likewise."""
    model, side = image_model(kind).eval(), IMAGES[kind].get("image_size", 64)
    images = torch.randn(3, 3, side, side)
    network = convert(model, images)
    assert len(network.exits) > 2
    with torch.no_grad():
        assert torch.equal(network(images)[-1], logits_of(model(images)))
    network.train()
    torch.manual_seed(1)
    expected = logits_of(model(images))
    torch.manual_seed(1)
    assert torch.equal(network(images)[-1], expected)


@pytest.mark.parametrize("kind", ["bert", "deberta-v2"])
def test_internal_classifiers_leave_padding_out(kind: str) -> None:
    """A text says the same alone and beside a longer one, at every exit."""
    network = convert(text_model(kind).eval(), texts((12,)))
    together = network(texts((12, 7)))[:, 1]
    alone = network({name: values[1:, :7] for name, values in texts((12, 7)).items()})[:, 0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_network_can_be_pickled() -> None:
    """Generated code calls helpers by name."""
    network = convert(text_model("bert").eval(), texts((12,)))
    again = pickle.loads(pickle.dumps(network))  # noqa: S301 - its own
    assert torch.equal(again(texts((9, 4))), network(texts((9, 4))))


def test_helpers_are_what_they_were_after_tracing() -> None:
    """Nothing of `transformers` stays replaced, also after an error."""
    import transformers.models.bert.modeling_bert as file  # noqa: PLC0415 - looked into
    from transformers import masking_utils, modeling_utils  # noqa: PLC0415

    with pytest.raises(ConversionError, match="You must specify exactly one of input_ids"):
        convert(text_model("bert"), {"ids": torch.zeros(1, 4, dtype=torch.int64)})
    convert(text_model("bert"), texts((12,)))
    assert file.create_bidirectional_mask is masking_utils.create_bidirectional_mask
    assert file.ALL_ATTENTION_FUNCTIONS is modeling_utils.ALL_ATTENTION_FUNCTIONS


def test_what_cannot_be_converted_says_why() -> None:
    """A network whose tokens come first: no layout that a head could read."""
    config = CONFIG_MAPPING["xlnet"](vocab_size=100, d_model=32, n_layer=2, n_head=4, d_inner=64, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ConversionError, match=r"has no cut point \(.* none that an internal classifier can read\)"):
        convert(model, texts((12,)))
