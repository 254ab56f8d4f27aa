"""A picture of a report at desktop and phone width, or of one section, as results/ shows it.

    python benchmarks/report_picture.py PAGE.html PICTURE.png [--section backdoor --height 1500]

Needs selenium and Debian's chromium.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

DESKTOP, PHONE, HEIGHT = 1280, 390, 1560  # pixels
SCALE = 0.7
GAP = 40
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def shot(page: Path, width: int, height: int, section: str | None = None) -> Image.Image:
    """The top of a page at a width, or of a section of it."""
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get(page.resolve().as_uri())
            picture = driver.get_screenshot_as_png()
            if section is not None:
                picture = driver.find_element("id", section).screenshot_as_png
            whole = Image.open(io.BytesIO(picture)).convert("RGB")
            return whole.crop((0, 0, whole.width, min(whole.height, height)))
        finally:
            driver.quit()


def main() -> None:
    """Both widths side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--section")
    parser.add_argument("--height", type=int, default=HEIGHT, help="pixels of the section, at most")
    arguments = parser.parse_args()
    if arguments.section:
        save(shot(arguments.page, DESKTOP, arguments.height, arguments.section), arguments.picture)
        return
    shots = [shot(arguments.page, width, HEIGHT) for width in (DESKTOP, PHONE)]
    sheet = Image.new("RGB", (DESKTOP + GAP + PHONE, HEIGHT), "#d8dce2")
    sheet.paste(shots[0], (0, 0))
    sheet.paste(shots[1], (DESKTOP + GAP, 0))
    save(sheet, arguments.picture)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a picture, smaller."""
    size = (int(sheet.width * SCALE), int(sheet.height * SCALE))
    sheet.resize(size, Image.Resampling.LANCZOS).save(path, optimize=True)


if __name__ == "__main__":
    main()
