"""Rules of images: what is refused, what stays as it was, and what agrees with torchvision and timm bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform
from torchvision import transforms

from shallowdeep.data.image import decode_image
from shallowdeep.data.image_rules import ALPHAS, DEFAULT_RULES, INTERPOLATIONS, ImageRules
from shallowdeep.data.stores import ArrayStore
from shallowdeep.errors import ConfigurationError

TIMM_MODES = {"crop": "center", "stretch": "squash", "pad": "border"}
SHAPES = [(1, 1), (32, 32), (33, 32), (97, 61), (60, 145), (31, 200), (200, 7), (3, 180), (257, 300), (64, 49)]
SIZES = (1, 17, 24, 32, 57)
SHARES = (1.0, 0.875, 0.95, 0.9, 0.333)


def picture(height: int, width: int, kind: str) -> bytes:
    """Return a file of noise: a PNG in a mode, or a JPEG with an orientation."""
    pixels = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 4), dtype=np.uint8)
    stream = BytesIO()
    image = Image.fromarray(pixels)
    if kind == "JPEG":
        exif = Image.Exif()
        exif[0x0112] = 6  # stored on its side
        image.convert("RGB").save(stream, kind, quality=90, exif=exif)
    elif kind == "P":
        image.quantize(16).save(stream, "PNG")  # a palette with transparency
    elif kind == "I;16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(stream, "PNG")
    else:
        image.convert(kind).save(stream, "PNG")
    return stream.getvalue()


def loaded(content: bytes) -> Image.Image:
    """Return a file as torchvision's and timm's loaders open it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's, of palettes with transparency
        return Image.open(BytesIO(content)).convert("RGB")


def pixels_of(transform: Callable[[Image.Image], Any], image: Image.Image) -> NDArray[np.uint8]:
    """Return (S, S, 3) of a transform that ends in a tensor or in a PIL image."""
    made = transform(image)
    array = np.asarray(made)
    return array if isinstance(made, Image.Image) else array.transpose(1, 2, 0)


@pytest.mark.parametrize("resize", sorted(TIMM_MODES))
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resizing_is_that_of_timm(interpolation: str, resize: str) -> None:
    """Every crop mode, many odd shapes, sizes and shares: not one pixel differs."""
    mean = (0.1, 0.5, 0.7)
    fill = (26, 128, 178)
    for number, (height, width) in enumerate(SHAPES):
        content = picture(height, width, "RGBA")
        size, share = SIZES[number % len(SIZES)], SHARES[number // 2]
        if resize == "pad" and round(min(height, width) * size / max(height, width)) < 1:
            continue  # timm fails
        theirs = create_transform(
            (3, size, size), is_training=False, interpolation=interpolation, crop_pct=share, mean=mean,
            crop_mode=TIMM_MODES[resize], normalize=False,
        )  # fmt: skip
        ours = decode_image(content, size, ImageRules(interpolation, resize, share, "drop", "stored", fill))
        assert (ours == pixels_of(theirs, loaded(content))).all(), (height, width, size, share)


@pytest.mark.parametrize("resize", ["crop", "stretch"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resizing_is_that_of_torchvision(interpolation: str, resize: str) -> None:
    """`Resize` and `CenterCrop`, at every pairing of some shapes and sizes."""
    mode = transforms.InterpolationMode(interpolation)
    for height, width in SHAPES:
        content = picture(height, width, "RGB")
        for size, share in zip(SIZES, SHARES, strict=True):
            side = int(size / share)
            theirs = transforms.Compose(
                [transforms.Resize(side if resize == "crop" else (side, side), mode), transforms.CenterCrop(size)]
            )
            ours = decode_image(content, size, ImageRules(interpolation, resize, share, "drop", "stored"))
            assert (ours == pixels_of(theirs, loaded(content))).all(), (height, width, size, share)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA", "L", "1", "P", "I;16", "JPEG"])
def test_files_of_every_kind_are_decoded_as_their_loaders_do(kind: str) -> None:
    """`drop` and `stored` are PIL's own conversion, without a look at EXIF, and no warning is heard."""
    content = picture(43, 61, kind)
    theirs = transforms.Compose([transforms.Resize(27), transforms.CenterCrop(24)])
    ours = decode_image(content, 24, ImageRules("bilinear", "crop", 24 / 27, "drop", "stored"))
    assert (ours == pixels_of(theirs, loaded(content))).all()


def test_a_picture_that_is_given_stays_as_it_is() -> None:
    """Its transparency is still known after it was dropped."""
    with Image.open(BytesIO(picture(9, 9, "P"))) as image:
        decode_image(image, 4, ImageRules(alpha="drop"))
        assert "transparency" in image.info


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (ImageRules(alpha="white"), [255, 255, 255]),
        (ImageRules(alpha="black"), [0, 0, 0]),
        (ImageRules(alpha="drop"), [200, 100, 50]),
    ],
)
def test_transparency_is_composed_or_dropped(rules: ImageRules, expected: list[int]) -> None:
    """What lies under a transparent pixel shows where alpha is dropped alone."""
    stream = BytesIO()
    Image.fromarray(np.full((4, 4, 4), (200, 100, 50, 0), np.uint8)).save(stream, "PNG")
    assert decode_image(stream.getvalue(), 4, rules)[0, 0].tolist() == expected


def test_orientation_is_applied_or_left() -> None:
    """The image that lies on its side stands up by EXIF alone."""
    stream = BytesIO()
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 8, 16))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(stream, "PNG", exif=exif)
    upright, stored = (decode_image(stream.getvalue(), 16, ImageRules(orientation=o)) for o in ("exif", "stored"))
    assert (upright[0, 0, 0], upright[-1, 0, 0]) == (255, 0)
    assert (stored[0, 0, 0], stored[0, -1, 0]) == (255, 0)


