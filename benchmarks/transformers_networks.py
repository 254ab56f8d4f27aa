"""Small, untrained configurations of transformers' classifiers, for `networks.py`."""

from __future__ import annotations

from typing import Any

_SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
_WORDS = {**_SMALL, "vocab_size": 100, "max_position_embeddings": 64, "pad_token_id": 1}
_ENDS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)
_RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
TEXT: dict[str, dict[str, Any]] = {
    "bert": _WORDS,
    "roberta": _WORDS,
    "xlm-roberta": _WORDS,
    "camembert": _WORDS,
    "electra": {**_WORDS, "embedding_size": 32},
    "distilbert": {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "vocab_size": 100},
    "albert": {**_WORDS, "embedding_size": 16},
    "mpnet": _WORDS,
    "ernie": _WORDS,
    "modernbert": {**_WORDS, **_ENDS, "global_attn_every_n_layers": 2, "local_attention": 8},
    "deberta": {**_WORDS, **_RELATIVE},
    "deberta-v2": {
        **_WORDS, **_RELATIVE, "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_buckets": 16,
    },
    "convbert": {**_WORDS, "embedding_size": 32},
    "nystromformer": _WORDS,
    "rembert": {**_WORDS, **_ENDS, "input_embedding_size": 32},
    "roformer": _WORDS,
    "squeezebert": {**_WORDS, "embedding_size": 32},
    "mobilebert": {**_WORDS, "embedding_size": 16, "hidden_size": 64, "intra_bottleneck_size": 32},
    "funnel": {"vocab_size": 100, "block_sizes": [2, 2], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64},
    "xlnet": {"vocab_size": 100, "d_model": 32, "n_layer": 4, "n_head": 4, "d_inner": 64},
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "vocab_size": 100, "n_positions": 64, "pad_token_id": 1, **_ENDS},
    "llama": {**_WORDS, "num_key_value_heads": 2},
    "qwen2": {**_WORDS, "num_key_value_heads": 2},
}  # fmt: skip
_PATCHES = {**_SMALL, "patch_size": 8}
_STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
_WINDOWS = {"patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
IMAGES: dict[str, dict[str, Any]] = {
    "vit": _PATCHES,
    "deit": {**_PATCHES, "architectures": ["DeiTForImageClassification"]},
    "beit": {**_PATCHES, "use_relative_position_bias": True},
    "data2vec-vision": _PATCHES,
    "dinov2": _PATCHES,
    "dinov2_with_registers": _PATCHES,
    "ijepa": _PATCHES,
    "vit_msn": _PATCHES,
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "convnext": {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]},
    "convnextv2": {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]},
    "resnet": {**_STAGES, "embedding_size": 16, "layer_type": "basic"},
    "regnet": {**_STAGES, "embedding_size": 16, "groups_width": 8},
    "bit": {**_STAGES, "embedding_size": 16, "num_groups": 8},
    "mobilevit": {"hidden_sizes": [24, 32, 48], "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 96]},
    "mobilevitv2": {"width_multiplier": 0.25},
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilenet_v2": {"depth_multiplier": 0.35},
    "efficientnet": {"width_coefficient": 0.3, "depth_coefficient": 0.3, "hidden_dim": 384},
    "poolformer": _STAGES,
    "levit": {
        "hidden_sizes": [16, 32, 48], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1], "key_dim": [8, 8, 8],
        "architectures": ["LevitForImageClassification"],
    },
    "pvt_v2": {**_STAGES, "num_attention_heads": [1, 2, 3, 4]},
    "cvt": {},
    "focalnet": {"embed_dim": 16, "depths": [1, 1, 2, 1]},
    "segformer": {**_STAGES, "num_attention_heads": [1, 2, 3, 4]},
    "hiera": {"image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8]},
    "swiftformer": {"depths": [1, 1, 1, 1], "embed_dims": [16, 32, 48, 64]},
}  # fmt: skip
