"""Reading the list of drawings, and pack.json: what is in a pack and the SHA-256 of its files."""
import gzip
import hashlib
import json

FILES = ["drawings.safetensors", "evaluation.safetensors", "texts.txt", "contents.txt", "teacher.safetensors"]


def write_manifest(folder, **entries):
    """Adds `entries` to pack.json and brings the checksums of the files that exist up to date."""
    path = folder / "pack.json"
    manifest = json.loads(path.read_text()) if path.exists() else {"version": 1}
    manifest.update(entries)
    manifest["sha256"] = {}
    for name in FILES:
        if (folder / name).exists():
            with open(folder / name, "rb") as file:
                manifest["sha256"][name] = hashlib.file_digest(file, "sha256").hexdigest()
    path.write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")


def read_drawings(models):
    with gzip.open(models / "drawings.jsonl.gz", "rt", encoding="utf8") as file:
        return [json.loads(line) for line in file]
