"""A picture of a report at desktop and phone width, as results/ shows it; needs selenium and Debian's chromium.

python benchmarks/report_picture.py PAGE.html PICTURE.png
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


def shot(page: Path, width: int, height: int) -> Image.Image:
    """The top of a page at a width."""
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get(page.resolve().as_uri())
            return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
        finally:
            driver.quit()


def main() -> None:
    """Both widths side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    shots = [shot(arguments.page, width, HEIGHT) for width in (DESKTOP, PHONE)]
    sheet = Image.new("RGB", (DESKTOP + GAP + PHONE, HEIGHT), "#d8dce2")
    sheet.paste(shots[0], (0, 0))
    sheet.paste(shots[1], (DESKTOP + GAP, 0))
    size = (int(sheet.width * SCALE), int(sheet.height * SCALE))
    sheet.resize(size, Image.Resampling.LANCZOS).save(arguments.picture, optimize=True)


if __name__ == "__main__":
    main()
