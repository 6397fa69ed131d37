"""What a run says at its end."""

from __future__ import annotations

from typing import Any


def summary(report: dict[str, Any]) -> str:
    """A few lines: what was written, offset, alignment, and warnings."""
    lines = [
        f"{report['output']}: {report['frames']} frames of {report['width']}x{report['height']}, {report['codec']}, "
        f"{report['frames_a_second']} frames/s"
    ]
    for source, offset in zip(report["inputs"], report["offsets"], strict=False):
        if offset["how"] == "motion":
            lines.append(
                f"{source['name']}: {offset['seconds']:+.3f} s by motion, confidence {offset['confidence']:.2f}"
            )
    for source, step in zip(report["inputs"], report["aligned"]["streams"], strict=False):
        if step.get("trusted") and step.get("kind") not in ("reference", "none", None):
            lines.append(
                f"{source['name']}: {step['kind']}, a corner moves by {step['shift']:.1f} pixels, "
                f"confidence {step.get('confidence') or 0:.2f}"
            )
    if report["stopped"]:
        kept = "add --resume to the same command to go on" if report["resume"] else "what is written plays"
        lines.append(f"interrupted after {report['frames']} frames; {kept}")
    return "\n".join([*lines, *(f"warning: {note}" for note in report["warnings"])])
