"""Where the field's data sets are, how their folders are laid out, and how to find the sources in a folder.

Facts about places and terms are as their authors state them; check them before you use the images.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import FusionError
from ..io.folders import Sets, list_images, pair_folders
from ..io.groups import Pairing, find_sets

ROLE_FOLDERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ivf": (
        ("ir", "infrared", "inf", "thermal", "cropinfrared", "lwir"),
        ("vis", "vi", "visible", "rgb", "crop_lr_visible"),
    ),
    "mef": (
        ("under", "ue", "underexposure", "low", "dark", "a"),
        ("over", "oe", "overexposure", "high", "bright", "b"),
    ),
    "mff": (
        ("a", "near", "source_1", "input_a", "imagea", "1", "sourcea"),
        ("b", "far", "source_2", "input_b", "imageb", "2", "sourceb"),
    ),
    "mif": (("ct", "pet", "spect", "functional"), ("mri", "mr", "anatomical")),
}
"""Task -> names that the folder of each source goes by (any case)."""

INSIDE = ("", "test", "eval", "input", "images")
"""Folders below the data set's where the sources' folders may be."""


@dataclass(frozen=True)
class DataSetInfo:
    """task; where to get it; terms; size and splits."""

    task: str
    where: str
    licence: str
    splits: str


DATASETS: dict[str, DataSetInfo] = {
    "msrs": DataSetInfo(
        "ivf",
        "GitHub: Linfeng-Tang/MSRS",
        "none stated, research use",
        "1083 training and 361 test pairs in train/ and test/",
    ),
    "m3fd": DataSetInfo(
        "ivf", "GitHub: JinyuanLiu-CV/TarDAL", "research use", "4200 detection pairs, 300 fusion pairs in Ir/ and Vis/"
    ),
    "llvip": DataSetInfo(
        "ivf",
        "GitHub: bupt-ai-cz/LLVIP",
        "non-commercial research",
        "12025 training and 3463 test pairs in infrared/ and visible/",
    ),
    "tno": DataSetInfo(
        "ivf",
        "https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029 (Toet)",
        "CC BY-NC-SA 4.0 as on figshare",
        "no split; papers use 20 to 42 pairs",
    ),
    "roadscene": DataSetInfo("ivf", "GitHub: hanna-xu/RoadScene", "none stated, research use", "221 pairs, no split"),
    "vifb": DataSetInfo("ivf", "GitHub: xingchenzhang/VIFB", "research use", "21 pairs, test only"),
    "mefb": DataSetInfo("mef", "GitHub: xingchenzhang/MEFB", "research use", "100 pairs, test only"),
    "sice": DataSetInfo("mef", "GitHub: csjcai/SICE", "research use", "589 sequences, 360 in part 1 and 229 in part 2"),
    "mfifb": DataSetInfo("mff", "GitHub: xingchenzhang/MFIFB", "research use", "105 pairs, test only"),
    "lytro": DataSetInfo(
        "mff",
        "http://mansournejati.ece.iut.ac.ir/content/lytro-multi-focus-dataset (Nejati, Samavi, Shirani 2015)",
        "research use",
        "20 pairs and 4 triples, test only",
    ),
    "mfi-whu": DataSetInfo(
        "mff", "GitHub: HaoZhang1018/MFI-WHU", "none stated, research use", "120 synthetic pairs with truth"
    ),
    "mffw": DataSetInfo(
        "mff",
        "from its authors: https://arxiv.org/abs/2002.04780 (Xu, Wei, Zhang, Liu, Zhang 2020)",
        "research use",
        "13 pairs and 6 longer sets, test only",
    ),
    "real-mff": DataSetInfo("mff", "GitHub: Zancelot/Real-MFF", "research use", "710 pairs with truth; 639 / 71"),
    "harvard-ct": DataSetInfo(
        "mif",
        "https://www.med.harvard.edu/aanlib/ (Whole Brain Atlas, Harvard Medical School)",
        "research and teaching",
        "registered slices 256x256; splits differ between papers",
    ),
    "harvard-pet": DataSetInfo(
        "mif",
        "https://www.med.harvard.edu/aanlib/ (Whole Brain Atlas, Harvard Medical School)",
        "research and teaching",
        "registered slices 256x256; splits differ between papers",
    ),
    "harvard-spect": DataSetInfo(
        "mif",
        "https://www.med.harvard.edu/aanlib/ (Whole Brain Atlas, Harvard Medical School)",
        "research and teaching",
        "registered slices 256x256; splits differ between papers",
    ),
}


def find_groups(folder: str | Path, task: str, pairing: Pairing | None = None) -> Sets:
    """Sources in a data set's folder: {stem: one path per source}, and {stem: folders that lack it}.

    Looks for folders named after the task's roles (in the folder itself, or in test/, eval/, input/, images/ below it),
    then for names that end in A and B or 1 and 2 in one folder (scene-A.png, scene-B.png). Without a task, any known
    one is tried. A FusionError says what was looked for and, for a known data set, where to get it.
    """
    folder = Path(folder)
    known = DATASETS.get(folder.name.lower())
    if not folder.is_dir():
        hint = f"; {folder.name} is at {known.where} ({known.licence}; {known.splits})" if known else ""
        raise FusionError(f"{folder}: no such folder{hint}")
    if pairing is not None and (pairing.group or pairing.table):
        found = find_sets([] if pairing.table else [folder], pairing)
        return found.sets, {}
    tasks = [task] if task else list(ROLE_FOLDERS)
    endings = None if pairing is None else pairing.endings
    for name in tasks:
        if name not in ROLE_FOLDERS:
            raise FusionError(f"--task {name}: give one of {', '.join(ROLE_FOLDERS)}")
        for inside in INSIDE:
            folders = role_folders(folder / inside, ROLE_FOLDERS[name])
            if folders:
                below = [p / "test" for p in folders]  # as LLVIP has it: infrared/test and visible/test
                return pair_folders(below if all(p.is_dir() for p in below) else folders, endings)[0]
    if endings is not None and pairing is not None:
        return find_sets([folder], pairing).sets, {}
    pairs = suffix_pairs(folder)
    if pairs:
        return pairs, {}
    wanted = "; ".join("/".join(role[:3]) for t in tasks for role in ROLE_FOLDERS[t])
    raise FusionError(
        f"{folder}: no sources found; looked for folders named {wanted}, or files scene-A.png and "
        "scene-B.png; see --pairs and --group"
    )


def role_folders(parent: Path, roles: tuple[tuple[str, ...], ...]) -> list[Path]:
    """One existing folder per role, or nothing."""
    if not parent.is_dir():
        return []
    by_name = {p.name.lower(): p for p in sorted(parent.iterdir()) if p.is_dir()}
    folders = [next((by_name[n] for n in names if n in by_name), None) for names in roles]
    return [p for p in folders if p is not None] if all(folders) else []


def suffix_pairs(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Files of one folder whose names end in A, B or 1, 2: {scene: paths}."""
    groups: dict[str, dict[str, Path]] = {}
    try:
        files = list_images(folder)
    except FusionError:
        return {}
    for path in files:
        match = re.fullmatch(r"(.+?)[-_ ]([AaBb12])", path.stem)
        if match:
            groups.setdefault(match[1], {})[match[2].lower()] = path
    return {scene: tuple(own[k] for k in sorted(own)) for scene, own in sorted(groups.items()) if len(own) == 2}
