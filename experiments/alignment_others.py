"""What other libraries make of two images: SIFT with MAGSAC and ECC of OpenCV, mutual information of SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyfuse.align.estimate import Alignment

Method = Callable[[Tensor, Tensor, Tensor | None], Alignment]  # reference, image, where the image is valid


def others() -> dict[str, Method]:
    """The methods of the libraries that are installed."""
    found: dict[str, Method] = {}
    try:
        import cv2
    except ImportError:
        print("OpenCV is not installed")
    else:
        found["SIFT + MAGSAC"] = _answering(_sift, cv2.error)
        found["ECC homography"] = _answering(_ecc, cv2.error)
    try:
        import SimpleITK  # noqa: F401
    except ImportError:
        print("SimpleITK is not installed")
    else:
        found["mutual information"] = _answering(_mutual_information, RuntimeError)
    return found


def _answering(method: Callable[[np.ndarray, np.ndarray], Any], failure: type[Exception]) -> Method:
    """A method of two 8-bit images that gives a 3x3 matrix or None, or fails, as an answer."""

    def answer(a: Tensor, b: Tensor, valid: Tensor | None) -> Alignment:
        images = [(x.clamp(0, 1) * 255).round().byte().numpy() for x in (a, b)]
        try:
            matrix = method(*images)
        except failure:
            matrix = None
        found = torch.eye(3, dtype=torch.float64) if matrix is None else torch.from_numpy(np.array(matrix, np.float64))
        return Alignment(found, "none" if matrix is None else "homography", 0.0, 0.0, 0.0, 0.0, matrix is not None)

    return answer


def _sift(a: np.ndarray, b: np.ndarray) -> Any:
    import cv2

    (points, words), (other_points, other_words) = (cv2.SIFT_create(4000).detectAndCompute(x, None) for x in (a, b))
    if words is None or other_words is None:
        return None
    two = [m for m in cv2.BFMatcher().knnMatch(words, other_words, k=2) if len(m) == 2]
    good = [m for m, n in two if m.distance < 0.8 * n.distance]
    source = np.float32([points[m.queryIdx].pt for m in good])
    target = np.float32([other_points[m.trainIdx].pt for m in good])
    return cv2.findHomography(source, target, cv2.USAC_MAGSAC, 3.0)[0] if len(good) >= 4 else None


def _ecc(a: np.ndarray, b: np.ndarray) -> Any:
    import cv2

    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    return cv2.findTransformECC(a, b, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, None, 5)[1]


def _mutual_information(a: np.ndarray, b: np.ndarray) -> Any:
    """Mattes mutual information, an affine transform, three sizes, gradient descent in regular steps."""
    import SimpleITK as sitk

    fixed, moving = (sitk.GetImageFromArray(x.astype(np.float32)) for x in (a, b))
    search = sitk.ImageRegistrationMethod()
    search.SetNumberOfThreads(1)
    search.SetMetricAsMattesMutualInformation(32)
    search.SetMetricSamplingStrategy(search.RANDOM)
    search.SetMetricSamplingPercentage(0.2, 1)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetShrinkFactorsPerLevel([4, 2, 1])
    search.SetSmoothingSigmasPerLevel([2, 1, 0])
    found = sitk.AffineTransform(2)
    found.SetCenter([(a.shape[1] - 1) / 2, (a.shape[0] - 1) / 2])
    search.SetInitialTransform(found, inPlace=True)
    search.Execute(fixed, moving)
    linear, centre = np.array(found.GetMatrix()).reshape(2, 2), np.array(found.GetCenter())
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.array(found.GetTranslation()) + centre - linear @ centre
    return matrix
