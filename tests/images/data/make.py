"""Makes the picture files of this folder and what Pillow and torchvision make of them.

  python make.py              files/, decode.txt, resize.txt, views.txt, normalise.txt
  python make.py --real DIR   real.txt, from the image sets in DIR

Needs Pillow 13, numpy, torch and torchvision; not needed to run the tests.
"""
import argparse
import hashlib
import io
import pathlib
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
FILES = HERE / "files"


def noise(width, height, seed):
    """The same bytes as noise() of the tests: the top byte of a linear congruential generator."""
    count = width * height * 3
    out = bytearray(count)
    state = seed
    for i in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = state >> 24
    return Image.frombytes("RGB", (width, height), bytes(out))


def drawing(width, height):
    """Smooth colours with hard edges, so that every path of a codec has work."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 255 * x / max(width - 1, 1)
    green = 127 + 127 * np.sin(y / 3 + x / 5)
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < height**2 / 9, 230, 255 * y / max(height - 1, 1))
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


# PNG of every kind, most of which Pillow does not write.
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def pack_rows(samples, depth):
    height, width, channels = samples.shape
    out = b""
    previous = None
    for number, row in enumerate(samples):
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            bits = ((row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1).reshape(-1).astype(np.uint8)
            data = np.packbits(bits).tobytes()
        raw = np.frombuffer(data, np.uint8)
        step = max(1, depth * channels // 8)
        kind = number % 5 if previous is not None else number % 2
        left = np.concatenate([np.zeros(step, np.uint8), raw])[: len(raw)].astype(int)
        up = np.zeros(len(raw), int) if previous is None else previous.astype(int)
        corner = np.concatenate([np.zeros(step, int), up])[: len(raw)]
        guess = left + up - corner
        near = np.where((abs(guess - left) <= abs(guess - up)) & (abs(guess - left) <= abs(guess - corner)), left,
                        np.where(abs(guess - up) <= abs(guess - corner), up, corner))
        predicted = [0 * left, left, up, (left + up) // 2, near][kind]
        out += bytes([kind]) + ((raw.astype(int) - predicted) & 255).astype(np.uint8).tobytes()
        previous = raw
    return out


def png(samples, depth, colour, interlace=False, palette=None, extra=b"", after=b""):
    height, width, _ = samples.shape
    if interlace:
        data = b""
        for x0, y0, dx, dy in PASSES:
            part = samples[y0::dy, x0::dx]
            if part.size:
                data += pack_rows(part, depth)
    else:
        data = pack_rows(samples, depth)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    if palette is not None:
        out += chunk(b"PLTE", palette)
    return out + extra + chunk(b"IDAT", zlib.compress(data, 9)) + after + chunk(b"IEND", b"")


def write_pngs(rng):
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            samples = rng.integers(0, 1 << depth, (11, 13, CHANNELS[colour]))
            if (colour, depth) == (0, 16):
                samples[::2] >>= 8  # values below 256 too, which are not clipped
            palette = rng.integers(0, 256, (1 << depth) * 3, np.uint8).tobytes() if colour == 3 else None
            for interlace in (False, True):
                name = f"png_c{colour}_d{depth}{'_interlaced' if interlace else ''}.png"
                (FILES / name).write_bytes(png(samples, depth, colour, interlace, palette))
    samples = rng.integers(0, 16, (9, 7, 1))
    palette = rng.integers(0, 256, 30, np.uint8).tobytes()
    transparency = {"one": bytes([255, 255, 0]), "many": bytes(range(0, 100, 10))}
    for name, alpha in transparency.items():
        (FILES / f"png_palette_trns_{name}.png").write_bytes(
            png(samples % 10, 4, 3, palette=palette, extra=chunk(b"tRNS", alpha)))
    (FILES / "png_palette_short.png").write_bytes(png(samples, 4, 3, palette=palette))
    grey = rng.integers(0, 256, (5, 6, 1))
    (FILES / "png_grey_trns.png").write_bytes(png(grey, 8, 0, extra=chunk(b"tRNS", b"\0\7")))
    colour = rng.integers(0, 256, (5, 6, 3))
    (FILES / "png_rgb_trns_gamma.png").write_bytes(
        png(colour, 8, 2, extra=chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tRNS", bytes(6))))
    (FILES / "png_text_after.png").write_bytes(png(colour, 8, 2, after=chunk(b"tEXt", b"Comment\0after the pixels")))
    for width, height in ((1, 1), (1, 9), (9, 1), (2, 3)):
        (FILES / f"png_interlaced_{width}x{height}.png").write_bytes(
            png(rng.integers(0, 256, (height, width, 3)), 8, 2, True))
    frames = [drawing(12, 10), drawing(12, 10).rotate(180)]
    frames[0].save(FILES / "png_animated.png", save_all=True, append_images=frames[1:], duration=50)


def without_marker(data, marker):
    at = data.index(marker)
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def write_jpegs():
    def save(name, image, **options):
        image.save(FILES / f"jpeg_{name}.jpg", "JPEG", **options)

    picture = drawing(45, 35)
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        save(name, picture, quality=90, subsampling=sampling)
        save(f"{name}_progressive", picture, quality=60, subsampling=sampling, progressive=True)
    save("grey", picture.convert("L"), quality=80)
    save("grey_progressive", picture.convert("L"), quality=80, progressive=True)
    save("rgb", picture, quality=80, keep_rgb=True)
    save("restart", picture, quality=80, restart_marker_rows=1)
    save("low_quality", picture, quality=3)
    for width, height in ((1, 1), (2, 1), (1, 3), (8, 8), (16, 17), (17, 16)):
        save(f"{width}x{height}", drawing(width, height), quality=85)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif_rotated", picture, quality=80, exif=exif)
    buffer = io.BytesIO()
    picture.convert("CMYK").save(buffer, "JPEG", quality=90)
    cmyk = buffer.getvalue()
    (FILES / "jpeg_cmyk_adobe.jpg").write_bytes(cmyk)
    adobe = cmyk.index(b"\xff\xee")
    assert cmyk[adobe + 4 : adobe + 9] == b"Adobe"
    (FILES / "jpeg_ycck.jpg").write_bytes(cmyk[: adobe + 15] + b"\2" + cmyk[adobe + 16 :])
    (FILES / "jpeg_cmyk_plain.jpg").write_bytes(without_marker(cmyk, b"\xff\xee"))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=70)
    (FILES / "jpeg_bytes_behind.jpg").write_bytes(buffer.getvalue() + b"something else")


def riff(chunks):
    body = b"WEBP" + b"".join(t + struct.pack("<I", len(d)) + d + b"\0" * (len(d) & 1) for t, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def u24(value):
    return struct.pack("<I", value)[:3]


def write_webps():
    picture = drawing(37, 29)
    alpha = picture.copy()
    alpha.putalpha(drawing(37, 29).convert("L"))
    for name, image in (("rgb", picture), ("alpha", alpha)):
        image.save(FILES / f"webp_lossy_{name}.webp", quality=70)
        image.save(FILES / f"webp_lossless_{name}.webp", lossless=True, exact=True)
    picture.save(FILES / "webp_animated.webp", save_all=True, append_images=[picture.rotate(180)], duration=40)
    buffer = io.BytesIO()
    drawing(14, 12).save(buffer, "WEBP", quality=80)
    inner = buffer.getvalue()[12:]
    frame = u24(2) + u24(3) + u24(13) + u24(11) + u24(40) + b"\0" + inner
    (FILES / "webp_animated_inset.webp").write_bytes(riff([
        (b"VP8X", bytes([0x12, 0, 0, 0]) + u24(29) + u24(24)), (b"ANIM", bytes(6)), (b"ANMF", frame)]))


def write_expected():
    lines = []
    for path in sorted(FILES.iterdir()):
        image = Image.open(path).convert("RGB")
        lines.append(f"{path.name} {image.width} {image.height} {digest(image)}")
    (HERE / "decode.txt").write_text("\n".join(lines) + "\n")


FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def write_resizes():
    sizes = [(1, 1, 5, 7), (1, 9, 4, 3), (9, 1, 3, 4), (2, 2, 2, 2), (2, 3, 7, 5), (5, 5, 3, 3), (10, 10, 10, 3),
             (10, 10, 3, 10), (11, 7, 23, 29), (16, 16, 224, 224), (33, 57, 32, 56), (64, 64, 63, 65),
             (100, 40, 37, 41), (123, 77, 11, 13), (200, 150, 224, 168), (224, 299, 224, 224), (299, 224, 97, 224),
             (256, 256, 64, 64), (300, 200, 1, 1), (301, 211, 2, 190), (320, 240, 298, 224), (400, 3, 7, 9),
             (3, 400, 9, 7), (500, 333, 336, 224), (640, 480, 224, 168), (1000, 20, 8, 64), (20, 1000, 64, 8),
             (100, 100, 80, 60), (100, 100, 80, 59), (100, 120, 130, 119), (700, 900, 560, 620), (700, 900, 561, 620),
             (480, 640, 224, 298), (60, 300, 40, 200)]
    lines = []
    for seed, (width, height, to_width, to_height) in enumerate(sizes, 1):
        image = noise(width, height, seed)
        for name, kind in FILTERS.items():
            lines.append(f"{width} {height} {seed} {to_width} {to_height} {name} "
                         f"{digest(image.resize((to_width, to_height), kind))}")
    (HERE / "resize.txt").write_text("\n".join(lines) + "\n")


def torchvision_transforms():
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision_transforms.keep = library
    from torchvision import transforms

    return transforms


def hugging_face_crop(image, size):
    """transformers' centre crop: the margin is halved downwards, a missing one is split with the larger part first."""
    def begin(length):
        return (length - size) // 2 if length >= size else -((size - length + 1) // 2)

    left, top = begin(image.width), begin(image.height)
    return image.crop((left, top, left + size, top + size))


