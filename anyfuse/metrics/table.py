"""METRICS: every metric by name. The plain name of a quantity is the definition that we recommend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import FusionError
from ..plugins import Extended, complain, first_line
from . import (
    edges,
    fidelity,
    fmi,
    gradient,
    halo,
    information,
    mefssim,
    noreference,
    perception,
    phase,
    saliency,
    structure,
    vif,
    weighted,
)

Function = Callable[..., Tensor]  # (fused (B, H, W), sources (B, N, H, W), shared=None) -> (B,)
Better = Literal["higher", "lower", "none"]
INF = float("inf")


@dataclass(frozen=True)
class Metric:
    """One entry of METRICS.

    better: which direction is better; none where zero or neither is. range: smallest and largest possible value for
    any number of sources; a sum over the sources (scd, ssim_sum) is -N..N for N of them, so it has no bound.
    family: information, gradient, edges, structure, perception, fidelity, halo, saliency or no-reference. source: who
    defined it, and whose code this follows. variant_of: the plain name that this is a variant of, None for a plain one.
    """

    name: str
    function: Function
    better: Better
    range: tuple[float, float]
    family: str
    source: str
    variant_of: str | None = None


OWN_METRICS: dict[str, Metric] = {
    # information
    "en": Metric("en", information.en, "higher", (0, 8), "information", "Roberts et al. 2008; VIFB, MEFB, TANG"),
    "ce": Metric("ce", information.ce, "lower", (-INF, INF), "information", "Bulanon et al. 2009; VIFB, MEFB"),
    "mi": Metric("mi", information.mi, "higher", (0, INF), "information", "Qu et al. 2002; bits, sum of sources"),
    "mi_nats": Metric("mi_nats", information.mi_nats, "higher", (0, INF), "information", "CDDFuse", "mi"),
    "mi_tang": Metric("mi_tang", information.mi_tang, "higher", (0, INF), "information", "TANG", "mi"),
    "mi_vifb": Metric("mi_vifb", information.mi_vifb, "higher", (0, INF), "information", "VIFB Mutinf", "mi"),
    "nmi": Metric("nmi", information.nmi, "higher", (0, INF), "information", "Hossny et al. 2008; MEFB, LIU"),
    "te": Metric("te", information.te, "higher", (0, INF), "information", "Cvejic et al. 2006"),
    "te_mefb": Metric("te_mefb", information.te_mefb, "higher", (-INF, INF), "information", "MEFB TE, LIU", "te"),
    "te_nava": Metric("te_nava", information.te_nava, "higher", (-INF, INF), "information", "Nava 2007; LIU", "te"),
    "ncie": Metric("ncie", information.ncie, "higher", (0, 1), "information", "Wang et al. 2005; MEFB, LIU"),
    "fmi_pixel": Metric("fmi_pixel", fmi.fmi_pixel, "higher", (0, INF), "information", "Haghighat 2011, 2014"),
    "fmi_gradient": Metric("fmi_gradient", fmi.fmi_gradient, "higher", (0, INF), "information", "Haghighat 2011, 2014"),
    "fmi_edge": Metric("fmi_edge", fmi.fmi_edge, "higher", (0, INF), "information", "Haghighat 2014; MEFB, TANG"),
    "fmi_dct": Metric("fmi_dct", fmi.fmi_dct, "higher", (0, INF), "information", "Haghighat 2014; TANG"),
    "fmi_wavelet": Metric("fmi_wavelet", fmi.fmi_wavelet, "higher", (0, INF), "information", "Haghighat 2014; TANG"),
    "fmi_pixel_tang": Metric(
        "fmi_pixel_tang", fmi.fmi_pixel_tang, "higher", (0, INF), "information", "TANG feature none", "fmi_pixel"
    ),
    "fmi_gradient_tang": Metric(
        "fmi_gradient_tang", fmi.fmi_gradient_tang, "higher", (0, INF), "information", "TANG", "fmi_gradient"
    ),
    # detail of the fused image
    "ag": Metric("ag", gradient.ag, "higher", (0, INF), "gradient", "Cui et al. 2015; VIFB, MEFB, TANG"),
    "ag_liu": Metric("ag_liu", gradient.ag_liu, "higher", (0, INF), "gradient", "Yu Liu AG.m", "ag"),
    "ei": Metric("ei", gradient.ei, "higher", (0, INF), "gradient", "Rajalingam 2018; VIFB, MEFB"),
    "sd": Metric("sd", gradient.sd, "higher", (0, 127.5), "gradient", "Rao 1997; VIFB, MEFB, TANG"),
    "sd_liu": Metric("sd_liu", gradient.sd_liu, "higher", (0, INF), "gradient", "Yu Liu SD.m", "sd"),
    "sf": Metric("sf", gradient.sf, "higher", (0, INF), "gradient", "Eskicioglu, Fisher 1995; TANG, CDD"),
    "sf_vifb": Metric("sf_vifb", gradient.sf_vifb, "higher", (0, INF), "gradient", "VIFB, MEFB, Yu Liu", "sf"),
    "qsf": Metric("qsf", gradient.qsf, "none", (-1, INF), "gradient", "Zheng et al. 2007; LIU"),
    # edges
    "qabf": Metric("qabf", edges.qabf, "higher", (0, 1), "edges", "Xydeas, Petrovic 2000; VIFB, MEFB, TANG"),
    "qabf_liu": Metric("qabf_liu", edges.qabf_liu, "higher", (0, 1), "edges", "Yu Liu metricXydeas", "qabf"),
    "qg": Metric("qg", edges.qg, "higher", (0, 1), "edges", "Z. Liu et al. 2012; LIU metricXydeas"),
    "nabf": Metric("nabf", edges.nabf, "lower", (0, 1), "edges", "Petrovic, Xydeas 2005; Kumar 2013"),
    "nabf_tang": Metric("nabf_tang", edges.nabf_tang, "lower", (0, 1), "edges", "TANG as called", "nabf"),
    "labf": Metric("labf", edges.labf, "lower", (0, 1), "edges", "Petrovic, Xydeas 2005"),
    "qm": Metric("qm", edges.qm, "higher", (0, 3), "edges", "Wang, Liu 2008; LIU metricPWW"),
    "qp": Metric("qp", phase.qp, "higher", (0, 1), "edges", "Zhao et al. 2007; MEFB, LIU"),
    # structure
    "ssim": Metric("ssim", structure.ssim, "higher", (-1, 1), "structure", "Wang et al. 2004; mean of sources"),
    "ssim_sum": Metric("ssim_sum", structure.ssim_sum, "higher", (-INF, INF), "structure", "VIFB", "ssim"),
    "ssim_tang": Metric("ssim_tang", structure.ssim_tang, "higher", (-1, 1), "structure", "TANG, L = 1", "ssim"),
    "ssim_cdd": Metric("ssim_cdd", structure.ssim_cdd, "higher", (-INF, INF), "structure", "CDDFuse", "ssim"),
    "ms_ssim": Metric("ms_ssim", structure.ms_ssim, "higher", (0, 1), "structure", "Wang et al. 2003"),
    "mef_ssim": Metric("mef_ssim", mefssim.mef_ssim, "higher", (0, 1), "structure", "Ma et al. 2015; MEFB, TANG"),
    "qs": Metric("qs", weighted.qs, "higher", (-1, 1), "structure", "Piella, Heijmans 2003; LIU"),
    "qs_liu": Metric("qs_liu", weighted.qs_liu, "higher", (-1, 1), "structure", "Yu Liu metricPeilla", "qs"),
    "qw": Metric("qw", weighted.qw, "higher", (-1, 1), "structure", "Piella, Heijmans 2003; LIU"),
    "qw_mefb": Metric("qw_mefb", weighted.qw_mefb, "higher", (-1, 1), "structure", "MEFB Qw: edges only", "qw"),
    "qw_liu": Metric("qw_liu", weighted.qw_liu, "higher", (-1, 1), "structure", "Yu Liu metricPeilla", "qw"),
    "qe": Metric("qe", weighted.qe, "higher", (-1, 1), "structure", "Piella, Heijmans 2003"),
    "qe_liu": Metric("qe_liu", weighted.qe_liu, "higher", (-1, 1), "structure", "Yu Liu metricPeilla", "qe"),
    "qc": Metric("qc", weighted.qc, "higher", (-1, 1), "structure", "Cvejic et al. 2005, guarded"),
    "qc_mefb": Metric("qc_mefb", weighted.qc_mefb, "higher", (-INF, INF), "structure", "MEFB Qc", "qc"),
    "qc_zl": Metric("qc_zl", weighted.qc_zl, "higher", (-INF, INF), "structure", "LIU metricCvejic", "qc"),
    "qc_liu": Metric("qc_liu", weighted.qc_liu, "higher", (-INF, INF), "structure", "Yu Liu metricCvejic", "qc"),
    "qy": Metric("qy", weighted.qy, "higher", (-1, 1), "structure", "Yang et al. 2008, guarded"),
    "qy_mefb": Metric("qy_mefb", weighted.qy_mefb, "higher", (-INF, INF), "structure", "MEFB Qy", "qy"),
    "qy_zl": Metric("qy_zl", weighted.qy_zl, "higher", (-INF, INF), "structure", "LIU metricYang", "qy"),
    "qy_liu": Metric("qy_liu", weighted.qy_liu, "higher", (-INF, INF), "structure", "Yu Liu metricYang", "qy"),
    # perception
    "qcb": Metric("qcb", perception.qcb, "higher", (0, 1), "perception", "Chen, Blum 2009; MEFB"),
    "qcb_vifb": Metric("qcb_vifb", perception.qcb_vifb, "higher", (0, 1), "perception", "VIFB, LIU, Yu Liu", "qcb"),
    "qcv": Metric("qcv", perception.qcv, "lower", (0, INF), "perception", "Chen, Varshney 2007; VIFB, MEFB, LIU"),
    "vif": Metric("vif", vif.vif, "higher", (0, INF), "perception", "Sheikh, Bovik 2006; TANG, CDD: sum of sources"),
    "viff": Metric("viff", vif.viff, "higher", (0, INF), "perception", "Han et al. 2013; MEFB VIF"),
    # fidelity
    "psnr": Metric("psnr", fidelity.psnr, "higher", (0, INF), "fidelity", "true decibels of the mean MSE"),
    "psnr_tang": Metric("psnr_tang", fidelity.psnr_tang, "higher", (0, INF), "fidelity", "TANG, IVIF_ZOO", "psnr"),
    "psnr_vifb": Metric("psnr_vifb", fidelity.psnr_vifb, "higher", (0, INF), "fidelity", "VIFB, MEFB", "psnr"),
    "psnr_cdd": Metric("psnr_cdd", fidelity.psnr_cdd, "higher", (-INF, INF), "fidelity", "CDDFuse", "psnr"),
    "mse": Metric("mse", fidelity.mse, "lower", (0, 65025), "fidelity", "mean of sources, 0..255; CDD"),
    "mse_tang": Metric("mse_tang", fidelity.mse_tang, "lower", (0, 1), "fidelity", "TANG", "mse"),
    "rmse": Metric("rmse", fidelity.rmse, "lower", (0, 255), "fidelity", "root of mse"),
    "rmse_vifb": Metric("rmse_vifb", fidelity.rmse_vifb, "lower", (0, 255), "fidelity", "VIFB", "rmse"),
    "cc": Metric("cc", fidelity.cc, "higher", (-1, 1), "fidelity", "Pearson, mean of sources; TANG, CDD"),
    "scd": Metric("scd", fidelity.scd, "higher", (-INF, INF), "fidelity", "Aslantas, Bendes 2015; TANG, CDD"),
    "scd_liu": Metric("scd_liu", fidelity.scd_liu, "higher", (-INF, INF), "fidelity", "Yu Liu", "scd"),
    # halo
    "halo": Metric("halo", halo.halo, "lower", (0, INF), "halo", "anyfuse: mean of the three scales"),
    "halo_4": Metric("halo_4", halo.halo_4, "lower", (0, INF), "halo", "anyfuse", "halo"),
    "halo_8": Metric("halo_8", halo.halo_8, "lower", (0, INF), "halo", "anyfuse", "halo"),
    "halo_16": Metric("halo_16", halo.halo_16, "lower", (0, INF), "halo", "anyfuse", "halo"),
    # what people look at
    "target_contrast": Metric(
        "target_contrast",
        saliency.target_contrast,
        "higher",
        (-INF, INF),
        "saliency",
        "anyfuse: hot pixels over their ring",
    ),
    "target_level": Metric(
        "target_level", saliency.target_level, "higher", (0, INF), "saliency", "anyfuse: hot pixels over infrared"
    ),
    "lit_level": Metric(
        "lit_level", saliency.lit_level, "higher", (0, INF), "saliency", "anyfuse: lit pixels over visible"
    ),
    "blotch": Metric(
        "blotch", saliency.blotch, "lower", (0, 127.5), "saliency", "anyfuse: slow variation of no source"
    ),
    "gradient_kept": Metric(
        "gradient_kept",
        saliency.gradient_kept,
        "higher",
        (0, 1),
        "saliency",
        "anyfuse: of the strongest source gradient",
    ),
    "dark_noise": Metric(
        "dark_noise", saliency.dark_noise, "lower", (-INF, INF), "saliency", "anyfuse: noise of the darkest exposure"
    ),
    # no reference
    "niqe": Metric("niqe", noreference.niqe, "lower", (0, INF), "no-reference", "Mittal et al. 2013; scikit-video"),
    "brisque": Metric("brisque", noreference.brisque, "lower", (-INF, INF), "no-reference", "Mittal et al. 2012"),
}


def as_metric(name: str, part: Any) -> Metric:
    """The entry of a metric that another package adds.

    Args:
        name: of the metric.
        part: a Metric, or a function as in METRICS, whose direction is then 'none'.

    Raises:
        FusionError: it is neither.
    """
    if callable(part) and not isinstance(part, type):
        text = (part.__doc__ or "from another package").strip().splitlines()[0]
        part = Metric(name, part, "none", (-INF, INF), "other", text)
    if not isinstance(part, Metric) or not callable(part.function):
        raise FusionError(f"give a Metric or a function, not {type(part).__name__}")
    if part.better not in ("higher", "lower", "none"):
        raise FusionError(f"better is '{part.better}': give higher, lower or none")
    return replace(part, name=name, function=_guarded(name, part.function))


def _guarded(name: str, function: Function) -> Function:
    """The function of another package: where it fails the value is NaN, and one line says so."""

    @functools.wraps(function)
    def call(fused: Tensor, sources: Tensor, *more: Any, **options: Any) -> Tensor:
        try:
            value = torch.as_tensor(function(fused, sources, *more, **options))
            if value.shape != fused.shape[:1]:
                raise ValueError(f"it gives {tuple(value.shape)} for {len(fused)} images")
        except FusionError:
            raise
        except Exception as error:  # foreign code never stops the other metrics
            text = f"metric '{name}' fails, its values are NaN ({first_line(error)})"
            complain("anyfuse.metrics", name, text)
            value = fused.new_full((len(fused),), float("nan"))
        return value

    return call


METRICS: Extended[Metric] = Extended(OWN_METRICS, "anyfuse.metrics", as_metric)
"""By name: ours, and those that other packages add (plugins.py)."""

PLAIN: tuple[str, ...] = tuple(name for name, metric in OWN_METRICS.items() if metric.variant_of is None)
