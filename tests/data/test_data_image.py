"""One function decodes every kind of image file, by rules that can be checked by hand."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shallowdeep.data.image import decode_image, image_dimensions
from shallowdeep.errors import BadImageError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return the bytes of an image file."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    """Return random uint8 pixels."""
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def test_an_image_of_the_right_size_is_left_untouched() -> None:
    """No resampling, no rounding."""
    pixels = noise(8, 8, 3)
    assert (decode_image(encoded(Image.fromarray(pixels)), 8) == pixels).all()


def test_a_path_and_its_bytes_give_the_same(tmp_path: Path) -> None:
    """Training reads files and bytes, prediction too."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(noise(9, 7, 3))))
    assert (decode_image(path, 4) == decode_image(path.read_bytes(), 4)).all()


def test_grey_is_replicated() -> None:
    """The three channels of a grey image are equal."""
    pixels = noise(8, 8)
    assert (decode_image(encoded(Image.fromarray(pixels)), 8) == pixels[..., None]).all()


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    """65535 is white, and the middle is the middle."""
    wide = np.array([[0, 257], [32896, 65535]], dtype=np.uint16)
    result = decode_image(encoded(Image.fromarray(wide)), 2)
    assert result[..., 0].tolist() == [[0, 1], [128, 255]]


def test_floating_point_is_scaled_from_the_unit_interval() -> None:
    """A TIFF of floats; values outside [0, 1] are clipped and what is no number is black."""
    values = np.array([[0.0, 0.5], [2.0, np.nan]], dtype=np.float32)
    assert decode_image(encoded(Image.fromarray(values), "TIFF"), 2)[..., 1].tolist() == [[0, 128], [255, 0]]


def test_transparency_is_composed_on_white() -> None:
    """A transparent pixel is white, a half-transparent black one is grey."""
    pixels = np.array([[[255, 0, 0, 0], [0, 0, 0, 128]], [[10, 20, 30, 255], [0, 0, 0, 255]]], dtype=np.uint8)
    result = decode_image(encoded(Image.fromarray(pixels, "RGBA")), 2)
    assert result.tolist() == [[[255, 255, 255], [127, 127, 127]], [[10, 20, 30], [0, 0, 0]]]


def test_a_palette_becomes_its_colours_and_its_transparent_entry_white() -> None:
    """Palette images as GIF and PNG hold them."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    assert decode_image(encoded(image.resize((2, 2))), 2)[0].tolist() == [[255, 0, 0], [0, 255, 0]]
    assert decode_image(encoded(image.resize((2, 2)), transparency=1), 2)[0].tolist() == [[255, 0, 0], [255] * 3]


@pytest.mark.parametrize("mode", ["1", "CMYK", "LA", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    """White is white in every mode."""
    image = Image.new("RGB", (4, 4), "white").convert(mode)
    assert (decode_image(encoded(image, "TIFF" if mode in {"CMYK", "YCbCr"} else "PNG"), 4) >= 254).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(kind: str) -> None:
    """Orientation 6 says: turn a quarter clockwise to see it upright."""
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255  # white on the left; upright it is white on top
    exif = Image.Exif()
    exif[0x0112] = 6
    result = decode_image(encoded(Image.fromarray(pixels), kind, exif=exif), 8)
    assert result[:3].min() > 200
    assert result[5:].max() < 50


def test_the_centre_square_is_cut_without_resampling_where_the_shorter_side_fits() -> None:
    """A wide image loses the same on both sides."""
    pixels = noise(4, 10, 3)
    assert (decode_image(encoded(Image.fromarray(pixels)), 4) == pixels[:, 3:7]).all()


def test_resizing_is_bicubic_and_then_cropped() -> None:
    """The same as PIL's own filter on the whole image, and a crop of the result."""
    pixels = noise(20, 30, 3)
    expected = Image.fromarray(pixels).resize((12, 8), Image.Resampling.BICUBIC).crop((2, 0, 10, 8))
    assert (decode_image(encoded(Image.fromarray(pixels)), 8) == np.asarray(expected)).all()


def test_a_large_jpeg_is_about_what_slow_resizing_gives() -> None:
    """The shortcuts for large files change single grey levels only."""
    ramp = np.add.outer(np.arange(640), np.arange(800)) / 6
    pixels = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
    content = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    slow = Image.open(BytesIO(content)).crop((80, 0, 720, 640)).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.abs(decode_image(content, 32).astype(int) - np.asarray(slow).astype(int)).max() <= 2


def test_a_very_elongated_image_stays_cheap() -> None:
    """Enlarging the shorter side of 2x20000 to 64 would hold 64x640000 pixels; the result is what a crop gives."""
    pixels = noise(2, 20000, 3)
    assert decode_image(encoded(Image.fromarray(pixels)), 64).shape == (64, 64, 3)


def test_the_header_tells_the_size() -> None:
    """Width first, as PIL says it."""
    assert image_dimensions(encoded(Image.fromarray(noise(5, 9, 3)))) == (9, 5)


@pytest.mark.parametrize("content", [b"", b"no image at all", encoded(Image.fromarray(noise(64, 64, 3)))[:3000]])
def test_a_bad_image_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    """Empty, foreign and truncated files; by the name told, or by their path."""
    with pytest.raises(BadImageError, match=r"^Expected a readable image, got row 17 of x.parquet \(.+\)$"):
        decode_image(content, 8, name="row 17 of x.parquet")
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=r"broken\.png"):
        decode_image(path, 8)


def test_a_missing_file_is_a_bad_image(tmp_path: Path) -> None:
    """The reason is the system's."""
    with pytest.raises(BadImageError, match="No such file"):
        decode_image(tmp_path / "none.png", 8)
    with pytest.raises(BadImageError, match="No such file"):
        image_dimensions(tmp_path / "none.png")


def test_decoding_and_preprocessing_need_no_torch() -> None:
    """Bundles predict on machines without it."""
    code = "import sys, shallowdeep.data.image, shallowdeep.data.preprocessing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