def write_views():
    transforms = torchvision_transforms()
    modes = transforms.InterpolationMode
    lines = []
    sizes = [(224, 299, 224), (299, 224, 224), (225, 231, 33), (301, 200, 64), (640, 427, 224), (50, 91, 32),
             (91, 50, 32), (30, 40, 64), (64, 64, 64), (7, 300, 16)]
    for seed, (width, height, size) in enumerate(sizes, 100):
        image = noise(width, height, seed)
        for name, kind in FILTERS.items():
            mode = modes.BICUBIC if name == "bicubic" else modes.BILINEAR
            resized = transforms.Resize(size, interpolation=mode)(image)
            views = {"torchvision": transforms.CenterCrop(size)(resized), "huggingface": hugging_face_crop(resized, size)}
            for convention, view in views.items():
                lines.append(f"view {width} {height} {seed} {size} {name} {convention} {digest(view)}")
    for seed, (width, height, size) in enumerate([(10, 10, 7), (11, 8, 8), (9, 10, 4), (5, 9, 8), (9, 4, 7), (3, 2, 6)], 200):
        image = noise(width, height, seed)
        for convention, view in {"torchvision": transforms.CenterCrop(size)(image),
                                 "huggingface": hugging_face_crop(image, size)}.items():
            lines.append(f"crop {width} {height} {seed} {size} - {convention} {digest(view)}")
    (HERE / "views.txt").write_text("\n".join(lines) + "\n")
    chain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))])
    values = chain(noise(23, 17, 5)).numpy()
    (HERE / "normalise.txt").write_text(f"23 17 5 {hashlib.sha256(values.tobytes()).hexdigest()}\n")


def write_real(root):
    lines = []
    for folder, count in (("grocery", 24), ("lithology", 10), ("bccd", 6)):
        paths = sorted(p for p in (root / folder).rglob("*.jpg"))
        for path in paths[:: len(paths) // count][:count]:
            image = Image.open(path).convert("RGB")
            short = min(image.size)
            size = tuple(int(160 * side / short) for side in image.size)
            small = image.resize(size, Image.Resampling.BICUBIC)
            lines.append(f"{path.relative_to(root)} {digest(image)} {digest(small)}")
    (HERE / "real.txt").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=pathlib.Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.real:
        write_real(options.real)
        return
    FILES.mkdir(exist_ok=True)
    write_pngs(np.random.default_rng(7))
    write_jpegs()
    write_webps()
    write_expected()
    write_resizes()
    write_views()


main()
