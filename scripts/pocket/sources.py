"""Where the raw material lies, and the concepts and the split made from it."""
import argparse
import json
from pathlib import Path

from emoji import FAMILIES, load_concepts, load_emoji_set
from heldout import HeldOut
from wordnet import WordNet

HERE = Path(__file__).resolve().parent


def add_source_arguments(parser: argparse.ArgumentParser):
    parser.add_argument("--npm", type=Path, required=True, help="node_modules with the packages of package.json")
    parser.add_argument("--wordnet", type=Path, default="/usr/share/wordnet", help="folder of Debian's wordnet-base")
    parser.add_argument("--models", type=Path, default=HERE.parent.parent / "models/pocket",
                        help="folder of the lists that are kept in the repository")


class Sources:
    def __init__(self, npm, wordnet):
        self.npm = Path(npm)
        self.wordnet = WordNet(wordnet)
        self.concepts = load_concepts(npm)
        self.sets = {prefix: load_emoji_set(npm, prefix, self.concepts) for prefix in FAMILIES}
        synonyms = json.loads((HERE / "synonyms.json").read_text())
        self.split = HeldOut(self.wordnet, self.concepts, self.sets, synonyms)
