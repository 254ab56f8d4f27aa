"""Text datasets: tables, token ids, and what is held out together."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.texts import tokenizer, write_texts

from shallowdeep.data.batches import Batches
from shallowdeep.data.load import load_dataset
from shallowdeep.data.sentences import containing
from shallowdeep.data.sources.text_tables import holds_text, read_text_tables
from shallowdeep.data.text import PADDING, TextPreprocessing, padded
from shallowdeep.errors import ConfigurationError, DataError, ModelError


def test_phrases_go_with_the_sentences_that_hold_them() -> None:
    """Word for word, not letter for letter; of equal texts the first is the whole one."""
    texts = ["a good film", "good", "a good film", "film of the year", "goo", "the year"]
    assert containing(texts) == [[0], [0], [0], [3], [4], [3]]


def test_a_phrase_of_two_sentences_goes_with_both() -> None:
    """So that neither can be held out while the phrase is trained on."""
    assert containing(["x y z", "w x y", "x y"])[2] == [0, 1]


def test_no_training_text_is_part_of_one_that_is_held_out(tmp_path: Path) -> None:
    """And tune and certify hold whole texts alone."""
    sentences = [f"w{n} the plot of number w{n + 1} is fine" for n in range(0, 200, 2)]
    phrases = [" ".join(text.split()[:3]) for text in sentences] + ["is fine"]
    write_texts(tmp_path / "train.csv", [*sentences, *phrases], [n % 2 for n in range(201)])
    data = load_dataset(tmp_path, image_size=1, preprocessing=TextPreprocessing(tokenizer(), 16))
    texts = [*sentences, *phrases]
    train, held = ({texts[n] for n in part.positions.tolist()} for part in (data.train, data.calibration))
    held |= {texts[n] for n in data.test.positions.tolist()}
    assert held <= set(sentences)
    assert not any(f" {one} " in f" {other} " for one in train for other in held)
    assert "is fine" not in train


def test_test_and_validation_parts_with_labels_are_for_certify_and_for_figures(tmp_path: Path) -> None:
    """As the sentences of SST-2 are used; and it is said."""
    for part, count in (("train", 40), ("validation", 7), ("test", 11)):
        write_texts(
            tmp_path / f"{part}.jsonl", [f"{part} text {n}" for n in range(count)], [n % 2 for n in range(count)]
        )
    data = load_dataset(tmp_path, image_size=1, preprocessing=TextPreprocessing(tokenizer(), 16))
    assert (len(data.certify), len(data.test)) == (11, 7)
    assert len(data.train) + len(data.tune) == 40
    assert "certify is the test part" in data.notes[0]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_any_kind(tmp_path: Path, suffix: str) -> None:
    """Names of classes are in the order of the alphabet; commas, quotes and line breaks are part of a text."""
    texts = ['one, "two"', "three\nfour", "é 日本", "five"]
    write_texts(tmp_path / f"data.{suffix}", texts, ["pos", "neg", "pos", "neg"])
    assert holds_text(tmp_path)
    source = read_text_tables(tmp_path, "x")
    assert source.classes == ("neg", "pos")
    assert source.train.labels.tolist() == [1, 0, 1, 0]
    assert [source.train.images.content(n).decode() for n in range(4)] == texts


def test_declared_classes_and_another_column(tmp_path: Path) -> None:
    """The names that the Hugging Face writer left, and a column that is named."""
    features = {"label": {"_type": "ClassLabel", "names": ["bad", "good"]}}
    table = pa.table({"said": ["x", "y"], "label": [1, 0]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "train.parquet")
    assert not holds_text(tmp_path)
    assert read_text_tables(tmp_path, "x", "said").classes == ("bad", "good")


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", None], [0, 1], "Expected text, got nothing at row 1 of train.parquet"),
        (["a", "b"], [0, None], "Expected a label, got none at row 1 of train.parquet"),
    ],
)
def test_holes_are_named(tmp_path: Path, texts: list[str | None], labels: list[int | None], message: str) -> None:
    """By file and row."""
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=message):
        read_text_tables(tmp_path, "x")


def test_a_csv_beside_images_is_no_text_dataset(tmp_path: Path) -> None:
    """Such as a list of files and labels."""
    (tmp_path / "labels.csv").write_text("id,label\n1,2\n")
    assert not holds_text(tmp_path)


def test_texts_are_padded_and_cut() -> None:
    """Padding is no id that a text could hold."""
    preprocessing = TextPreprocessing(tokenizer(), 4)
    tokens, cut = preprocessing.encode(["w1 w2", "w1 w2 w3 w4 w5"])
    assert cut == 1
    batch = padded(tokens)
    assert batch.shape == (2, 4)
    assert (batch[0, -1] == PADDING) == (len(tokens[0]) < 4)
    assert TextPreprocessing.from_dict(preprocessing.to_dict()) == TextPreprocessing(
        json.dumps(json.loads(tokenizer()), ensure_ascii=False), 4
    )


def test_shuffled_batches_hold_texts_of_a_length(tmp_path: Path) -> None:
    """So little is padding; the order is another in each epoch, and every text comes once."""
    draw = np.random.default_rng(0)
    texts = [f"w{n} " + "the " * int(draw.integers(1, 12)) for n in range(300)]
    write_texts(tmp_path / "train.csv", texts, [n % 2 for n in range(300)])
    data = load_dataset(tmp_path, image_size=1, preprocessing=TextPreprocessing(tokenizer(), 32))
    lengths = data.train.lengths
    assert lengths is not None

    def epoch(number: int) -> list[torch.Tensor]:
        return [x for x, _ in Batches(data.train, data.preprocessing, 8, shuffle=True, epoch=number)]

    first, second = epoch(0), epoch(1)
    shown = [tuple(row[row >= 0].tolist()) for batch in first for row in batch]
    assert sorted(shown) == sorted(tuple(row[row >= 0].tolist()) for batch in second for row in batch)
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    padding = sum(int((batch < 0).sum()) for batch in first) / sum(batch.numel() for batch in first)
    assert padding < 0.1
    assert first[0].dtype == torch.int64


def test_images_for_a_network_of_text_are_refused(tmp_path: Path) -> None:
    """And texts for one of images, each in one line."""
    write_texts(tmp_path / "train.csv", ["a", "b", "c"], [0, 1, 0])
    with pytest.raises(DataError, match="Expected images for this network, got texts in"):
        load_dataset(tmp_path, image_size=32)
    with pytest.raises(DataError, match="Expected texts for this network, got images in mnist5k"):
        load_dataset("mnist5k", image_size=1, preprocessing=TextPreprocessing(tokenizer(), 16))


def test_a_tokenizer_that_is_none() -> None:
    """One line says so."""
    with pytest.raises(ModelError, match=r"Expected a tokenizer.json of the tokenizers package"):
        TextPreprocessing("{}", 16).encode(["a"])
    with pytest.raises(ConfigurationError, match="at least 2 tokens, got 1"):
        TextPreprocessing("{}", 1)


def test_images_alone_can_be_normalised() -> None:
    """What only images have is refused by name."""
    preprocessing = TextPreprocessing(tokenizer(), 16)
    with pytest.raises(DataError, match="this is for images alone"):
        _ = preprocessing.rules


def test_texts_of_other_parts_are_not_trained_on(tmp_path: Path) -> None:
    """Word for word the same ones; how many is said, and so is how many parts of held-out texts are left out."""
    train = [f"w{n} the plot of number w{n + 1} is fine" for n in range(0, 80, 2)]
    phrases = [" ".join(text.split()[:3]) for text in train]
    write_texts(tmp_path / "train.csv", [*train, *phrases], [n % 2 for n in range(80)])
    write_texts(tmp_path / "test.csv", [*train[:5], "another text of w1"], [0, 1, 0, 1, 0, 1])
    data = load_dataset(tmp_path, image_size=1, preprocessing=TextPreprocessing(tokenizer(), 16))
    kept = {[*train, *phrases][n] for n in data.train.positions.tolist()}
    assert not kept & set(train[:5])
    said = " ".join(data.notes)
    assert "training texts are in another part too, and left out of training" in said
    assert "training texts are part of texts that are held out, and left out" in said


def test_texts_that_are_cut_are_counted(tmp_path: Path) -> None:
    """Before training."""
    write_texts(
        tmp_path / "train.csv", [f"w{n} " * (20 if n < 3 else 2) for n in range(30)], [n % 2 for n in range(30)]
    )
    data = load_dataset(tmp_path, image_size=1, preprocessing=TextPreprocessing(tokenizer(), 8))
    assert "3 of 30 texts are longer than 8 tokens and cut there" in data.notes


def test_image_datasets_with_words_in_them_stay_image_datasets(tmp_path: Path) -> None:
    """A title beside images in Parquet, a table of metadata in a folder of images."""
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, format="png")
    row = {"bytes": picture.getvalue(), "path": None}
    table = pa.table({"image": [row] * 12, "label": [0, 1] * 6, "title": ["a"] * 12})
    (tmp_path / "parquet").mkdir()
    pq.write_table(table, tmp_path / "parquet" / "train.parquet")
    assert len(load_dataset(tmp_path / "parquet", image_size=8).train) > 0
    for number in range(12):
        folder = tmp_path / "folder" / ("x", "y")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture.getvalue())
    (tmp_path / "folder" / "metadata.csv").write_text("file_name,title,category\nx/0.png,a,b\n")
    assert len(load_dataset(tmp_path / "folder", image_size=8).train) > 0


def test_labels_that_begin_at_1_and_descriptions_beside_tables(tmp_path: Path) -> None:
    """Five stars are five classes; `dataset_infos.json` is no table."""
    write_texts(tmp_path / "data.csv", [f"text w{n}" for n in range(20)], [1 + n % 5 for n in range(20)])
    (tmp_path / "dataset_infos.json").write_text("{}")
    source = read_text_tables(tmp_path, "x")
    assert source.classes == ("1", "2", "3", "4", "5")
    assert source.train.labels.tolist()[:6] == [0, 1, 2, 3, 4, 0]


def test_bytes_that_are_no_utf_8_become_question_marks() -> None:
    """As they come from a command line."""
    preprocessing = TextPreprocessing(tokenizer(), 8)
    tokens, _ = preprocessing.encode(["w1 \udcff w2"])
    assert len(tokens[0]) == 5