def of_version_0_1(content: bytes, size: int) -> NDArray[np.uint8]:
    """Return what version 0.1.0 made of a PNG file."""
    layer = Image.open(BytesIO(content)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    if short == size:
        return np.asarray(image.crop(box))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0))


def test_the_default_rules_give_the_pixels_of_older_versions() -> None:
    """Bit for bit, for small and large files: old runs keep what they were trained on."""
    for height, width in [*SHAPES, (700, 900)]:
        for kind in ("RGBA", "L", "P"):
            content = picture(height, width, kind)
            assert (decode_image(content, 32) == of_version_0_1(content, 32)).all(), (height, width, kind)


def test_exact_resizing_takes_all_pixels_at_once() -> None:
    """Under the default rules too, where a large image is otherwise shrunk first; other rules always do."""
    content = picture(700, 900, "RGB")
    theirs = transforms.Compose(
        [transforms.Resize(32, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32)]
    )
    expected = pixels_of(theirs, loaded(content))
    assert (decode_image(content, 32, ImageRules(exact_resize=True)) == expected).all()
    assert (decode_image(content, 32) != expected).any()
    assert ImageRules(interpolation="bilinear").exact_resize
    assert ImageRules(alpha="drop") == ImageRules(alpha="drop", exact_resize=True)
    assert not DEFAULT_RULES.exact_resize


@pytest.mark.parametrize("shape", [(2, 1000), (1000, 2), (1, 4000)])
def test_of_a_very_elongated_image_the_centre_alone_is_resized(shape: tuple[int, int]) -> None:
    """It would take hundreds of megabytes otherwise."""
    content = picture(*shape, "RGB")
    result = decode_image(content, 32, ImageRules(interpolation="nearest"))
    assert result.shape == (32, 32, 3)
    middle = loaded(content).crop((497, 0, 503, 2)) if shape == (2, 1000) else None
    if middle is not None:
        colours = {tuple(colour) for colour in np.asarray(middle).reshape(-1, 3).tolist()}
        assert {tuple(colour) for colour in result.reshape(-1, 3).tolist()} <= colours


def test_arrays_follow_the_rules_too() -> None:
    """Stores of pixels resize as files are."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), dtype=np.uint8)
    rules = ImageRules("bilinear", "stretch")
    expected = Image.fromarray(pixels[0]).resize((8, 8), Image.Resampling.BILINEAR)
    assert (ArrayStore(pixels, "noise").decode(0, 8, rules) == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"interpolation": "cubic"}, "Expected interpolation nearest, bilinear, bicubic or lanczos, got 'cubic'"),
        ({"resize": "squash"}, "Expected resize crop, pad or stretch, got 'squash'"),
        ({"alpha": 0}, "Expected alpha white, black or drop, got 0"),
        ({"orientation": ""}, "Expected orientation exif or stored, got ''"),
        ({"crop_share": 0}, r"Expected crop share in \(0, 1\], got 0"),
        ({"crop_share": 1.15}, r"Expected crop share in \(0, 1\], got 1.15"),
        ({"crop_share": float("nan")}, r"Expected crop share in \(0, 1\], got nan"),
        ({"crop_share": "1"}, r"Expected crop share in \(0, 1\], got '1'"),
        ({"fill": (0, 0)}, r"Expected three numbers in \[0, 255\] as fill, got \(0, 0\)"),
        ({"fill": (0, 0, 256)}, r"Expected three numbers in \[0, 255\] as fill"),
        ({"exact_resize": 1}, "Expected exact_resize true or false, got 1"),
        ({"filter": "bicubic"}, "Expected rules of images among interpolation, .*, got filter"),
    ],
)
def test_rules_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    """One line names the choices."""
    with pytest.raises(ConfigurationError, match=message):
        ImageRules.from_dict(values)


def test_documents_hold_what_is_no_default() -> None:
    """And give the same rules back."""
    assert DEFAULT_RULES.to_dict() == {}
    assert ImageRules.from_dict({}) == DEFAULT_RULES
    rules = ImageRules("bilinear", "pad", 0.9, "drop", "stored", (1, 2, 3))
    assert rules.to_dict() == {
        "interpolation": "bilinear", "resize": "pad", "crop_share": 0.9, "alpha": "drop", "orientation": "stored",
        "fill": [1, 2, 3], "exact_resize": True,
    }  # fmt: skip
    assert ImageRules.from_dict(rules.to_dict()) == rules
    assert all(ImageRules.from_dict(ImageRules(alpha=alpha).to_dict()).alpha == alpha for alpha in ALPHAS)
