"""Compares models of the published sizes, with random weights, with transformers and open_clip.

usage: parity_full.py TEST_CLIP [NAME...]   TEST_CLIP is the built test program; names as in MODELS below
Each model is made in a temporary folder (up to 1 GB), compared by the program, and removed.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "data"))
import make

END = make.ENTRIES - 1
MODELS = {
    "vit_b32_quick": lambda folder: make.hugging_face(folder, "quick_gelu", 2, (512, 2048, 12, 8),
                                                      (768, 3072, 12, 12, 224, 32), 512),
    "vit_b16_gelu": lambda folder: make.hugging_face(folder, "gelu", END, (512, 2048, 12, 8),
                                                     (768, 3072, 12, 12, 224, 16), 512),
    "vit_l14_quick": lambda folder: make.hugging_face(folder, "quick_gelu", END, (768, 3072, 12, 12),
                                                      (1024, 4096, 24, 16, 224, 14), 768),
    "open_clip_b32": lambda folder: make.open_clip_folder(
        folder, False, (512, 8, 12), {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}, 512),
    "rn50": lambda folder: make.open_clip_folder(
        folder, True, (512, 8, 12), {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}, 1024),
}

failed = 0
for name in sys.argv[2:] or MODELS:
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / name
        MODELS[name](folder)
        run = subprocess.run([sys.argv[1], "--gtest_filter=FullSizeSlow.*"], capture_output=True, text=True,
                             env=os.environ | {"ATTUNE_PARITY_FOLDER": str(folder)})
    failed |= run.returncode
    print(name, *[line for line in run.stdout.splitlines() if "relative error" in line], flush=True)
    if run.returncode:
        print(run.stdout, run.stderr)
sys.exit(failed)
