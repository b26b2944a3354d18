"""Unicode emoji as concepts, and the icons that draw them in each vendor's set."""
import json
from dataclasses import dataclass, field
from pathlib import Path

from wordnet import words_of

# Vendor sets and their families; two sets of one family are re-colourings of one drawing.
FAMILIES = {
    "noto": "noto", "noto-v1": "noto-v1", "twemoji": "twemoji", "openmoji": "openmoji",
    "fluent-emoji-flat": "fluent", "fluent-emoji-high-contrast": "fluent",
    "emojione": "emojione", "emojione-monotone": "emojione", "fxemoji": "fxemoji",
}
TRAINING_SETS = ["noto", "noto-v1", "twemoji", "emojione", "emojione-monotone", "fxemoji"]
DOMAINS = {
    "noto": ["noto"], "twemoji": ["twemoji"], "emojione": ["emojione", "emojione-monotone"],
    "fluent": ["fluent-emoji-flat", "fluent-emoji-high-contrast"], "openmoji": ["openmoji"],
}


@dataclass
class Concept:
    """An emoji without skin tone. `code` is its code points in hex without FE0F and leading zeros, joined by '-'."""
    code: str
    name: str
    label: str
    tags: list
    group: str
    subgroup: str

    def names(self):
        return sorted({self.name, self.label})


@dataclass
class IconSet:
    """One Iconify collection: bodies, aliases without transformations, and its metadata."""
    prefix: str
    data: dict
    info: dict
    icons: dict = field(default_factory=dict)

    def resolve(self, name, depth=0):
        """The name of the drawing behind `name`, or None where there is none or it is a turned or mirrored copy."""
        if name in self.data["icons"]:
            return name
        alias = self.data.get("aliases", {}).get(name)
        if alias is None or depth > 5 or any(key in alias for key in ("rotate", "hFlip", "vFlip")):
            return None
        return self.resolve(alias["parent"], depth + 1)

    def svg(self, name, size):
        """The drawing as an SVG document of size x size pixels, black where the set says currentColor."""
        icon = self.data["icons"][name]
        box = [icon.get(key, self.data.get(key, default))
               for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
        view = " ".join(f"{value:g}" for value in box)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{size}" '
                f'height="{size}" viewBox="{view}" color="#000">{icon["body"]}</svg>')

    @property
    def monochrome(self):
        return not self.info.get("palette")

    @property
    def licence(self):
        return self.info["license"].get("spdx", "")


def normal_code(text):
    return "-".join(part.lstrip("0") for part in text.upper().split("-") if part != "FE0F")


def slug(name):
    return "-".join(words_of(name.replace("&", "")))


def load_concepts(npm):
    """Every grouped emoji of emojibase under its Unicode name, by code."""
    npm = Path(npm)
    data = json.loads((npm / "emojibase-data/en/data.json").read_text())
    messages = json.loads((npm / "emojibase-data/en/messages.json").read_text())
    unicode_names = json.loads((npm / "unicode-emoji-json/data-by-emoji.json").read_text())
    groups = {group["order"]: group["key"] for group in messages["groups"]}
    subgroups = {group["order"]: group["key"] for group in messages["subgroups"]}
    names = {normal_code("-".join(f"{ord(char):X}" for char in emoji)): entry["name"]
             for emoji, entry in unicode_names.items()}
    concepts = {}
    for entry in data:
        if "group" in entry:
            code = normal_code(entry["hexcode"])
            concepts[code] = Concept(code, names.get(code, entry["label"]).lower(), entry["label"].lower(),
                                     [tag.lower() for tag in entry.get("tags", [])], groups[entry["group"]],
                                     subgroups[entry["subgroup"]])
    return concepts


def load_emoji_set(npm, prefix, concepts):
    """The vendor set with `icons`: code -> drawing, matched by code point first, then by name."""
    folder = Path(npm) / "@iconify-json" / prefix
    data = json.loads((folder / "icons.json").read_text())
    icon_set = IconSet(prefix, data, json.loads((folder / "info.json").read_text()))
    by_slug = {}
    for code, concept in concepts.items():
        for name in (concept.name, concept.label):
            by_slug.setdefault(slug(name), code)
            if len(slug(name)) > 3:
                by_slug.setdefault(slug(name).replace("-", ""), code)
    matched = {}
    chars_file = folder / "chars.json"
    for raw, name in (json.loads(chars_file.read_text()) if chars_file.exists() else {}).items():
        if normal_code(raw) in concepts:
            matched.setdefault(normal_code(raw), name)
    for name in [*data["icons"], *data.get("aliases", {})]:
        code = by_slug.get(name) or (by_slug.get(name.replace("-", "")) if prefix == "fxemoji" else None)
        if code:
            matched.setdefault(code, name)
    for code, name in matched.items():
        drawing = icon_set.resolve(name)
        if drawing is not None and not data["icons"][drawing].get("hidden"):
            icon_set.icons[code] = drawing
    return icon_set
