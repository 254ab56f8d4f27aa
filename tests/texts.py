"""Small texts, tokenizers and models of `transformers`, made here."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
from tokenizers import models, pre_tokenizers, processors

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "good", "bad", "fine", "poor", "film", "plot", "is", "of")


@cache
def tokenizer() -> str:
    """A tokenizer of whole words, with a first and a last token, as `tokenizer.json` holds it."""
    words = [*WORDS, "number", "text", "train", "test", "validation", *(f"w{n}" for n in range(400))]
    made = tokenizers.Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106 - a word
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    found: str = made.to_str()
    return found


def write_texts(path: Path, texts: Sequence[str], labels: Sequence[Any]) -> None:
    """Write a table of texts and labels, of the kind that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": list(texts), "label": list(labels)}), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            for text, label in zip(texts, labels, strict=True):
                file.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
            return
        rows = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        rows.writerow(["text", "label"])
        rows.writerows(zip(texts, labels, strict=True))


def write_model(folder: Path, *, kind: str = "bert", classes: int = 2, layers: int = 3, dropout: float = 0.1) -> Path:
    """Write a small untrained text classifier of `transformers` with its tokenizer; returns the folder."""
    import torch  # noqa: PLC0415 - seconds, for tests of networks alone
    from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification, PreTrainedTokenizerFast  # noqa: PLC0415

    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](
        hidden_size=32, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=64, vocab_size=500,
        max_position_embeddings=40, num_labels=classes, pad_token_id=0,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(tokenizer()), pad_token="[PAD]", unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]", sep_token="[SEP]",  # noqa: S106 - words
    )  # fmt: skip
    made.save_pretrained(folder)
    return folder


def write_reviews(folder: Path, count: int = 600) -> Path:
    """Write reviews of films that are good or bad as their words say; returns the folder."""
    draw = np.random.default_rng(0)
    texts, labels = [], []
    for number in range(count):
        label = int(draw.integers(2))
        word = (("bad", "poor"), ("good", "fine"))[label][int(draw.integers(2))]
        filler = " ".join(f"w{n}" for n in draw.integers(0, 40, int(draw.integers(0, 9))))
        texts.append(f"w{number % 400} the film is {filler} {word}".replace("  ", " "))
        labels.append("good" if label else "bad")
    write_texts(folder / "train.csv", texts, labels)
    return folder
