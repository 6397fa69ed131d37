"""XMP packets: what of the reference still holds for the result, and the result's own record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
OWN = "urn:anyfuse:xmp:1.0:"
_META = "adobe:ns:meta/"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_BASIC, _NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"
_OF_THE_SOURCE = {
    "http://ns.adobe.com/camera-raw-settings/1.0/": "raw settings",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "gain map",
    "http://ns.google.com/photos/1.0/container/": "embedded pictures",
    "http://ns.google.com/photos/1.0/container/item/": "embedded pictures",
    "http://ns.google.com/photos/1.0/image/": "embedded pictures",
    "http://ns.google.com/photos/1.0/depthmap/": "embedded pictures",
}
"""Namespaces that speak of data in the source file, or of how to show it, and what to call them."""
_LOST = {
    f"{{{_BASIC}}}Thumbnails": "thumbnail",
    f"{{{_NOTE}}}HasExtendedXMP": "extended XMP",
    "{http://ns.adobe.com/xap/1.0/mm/}InstanceID": "",
    "{http://ns.adobe.com/xap/1.0/mm/}DocumentID": "",
    "{http://ns.google.com/photos/1.0/camera/}MotionPhoto": "embedded video",
    "{http://ns.google.com/photos/1.0/camera/}MicroVideo": "embedded video",
    "{http://ns.google.com/photos/1.0/camera/}MicroVideoOffset": "embedded video",
}
_PACKET = (b"<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>\n", b"\n<?xpacket end='w'?>")
_BYTES = 1 << 24  # of a packet that is parsed


@dataclass(frozen=True)
class Record:
    """What the result says of itself."""

    software: str  # name and version
    model: str
    sources: Sequence[str]  # names of the files, without folders
    reference: str


def packet(source: bytes | None, record: Record, width: int, height: int) -> tuple[bytes, list[str]]:
    """The packet of a result of this size, and what of the source's packet was left out."""
    root, dropped = _parsed(source)
    rdf = root.find(f".//{{{RDF}}}RDF")
    assert rdf is not None
    fixed = {
        f"{{{_TIFF}}}Orientation": "1",
        f"{{{_TIFF}}}ImageWidth": str(width),
        f"{{{_TIFF}}}ImageLength": str(height),
    }
    fixed |= {f"{{{_EXIF}}}PixelXDimension": str(width), f"{{{_EXIF}}}PixelYDimension": str(height)}
    fixed |= {f"{{{_BASIC}}}CreatorTool": record.software}
    for description in rdf.findall(f"{{{RDF}}}Description"):
        _correct(description, fixed, dropped)
        if description.tag and not len(description) and not [k for k in description.attrib if k != f"{{{RDF}}}about"]:
            rdf.remove(description)
    rdf.append(_own(record))
    _register(source)
    body = ElementTree.tostring(root, encoding="utf-8")
    return _PACKET[0] + body + _PACKET[1], list(dict.fromkeys(d for d in dropped if d))


def _parsed(source: bytes | None) -> tuple[ElementTree.Element, list[str]]:
    """The tree of the source's packet, or an empty one; and why it is not used."""
    empty = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'
    if source is None:
        return ElementTree.fromstring(empty), []
    body = re.sub(rb"<\?xpacket[^>]*\?>", b"", source).strip(b"\0 \r\n\t\xef\xbb\xbf")
    try:
        if len(body) > _BYTES or b"<!DOCTYPE" in body or b"<!ENTITY" in body:
            raise ElementTree.ParseError("too large, or with a document type")
        root = ElementTree.fromstring(body)
        if root.tag == f"{{{RDF}}}RDF":
            above = ElementTree.Element(f"{{{_META}}}xmpmeta")
            above.append(root)
            root = above
        if root.find(f".//{{{RDF}}}RDF") is None:
            raise ElementTree.ParseError("no RDF")
        return root, []
    except (ElementTree.ParseError, ValueError, LookupError):
        return ElementTree.fromstring(empty), ["all of it, as it is damaged"]


def _namespace(name: str) -> str:
    return name[1:].partition("}")[0] if name.startswith("{") else ""


def _correct(description: ElementTree.Element, fixed: dict[str, str], dropped: list[str]) -> None:
    """Takes out what holds for the source alone, and puts right what can be."""
    for name in list(description.attrib):
        why = _OF_THE_SOURCE.get(_namespace(name), _LOST.get(name))
        if why is not None:
            dropped.append(why)
            del description.attrib[name]
        elif name in fixed:
            description.attrib[name] = fixed[name]
    for child in list(description):
        why = _OF_THE_SOURCE.get(_namespace(child.tag), _LOST.get(child.tag))
        if why is not None:
            dropped.append(why)
            description.remove(child)
        elif child.tag in fixed:
            child.text = fixed[child.tag]


def _own(record: Record) -> ElementTree.Element:
    ElementTree.register_namespace("anyfuse", OWN)
    one = ElementTree.Element(f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    for key, value in (("Software", record.software), ("Model", record.model), ("Reference", record.reference)):
        one.set(f"{{{OWN}}}{key}", _clean(value))
    sources = ElementTree.SubElement(ElementTree.SubElement(one, f"{{{OWN}}}Sources"), f"{{{RDF}}}Seq")
    for name in record.sources:
        ElementTree.SubElement(sources, f"{{{RDF}}}li").text = _clean(name)
    return one


def _clean(text: str) -> str:
    """The text without characters that XML has not."""
    plain = text.encode("utf-8", "replace").decode()
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", plain)


def _register(source: bytes | None) -> None:
    """The prefixes that the source has, so that they stay as people know them."""
    ElementTree.register_namespace("x", _META)
    ElementTree.register_namespace("rdf", RDF)
    for prefix, uri in re.findall(rb"""xmlns:([A-Za-z][\w.-]*)\s*=\s*["']([^"'<>&]+)["']""", source or b""):
        name = prefix.decode("ascii", "ignore")
        if name and not re.fullmatch(r"ns\d+", name) and uri.decode("utf-8", "ignore") not in (OWN, RDF, _META):
            ElementTree.register_namespace(name, uri.decode("utf-8", "ignore"))


def is_own(source: bytes) -> bool:
    """Whether a packet holds nothing but a result's own record."""
    return source.count(b"rdf:Description ") <= 1 and OWN.encode() in source
