"""Who to cite: the papers behind metrics, methods and data sets, as BibTeX.

Entries have authors, title, place and year, checked against reference lists of published papers and the authors' own
pages ("Petrovic, Xydeas 2005" was found in none). Volumes and pages are left out. The text says where no paper is
known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..metrics import METRICS


@dataclass(frozen=True)
class Paper:
    """A paper. place: journal, conference or 'arXiv:NUMBER'; kind: article, inproceedings or misc; eprint: its number
    in arXiv, or ''."""

    kind: str
    authors: str
    title: str
    place: str
    year: int
    eprint: str = ""


def _journal(authors: str, title: str, place: str, year: int, eprint: str = "") -> Paper:
    return Paper("article", authors, title, place, year, eprint)


def _talk(authors: str, title: str, place: str, year: int, eprint: str = "") -> Paper:
    return Paper("inproceedings", authors, title, place, year, eprint)


PAPERS: dict[str, Paper] = {
    "Roberts et al. 2008": _journal(
        "Roberts, J. W. and van Aardt, J. and Ahmed, F.",
        "Assessment of image fusion procedures using entropy, image quality, and multispectral classification",
        "Journal of Applied Remote Sensing",
        2008,
    ),
    "Bulanon et al. 2009": _journal(
        "Bulanon, D. M. and Burks, T. F. and Alchanatis, V.",
        "Image fusion of visible and thermal images for fruit detection",
        "Biosystems Engineering",
        2009,
    ),
    "Qu et al. 2002": _journal(
        "Qu, G. and Zhang, D. and Yan, P.",
        "Information measure for performance of image fusion",
        "Electronics Letters",
        2002,
    ),
    "Hossny et al. 2008": _journal(
        "Hossny, M. and Nahavandi, S. and Creighton, D.",
        "Comments on `Information measure for performance of image fusion'",
        "Electronics Letters",
        2008,
    ),
    "Cvejic et al. 2006": _journal(
        "Cvejic, N. and Canagarajah, C. N. and Bull, D. R.",
        "Image fusion metric based on mutual information and Tsallis entropy",
        "Electronics Letters",
        2006,
    ),
    "Haghighat 2011": _journal(
        "Haghighat, M. B. A. and Aghagolzadeh, A. and Seyedarabi, H.",
        "A non-reference image fusion metric based on mutual information of image features",
        "Computers and Electrical Engineering",
        2011,
    ),
    "Haghighat 2014": _talk(
        "Haghighat, M. and Razian, M. A.",
        "Fast-FMI: non-reference image fusion metric",
        "IEEE International Conference on Application of Information and Communication Technologies",
        2014,
    ),
    "Cui et al. 2015": _journal(
        "Cui, G. and Feng, H. and Xu, Z. and Li, Q. and Chen, Y.",
        "Detail preserved fusion of visible and infrared images using regional saliency extraction and multi-scale "
        "image decomposition",
        "Optics Communications",
        2015,
    ),
    "Eskicioglu, Fisher 1995": _journal(
        "Eskicioglu, A. M. and Fisher, P. S.",
        "Image quality measures and their performance",
        "IEEE Transactions on Communications",
        1995,
    ),
    "Zheng et al. 2007": _journal(
        "Zheng, Y. and Essock, E. A. and Hansen, B. C. and Haun, A. M.",
        "A new metric based on extended spatial frequency and its application to DWT based fusion algorithms",
        "Information Fusion",
        2007,
    ),
    "Xydeas, Petrovic 2000": _journal(
        "Xydeas, C. S. and Petrovi{\\'c}, V.",
        "Objective image fusion performance measure",
        "Electronics Letters",
        2000,
    ),
    "Z. Liu et al. 2012": _journal(
        "Liu, Z. and Blasch, E. and Xue, Z. and Zhao, J. and Lagani{\\`e}re, R. and Wu, W.",
        "Objective assessment of multiresolution image fusion algorithms for context enhancement in night vision: a "
        "comparative study",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2012,
    ),
    "Petrovic, Xydeas 2005": _journal(
        "Petrovi{\\'c}, V. and Xydeas, C.",
        "Objective evaluation of signal-level image fusion performance",
        "Optical Engineering",
        2005,
    ),
    "Kumar 2013": _journal(
        "Shreyamsha Kumar, B. K.",
        "Multifocus and multispectral image fusion based on pixel significance using discrete cosine harmonic wavelet "
        "transform",
        "Signal, Image and Video Processing",
        2013,
    ),
    "Wang et al. 2004": _journal(
        "Wang, Z. and Bovik, A. C. and Sheikh, H. R. and Simoncelli, E. P.",
        "Image quality assessment: from error visibility to structural similarity",
        "IEEE Transactions on Image Processing",
        2004,
    ),
    "Wang et al. 2003": _talk(
        "Wang, Z. and Simoncelli, E. P. and Bovik, A. C.",
        "Multiscale structural similarity for image quality assessment",
        "Asilomar Conference on Signals, Systems and Computers",
        2003,
    ),
    "Ma et al. 2015": _journal(
        "Ma, K. and Zeng, K. and Wang, Z.",
        "Perceptual quality assessment for multi-exposure image fusion",
        "IEEE Transactions on Image Processing",
        2015,
    ),
    "Piella, Heijmans 2003": _talk(
        "Piella, G. and Heijmans, H.",
        "A new quality metric for image fusion",
        "IEEE International Conference on Image Processing",
        2003,
    ),
    "Yang et al. 2008": _journal(
        "Yang, C. and Zhang, J.-Q. and Wang, X.-R. and Liu, X.",
        "A novel similarity based quality metric for image fusion",
        "Information Fusion",
        2008,
    ),
    "Chen, Blum 2009": _journal(
        "Chen, Y. and Blum, R. S.",
        "A new automated quality assessment algorithm for image fusion",
        "Image and Vision Computing",
        2009,
    ),
    "Chen, Varshney 2007": _journal(
        "Chen, H. and Varshney, P. K.",
        "A human perception inspired quality metric for image fusion based on regional information",
        "Information Fusion",
        2007,
    ),
    "Sheikh, Bovik 2006": _journal(
        "Sheikh, H. R. and Bovik, A. C.",
        "Image information and visual quality",
        "IEEE Transactions on Image Processing",
        2006,
    ),
    "Han et al. 2013": _journal(
        "Han, Y. and Cai, Y. and Cao, Y. and Xu, X.",
        "A new image fusion performance metric based on visual information fidelity",
        "Information Fusion",
        2013,
    ),
    "Aslantas, Bendes 2015": _journal(
        "Aslantas, V. and Bendes, E.",
        "A new image quality metric for image fusion: the sum of the correlations of differences",
        "AEU - International Journal of Electronics and Communications",
        2015,
    ),
    "Mittal et al. 2013": _journal(
        "Mittal, A. and Soundararajan, R. and Bovik, A. C.",
        "Making a `completely blind' image quality analyzer",
        "IEEE Signal Processing Letters",
        2013,
    ),
    "Mittal et al. 2012": _journal(
        "Mittal, A. and Moorthy, A. K. and Bovik, A. C.",
        "No-reference image quality assessment in the spatial domain",
        "IEEE Transactions on Image Processing",
        2012,
    ),
    # methods, by the class of the model
    "TITA": _talk(
        "Hu, Xingyu and Jiang, Junjun and Wang, Chenyang and Jiang, Kui and Liu, Xianming and Ma, Jiayi",
        "Balancing Task-invariant Interaction and Task-specific Adaptation for Unified Image Fusion",
        "IEEE/CVF International Conference on Computer Vision",
        2025,
        "2504.05164",
    ),
    "UniFusion": _talk(
        "Li, Xingyuan and Du, Songcheng and Zou, Yang and Xu, HaoYuan and Jiang, Zhiying and Liu, Jinyuan",
        "UniFusion: A Unified Image Fusion Framework with Robust Representation and Source-Aware Preservation",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        2026,
        "2603.14214",
    ),
    "MMAIF": _talk(
        "Cao, Zihan and Zhong, Yu and Wang, Ziqi and Deng, Liang-Jian",
        "MMAIF: Multi-task and Multi-degradation All-in-One for Image Fusion with Language Guidance",
        "IEEE/CVF International Conference on Computer Vision",
        2025,
        "2503.14944",
    ),
    "DiTFuse": _journal(
        "Li, Jiayang and Jiang, Chengjie and Jiang, Junjun and Liang, Pengwei and Ma, Jiayi and Nie, Liqiang",
        "Towards Unified Semantic and Controllable Image Fusion: A Diffusion Transformer Approach",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2025,
        "2512.07170",
    ),
    "Laplacian": _talk(
        "Burt, P. J. and Kolczynski, R. J.",
        "Enhanced image capture through fusion",
        "International Conference on Computer Vision",
        1993,
    ),
    "Mertens": _talk(
        "Mertens, T. and Kautz, J. and Van Reeth, F.",
        "Exposure fusion",
        "Pacific Conference on Computer Graphics and Applications",
        2007,
    ),
    "Guided": _journal(
        "Li, S. and Kang, X. and Hu, J.",
        "Image fusion with guided filtering",
        "IEEE Transactions on Image Processing",
        2013,
    ),
    "Anyfuse": Paper("misc", "{The anyfuse authors}", "anyfuse: unified image fusion", "software", 2026),
    # data sets, by the name of their folder
    "llvip": _talk(
        "Jia, X. and Zhu, C. and Li, M. and Tang, W. and Zhou, W.",
        "LLVIP: A visible-infrared paired dataset for low-light vision",
        "IEEE/CVF International Conference on Computer Vision Workshops",
        2021,
    ),
    "m3fd": _talk(
        "Liu, J. and Fan, X. and Huang, Z. and Wu, G. and Liu, R. and Zhong, W. and Luo, Z.",
        "Target-aware dual adversarial learning and a multi-scenario multi-modality benchmark to fuse infrared and "
        "visible for object detection",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        2022,
    ),
    "msrs": _journal(
        "Tang, L. and Yuan, J. and Zhang, H. and Jiang, X. and Ma, J.",
        "PIAFusion: A progressive infrared and visible image fusion network based on illumination aware",
        "Information Fusion",
        2022,
    ),
    "tno": _journal("Toet, A.", "The TNO multiband image data collection", "Data in Brief", 2017),
    "roadscene": _journal(
        "Xu, H. and Ma, J. and Jiang, J. and Guo, X. and Ling, H.",
        "U2Fusion: A unified unsupervised image fusion network",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2022,
    ),
    "vifb": _talk(
        "Zhang, X. and Ye, P. and Xiao, G.",
        "VIFB: A visible and infrared image fusion benchmark",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops",
        2020,
    ),
    "mefb": _journal(
        "Zhang, X.", "Benchmarking and comparing multi-exposure image fusion algorithms", "Information Fusion", 2021
    ),
    "sice": _journal(
        "Cai, J. and Gu, S. and Zhang, L.",
        "Learning a deep single image contrast enhancer from multi-exposure images",
        "IEEE Transactions on Image Processing",
        2018,
    ),
    "mfifb": _journal(
        "Zhang, X.",
        "Deep learning-based multi-focus image fusion: A survey and a comparative study",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence",
        2022,
    ),
    "lytro": _journal(
        "Nejati, M. and Samavi, S. and Shirani, S.",
        "Multi-focus image fusion using dictionary-based sparse representation",
        "Information Fusion",
        2015,
    ),
    "mffw": Paper(
        "misc",
        "Xu, S. and Wei, X. and Zhang, C. and Liu, J. and Zhang, J.",
        "MFFW: A new dataset for multi-focus image fusion",
        "arXiv:2002.04780",
        2020,
        "2002.04780",
    ),
}
"""By what the `source` of a metric says, the class of a model, or the folder of a data set."""

OWN = ("Average", "Maximum")
"""Methods that nobody is cited for."""


def key_of(name: str) -> str:
    """The key of a paper in BibTeX: 'Xydeas, Petrovic 2000' -> 'xydeas2000'."""
    paper = PAPERS[name]
    first = paper.authors.split(",")[0].split()[-1].strip("{}\\").lower()
    letters = "".join(c for c in first if c.isalnum()) if not first.startswith("authors") else "anyfuse"
    same = [
        other
        for other, p in PAPERS.items()
        if p.year == paper.year and p.authors.split(",")[0] == paper.authors.split(",")[0]
    ]
    return f"{letters}{paper.year}" + ("" if len(same) == 1 else "abcdefgh"[same.index(name)])


def papers_of_metric(name: str) -> list[str]:
    """Papers that the `source` of a metric names; [] where it names none that is known here."""
    source = METRICS[name].source
    found = [paper for paper in PAPERS if paper in source]
    if "Haghighat 2011, 2014" in source:
        found = ["Haghighat 2011", "Haghighat 2014"]
    return found


def entry(name: str) -> str:
    """A paper as an entry of BibTeX."""
    paper = PAPERS[name]
    fields = {"author": paper.authors, "title": f"{{{paper.title}}}", "year": str(paper.year)}
    fields[{"article": "journal", "inproceedings": "booktitle", "misc": "howpublished"}[paper.kind]] = paper.place
    if paper.eprint:
        fields |= {"eprint": paper.eprint, "archivePrefix": "arXiv"}
    body = ",\n".join(f"  {field} = {{{text}}}" for field, text in fields.items())
    return f"@{paper.kind}{{{key_of(name)},\n{body}\n}}\n"


@dataclass(frozen=True)
class Credit:
    """Something that a table uses. papers: keys of PAPERS; note: what is known where there is none."""

    what: str  # metric, method or data set
    name: str
    papers: tuple[str, ...]
    note: str = ""


def credits_of(metrics: Iterable[str], methods: Mapping[str, str], data: str, terms: str) -> list[Credit]:
    """Who is behind a table.

    Args:
        metrics: names of METRICS.
        methods: name in the table -> class of its model; '': of others, or unknown.
        data: name of the data set's folder.
        terms: where that data set is, and its terms; '' where it is not known.

    Returns:
        One entry for each metric, method and the data set.
    """
    out = []
    for name in metrics:
        out.append(Credit("metric", name, tuple(papers_of_metric(name)), METRICS[name].source))
    for name, system in methods.items():
        papers = (system,) if system in PAPERS else ()
        note = (
            "" if papers else "simple arithmetic" if system in OWN else "its paper is not known here: ask its authors"
        )
        out.append(Credit("method", name, papers, note))
    known = (data.lower(),) if data.lower() in PAPERS else ()
    out.append(Credit("data set", data, known, terms or "not known here: cite where you have it from"))
    return out


def bibtex(given: Iterable[Credit]) -> str:
    """The file of references; a comment names what has no entry."""
    given = list(given)
    names = list(dict.fromkeys(["Anyfuse", *(paper for credit in given for paper in credit.papers)]))
    lacking = [
        f"% {c.what} {c.name}: no entry ({c.note})\n" for c in given if not c.papers and c.note != "simple arithmetic"
    ]
    head = "% Written by anyfuse bench --paper. Volumes and pages are left out: add them from the publisher.\n"
    return head + "".join(lacking) + "\n" + "\n".join(entry(name) for name in names)


def citation_text(given: Iterable[Credit]) -> str:
    """One line for each part of a table: what it is, and who to cite."""
    lines = []
    for credit in given:
        known = "; ".join(_line(PAPERS[paper]) for paper in credit.papers)
        own = credit.note if not known or credit.what == "data set" else ""
        lines.append(f"{credit.what} {credit.name}: {'. '.join(t for t in (known, own) if t)}")
    return "\n".join(lines) + "\n"


def _line(paper: Paper) -> str:
    authors = paper.authors.replace("{\\'c}", "ć").replace("{\\`e}", "è").replace("{", "").replace("}", "")
    return f"{authors.replace(' and ', '; ')}: {paper.title}. {paper.place}, {paper.year}"
