"""Renders SVG drawings to 64 x 64 premultiplied RGBA."""
import io
import re

import numpy as np
import resvg_py
from PIL import Image

SIZE = 64
# Clip art is drawn first with a wide margin at this size to find the box that its ink really fills.
SEARCH_SIZE, MARGIN = 192, 0.25
PIXELS_PER_UNIT = {"px": 1.0, "pt": 1.25, "mm": 3.543307, "cm": 35.43307, "in": 90.0, None: 1.0}


class RenderError(Exception):
    pass


def rasterise(svg):
    """[H, W, 4] premultiplied bytes."""
    data = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    pixels = np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGBA")).astype(np.float32)
    pixels[..., :3] *= pixels[..., 3:] / 255
    return (pixels + 0.5).astype(np.uint8)


def render_icon(icon_set, name):
    pixels = rasterise(icon_set.svg(name, SIZE))
    if pixels.shape != (SIZE, SIZE, 4) or pixels[..., 3].sum(dtype=np.int64) < 255 * 40:
        raise RenderError("empty")
    return pixels


def pixel_length(text):
    match = re.match(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*(px|pt|mm|cm|in)?\s*$", text or "")
    return float(match.group(1)) * PIXELS_PER_UNIT[match.group(2)] if match else None


def page_of(tag):
    """Left, top, width and height of the page that an <svg> tag announces, or a guess."""
    def attribute(name):
        match = re.search(rf"\s{name}\s*=\s*[\"']([^\"']*)[\"']", tag)
        return match.group(1) if match else None

    box = attribute("viewBox")
    if box:
        return [float(value) for value in re.split(r"[\s,]+", box.strip())]
    width, height = pixel_length(attribute("width")), pixel_length(attribute("height"))
    return [0, 0, width, height] if width and height else [-200, -200, 1400, 1400]


def render_clip_art(text):
    """Renders the square around the drawing's own ink, wherever on or off the page it lies."""
    root = re.search(r"<svg\b[^>]*>", text, re.S)
    if not root:
        raise RenderError("no svg element")
    bare = re.sub(r"\s(width|height|viewBox|preserveAspectRatio|x|y)\s*=\s*(\"[^\"]*\"|'[^']*')", "", root.group(0))

    def view(left, top, side, size):
        tag = f'{bare[:4]} width="{size}" height="{size}" viewBox="{left:g} {top:g} {side:g} {side:g}"{bare[4:]}'
        return rasterise(text[:root.start()] + tag + text[root.end():])

    left, top, width, height = page_of(root.group(0))
    longest = max(width, height)
    left, top = left - MARGIN * longest, top - MARGIN * longest
    side = longest * (1 + 2 * MARGIN)
    ink = view(left, top, side, SEARCH_SIZE)[..., 3] > 8
    rows, columns = np.where(ink.any(1))[0], np.where(ink.any(0))[0]
    if len(rows) < 2 or len(columns) < 2:
        raise RenderError("empty")
    step = side / SEARCH_SIZE
    x0, x1 = left + (columns[0] - 1) * step, left + (columns[-1] + 2) * step
    y0, y1 = top + (rows[0] - 1) * step, top + (rows[-1] + 2) * step
    side = max(x1 - x0, y1 - y0) * 1.06
    pixels = view((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side, SIZE)
    if (pixels[..., 3] > 128).mean() < 0.03:
        raise RenderError("thin")
    return pixels
