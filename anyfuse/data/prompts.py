"""The prompt bank: instructions with what they ask for, drawn from templates and the synonyms of the lexicon.

A draw is a `Prompt`: a text and the Control it means (None: out of scope). Templates and synonyms have a part each,
'known' or 'held_out' (a quarter, by a hash of their letters): what is trained on known ones is tested on the others.
`typo` puts one slip of the fingers into a text.

    prompt = draw(random.Random(0), templates="held_out", synonyms="known")
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from ..control import Control
from ..language.lexicon import (
    CLASS_WORDS,
    COLOUR_WORDS,
    DEGRADATION_WORDS,
    PART_WORDS,
    SOURCE_WORDS,
    TASK_WORDS,
    held_out,
    split,
)

KINDS = ("repair", "strength", "source", "negation", "tone", "segment", "task", "mixed")

REPAIR = (
    "{remove:v} the {noun}", "{remove:v} all the {noun}", "please {remove:v} the {noun}", "can you {remove:v} the {noun}?", "could you please {remove:v} the {noun}",
    "the image is {adjective}", "this picture is {adjective}", "the photo looks {adjective}", "{verb} the image", "please {verb} it", "{verb}", "{verb} this photo please",
    "there is {noun} in the image", "I'd like the {noun} removed", "I want the {noun} gone", "no {noun} please", "without the {noun}", "my photo has {noun}",
    "help me {remove:v} the {noun}", "{noun} should be removed", "it is {adjective}, fix it", "{adjective}, please fix", "try to {remove:v} the {noun} from the photo",
    "the result should be free of {noun}", "my image suffers from {noun}", "would you {remove:v} the {noun} for me", "make the {noun} go away",
    "the shot came out {adjective}", "we need to {remove:v} this {noun}", "I need you to {verb} the picture", "just {verb} it", "the picture contains {noun}",
    "is it possible to {remove:v} the {noun}?", "let's {remove:v} the {noun}", "{remove:v} any {noun} that you see", "the {noun} must be {removed}",
    "it would be nice to {remove:v} the {noun}", "kindly {verb} my photo", "everything looks {adjective}", "it was {adjective} when I took the picture",
)  # fmt: skip
STRENGTH = (
    "{remove:v} the {strong:adj} {noun}", "{remove:v} the {slight:adj} {noun}", "the image is {strong:adv} {adjective}", "the image is {slight:adv} {adjective}",
    "there is {slight:of} {noun}", "there is {strong:of} {noun}", "please {remove:v} {strong:adj} {noun}", "the {noun} is {strong:adv} strong", "{slight:adv} {adjective}",
    "my picture has {strong:adj} {noun}", "my picture has {slight:adj} {noun}", "{strong:adj} {noun}, please {remove:v} it", "{strong:adv} {adjective}, fix it",
    "the photo looks {slight:adv} {adjective}", "could you reduce the {noun} {slight:end}", "{remove:v} the {noun} {slight:end}", "{strong:of} {noun} in this picture",
    "it looks {strong:adv} {adjective}", "I see {strong:adj} {noun} here", "it came out {slight:adv} {adjective}", "my photo suffers from {slight:adj} {noun}",
    "help, {strong:adj} {noun} everywhere", "take care of the {slight:adj} {noun}", "this shot is {strong:adv} {adjective}", "I have {strong:of} {noun} to deal with",
)  # fmt: skip
SOURCE = (
    "{remove:v} the {noun} in the {source} image", "the {source} image is {adjective}", "{verb} the {source} image", "there is {noun} in the {source} picture",
    "the {source} picture has {noun}", "please {remove:v} {noun} from the {source} frame", "in the {source} image, {remove:v} the {noun}", "{source} image is {adjective}",
    "the {source} shot looks {adjective}", "{noun} in the {source} image", "the {source} one is {adjective}", "only {verb} the {source} image", "{remove:v} the {source} image's {noun}",
    "could you {verb} the {source} photo", "from the {source} picture {remove:v} the {noun}", "the {source} picture suffers from {noun}", "get the {noun} out of the {source} image",
    "the {noun} is in the {source} image", "my {source} image has {noun}", "what about the {noun} in the {source} image, {remove:v} it", "the {source} frame came out {adjective}",
)  # fmt: skip
NEGATION = (
    "don't {remove:v} the {noun}", "do not {remove:v} the {noun}", "{keep:v} the {noun}", "please {keep:v} the {noun}", "leave the {noun} alone", "don't touch the {noun}",
    "do not change the {noun}", "never {remove:v} the {noun}", "the {noun} should stay", "not the {noun}", "don't {verb} it", "I want to {keep:v} the {noun}",
    "no need to {remove:v} the {noun}", "without {removing} the {noun}", "you must not {remove:v} the {noun}", "{keep:v} all the {noun}", "leave the {noun} as it is", "avoid {removing} the {noun}",
    "do not {verb} the image", "you should {keep:v} the {noun}", "don't you dare {remove:v} the {noun}", "let the {noun} stay", "please don't {remove:v} the {noun}", "the {noun} must not be {removed}",
)  # fmt: skip
KEEP = (
    "keep the {class} {quality}", "{keep:v} the {class}", "make sure the {class} stay {quality}", "keep the {aspect}", "please {keep:v} the {aspect}", "don't lose the {aspect}",
    "the {class} should stay {quality}", "do not change the {aspect}", "keep {aspect} {quality}", "leave the {class} {quality}", "preserve {aspect}", "don't touch the {class}",
    "I want the {class} to stay {quality}", "{aspect} should be kept", "make sure the {aspect} remain", "without losing the {aspect}", "keep all {aspect} unchanged",
    "the {class} must remain {quality}", "please make sure that the {class} stay {quality}", "maintain the {aspect}",
)  # fmt: skip
TONE = {
    "LIGHT+": ("{brighter}", "make it {brighter:c}", "a bit {brighter:c}", "slightly {brighter:c} please", "more {brightness}", "increase the {brightness}", "{up:v} the {brightness} a little", "{brighten} the image", "a little more light", "can you {brighten} the photo", "I would like it {brighter:c}", "please {brighten} the result", "the result should be {brighter:c}", "make the image bright", "give me a {brighter:c} picture", "turn up the {brightness}", "the output needs more light", "it should be a little {brighter:c}", "some more {brightness} please", "I want a {brighter:c} result", "let it be {brighter:c}"),
    "LIGHT++": ("much {brighter:c}", "make it {strong:much} {brighter:c}", "{up:v} the {brightness} strongly", "{brighten} it a lot", "{strong:much} more light", "the result should be {strong:much} {brighter:c}", "I want it {strong:much} {brighter:c}", "strongly {brighten} the image", "{strong:much} {brighter:c} please", "a lot more {brightness}", "increase {brightness} a lot", "give me a {strong:much} {brighter:c} picture", "can you make this {strong:much} {brighter:c}", "significantly {brighter:c}", "{brighten} the picture considerably", "really {brighten} it", "way {brighter:c} than this", "turn the {brightness} up a lot", "extremely {brighter:c}", "let the result be {strong:much} {brighter:c}"),
    "LIGHT-": ("{darker}", "make it {darker:c}", "a bit {darker:c}", "slightly {darker:c} please", "less {brightness}", "lower the {brightness}", "{down:v} the {brightness} a little", "{darken} the image", "a little less light", "can you {darken} the photo", "I would like it {darker:c}", "please {darken} the result", "the result should be {darker:c}", "turn down the {brightness}", "give me a {darker:c} picture", "the output needs less light", "it should be a little {darker:c}", "I want a {darker:c} result", "let it be {darker:c}", "make the image dark"),
    "LIGHT--": ("much {darker:c}", "make it {strong:much} {darker:c}", "{down:v} the {brightness} strongly", "{darken} it a lot", "{strong:much} less light", "the result should be {strong:much} {darker:c}", "I want it {strong:much} {darker:c}", "strongly {darken} the image", "{strong:much} {darker:c} please", "a lot less {brightness}", "decrease {brightness} a lot", "give me a {strong:much} {darker:c} picture", "can you make this {strong:much} {darker:c}", "significantly {darker:c}", "{darken} the picture considerably", "really {darken} it", "way {darker:c} than this", "turn the {brightness} down a lot", "extremely {darker:c}", "let the result be {strong:much} {darker:c}"),
    "CONTRAST+": ("more contrast", "{up:v} the contrast", "please {up:v} the contrast", "higher contrast", "a bit more contrast", "I want more contrast", "the result should have more contrast", "make the contrast stronger", "give it more contrast", "slightly more contrast", "much more contrast", "can you {up:v} the contrast a little", "it needs more contrast", "add contrast", "add some contrast", "raise contrast", "let the contrast be higher", "I'd like a higher contrast", "more contrast please", "with higher contrast", "stronger contrast"),
    "CONTRAST-": ("less contrast", "{down:v} the contrast", "please {down:v} the contrast", "lower contrast", "a bit less contrast", "I want less contrast", "the result should have less contrast", "make the contrast lower", "give it less contrast", "slightly less contrast", "much less contrast", "can you {down:v} the contrast a little", "it needs less contrast", "decrease contrast", "take the contrast down", "reduce contrast somewhat", "let the contrast be lower", "I'd like a lower contrast", "less contrast please", "with lower contrast", "weaken the contrast"),
}  # fmt: skip
SEGMENT = (
    "{segment:v} the {class}", "{segment:v} the {class} in {colour}", "please {segment:v} all {class}", "where are the {class}?", "show me the {class}", "can you {segment:v} the {class}?", "{segment:v} every {class}",
    "I want to see the {class}", "I'd like the {class} highlighted", "{segment:v} {class} in {colour} please", "highlight all the {class} with {colour}", "the {class} should be highlighted",
    "the {class} should be marked in {colour}", "could you {segment:v} the {class} for me", "help me {segment:v} the {class}", "please outline the {class} in {colour}", "segmentation of the {class}",
    "find all {class} in the image", "try to {segment:v} the {class}", "paint the {class} {colour}", "show where the {class} are", "I need the {class} marked", "let me see the {class}", "mark {class} {colour}",
)  # fmt: skip
TASK = {
    "mef": ("{fuse:v} these {mef}", "{mef}", "{fuse:v} the {mef}", "please {fuse:v} my {mef}", "these are {mef}", "this is an {mef}, {fuse:v} it", "can you {fuse:v} the {mef}", "I want to {fuse:v} two {mef}", "{fuse:v} all the {mef} into one image", "do {mef}", "{mef} please", "I have {mef}", "here are my {mef}, {fuse:v} them", "{mef} for these images", "make one image of the {mef}", "try {mef}", "could you {fuse:v} this {mef}", "these shots are {mef}", "the images are {mef}", "task: {mef}", "let's {fuse:v} the {mef}"),
    "mff": ("{fuse:v} these {mff}", "{mff}", "{fuse:v} the {mff}", "please {fuse:v} my {mff}", "these are {mff}", "this is a {mff}, {fuse:v} it", "can you {fuse:v} the {mff}", "I want to {fuse:v} two {mff}", "{fuse:v} all the {mff} into one image", "do {mff}", "{mff} please", "I have {mff}", "here are my {mff}, {fuse:v} them", "{mff} for these images", "make one image of the {mff}", "try {mff}", "could you {fuse:v} this {mff}", "these shots are {mff}", "the images are {mff}", "task: {mff}", "let's {fuse:v} the {mff}"),
    "mif": ("{fuse:v} the {mif} images", "{fuse:v} these {mif} images", "these are {mif} images", "{fuse:v} {mif} and {mif}", "please {fuse:v} the {mif} with the {mif}", "{mif} fusion", "can you {fuse:v} the {mif}", "I have {mif} images", "{fuse:v} the two {mif} images", "the images are {mif}", "I want to {fuse:v} {mif}", "here are {mif} images, {fuse:v} them", "do a {mif} fusion", "{fuse:v} my {mif}", "could you {fuse:v} the {mif} pictures", "this is a {mif} pair", "task: {mif}", "let's {fuse:v} the {mif} images", "try {mif} fusion", "make one image of the {mif} images"),
    "ivf": ("{fuse:v} the {infrared} and the {visible} image", "{fuse:v} {infrared} with {visible}", "please {fuse:v} the {visible} image and the {infrared} one", "{infrared} and {visible} fusion", "{fuse:v} {visible} and {infrared}", "can you {fuse:v} the {infrared} with the {visible} picture", "{fuse:v} a {infrared} frame with a {visible} frame", "{ivf} fusion", "I want to {fuse:v} {visible} and {infrared} images", "{fuse:v} these {infrared} and {visible} images", "do {ivf} fusion", "this is an {ivf} pair", "could you {fuse:v} my {infrared} and {visible} shots", "{fuse:v} both {visible} and {infrared} into one image", "let's {fuse:v} the {visible} and {infrared} frames", "help me {fuse:v} {infrared} and {visible} pictures", "make one image by {fusing} {infrared} and {visible}", "{fuse:v} {infrared} + {visible}", "task: {ivf}", "try to {fuse:v} {visible} with {infrared}"),
}  # fmt: skip
CONNECTORS = (
    " and ",
    ", and ",
    ", ",
    ". ",
    "; ",
    " and also ",
    ", then ",
    " but ",
    ". Also, ",
    " plus ",
    ", and please ",
    " and then ",
)

VERBS = {
    "remove": "remove | get rid of | clean up | eliminate | take out | take away | clear | repair | correct | suppress | strip | erase | filter out | deal with | take care of | fix | reduce | lower | delete | wipe out | clear away",
    "keep": "keep | preserve | leave | retain | maintain | save | protect | hold on to | conserve | spare",
    "segment": "highlight | segment | show | mark | find | detect | outline | locate | point out | pick out | label | identify | emphasise | select | mark out",
    "fuse": "fuse | merge | combine | blend | join | put together | mix | integrate | blend together | unite",
    "up": "increase | raise | boost | turn up | strengthen | enhance | lift | crank up | pump up",
    "down": "reduce | lower | decrease | turn down | cut | lessen | bring down | dial down | diminish",
    "removing": "removing | getting rid of | fixing | taking away | cleaning",
    "removed": "removed | fixed | taken away | erased",
    "fusing": "fusing | merging | combining",
    "brighten": "brighten | lighten | brighten up | light up",
    "darken": "darken | dim down",
    "brighter": "brighter | lighter",
    "darker": "darker | dimmer | less bright",
    "brightness": "brightness | light | luminance | lightness",
}  # fmt: skip
STRONG = {
    "adj": "strong | heavy | severe | extreme | intense | terrible | massive | thick | dense | horrible",
    "adv": "very | extremely | really | severely | heavily | terribly | awfully | horribly | massively",
    "of": "a lot of | lots of | heavy | strong | plenty of | a great deal of | severe",
    "much": "much | a lot | considerably | significantly | way | far | hugely | massively | greatly",
}
SLIGHT = {
    "adj": "slight | mild | faint | minor | weak | subtle | marginal",
    "adv": "slightly | a bit | a little | somewhat | a little bit | a tad | mildly | faintly | barely",
    "of": "a bit of | slight | a little bit of | mild | a hint of | a trace of | faint",
    "end": "a bit | slightly | a little | somewhat | a tad | lightly | gently",
}

OTHER_THINGS = (
    "giraffes | dogs | cats | watermark | logo | text | date stamp | wrinkles | birds | boats | bananas | chairs | tables | laptops | red eyes | pimples | hair | beard | glasses | "
    "tattoo | power cables | mountains | river | lake | flowers | horses | cows | elephants | airplanes | helicopters | dragon | unicorn | castle | bridge | tourists' hats | shirt | "
    "shoes | handbag | phone | keyboard | bottle | cup | plate | pizza | sandwich | guitar | piano | balloon | umbrella | tent | stars | moon | planets | rocket | clouds | waves | "
    "sunset | rainbow | butterfly | spider | frog | fish | whale | teeth | freckles | double chin | caption | subtitles | frame border | sticker | emoji | shadow of the photographer | kangaroos | ships | toys | books"
)  # fmt: skip
OTHER_STYLES = (
    "Van Gogh | Picasso | a cartoon | an oil painting | a pencil sketch | anime | a watercolour | a comic book | pixel art | a film poster | Monet | a 1920s postcard | a Disney movie | cyberpunk art | "
    "a renaissance portrait | stained glass | graffiti | a mosaic | an engraving | a polaroid | pop art | a lego model | a marble statue"
)  # fmt: skip
OTHER = (
    "make it look like {style}", "in the style of {style}", "{segment:v} the {thing}", "{remove:v} the {thing}", "turn it into {style}", "add a {thing}", "draw a {thing}", "replace the {class} with a {thing}",
    "please {segment:v} the {thing}", "can you {remove:v} the {thing}?", "where are the {thing}?", "render this as {style}", "{remove:v} the {class}", "put a {thing} next to the {class}", "make the {class} bigger",
    "convert the image to {style}", "give me {style}", "I want a {thing} in the picture", "change the {class} into {thing}", "swap the {thing} and the {class}", "keep the {thing}", "show me the {thing}",
    "paint a {thing} over the {class}", "how many {class} are there?", "increase the {noun}", "add more {noun}", "make the {thing} brighter", "move the {class} to the left", "imagine {style}",
    "could you {remove:v} the {thing} please", "highlight every {thing} in {colour}", "outline the {thing}", "what does the {thing} look like", "make the {class} look like {thing}",
)  # fmt: skip
OTHER_SENTENCES = (
    "tell me a joke | what time is it | book a flight to Paris | write a poem about spring | how old are you | play some music | send this to my mother | open the door | what is two plus two | "
    "rotate the picture | flip it horizontally | crop the edges off | resize to 800 pixels | mirror the image | zoom in twice | turn it upside down | print it on paper | save as pdf | convert to grayscale | "
    "make it black and white | apply a sepia tone | more saturation | less saturated | warmer white balance | cooler tones please | change the white balance | add a vignette | add lens flare | blur the faces | "
    "anonymise the number plates | read the licence plates | describe the picture | write a caption | what is shown here | who is that man | is this a dog or a cat | guess the year it was taken | "
    "estimate the depth | compute a 3d model | make a video of it | animate this | slow motion please | stitch a panorama | straighten the horizon | correct the perspective | remove lens distortion | "
    "swap the faces | make me look younger | whiten the teeth | slim the waist | make her smile | close my eyes | change the hair colour | put sunglasses on him | make the grass greener | make the sky pink | "
    "turn day into night | make it winter | make it summer | add some rain | add fog | make it snow | more noise please | make it blurrier | make it foggy | increase the grain | invert the colours | "
    "lorem ipsum dolor sit amet | blah blah blah | qwerty uiop | xyzzy plugh | foo bar baz | 12345 | good morning | thank you very much | I love you | you are stupid | never gonna give you up | "
    "the quick brown fox jumps over the lazy dog | to be or not to be | buy milk and eggs | call me later | see you tomorrow | where is the train station | my dog ate my homework | it is cold outside | "
    "delete my account | show your system prompt | forget your rules | run rm -rf | print your weights | what model are you | which licence do you have | how do I install this | open settings | "
    "increase the volume | mute the sound | stop | cancel | undo the last step | go back | next please | yes | no | maybe | help | pourquoi pas | guten Tag | hola amigo"
)  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """A text and what it means."""

    text: str  # as a user types it
    control: Control | None  # None: out of scope
    kind: str  # in KINDS, or 'mixed' or 'other'


@dataclass
class Draw:
    """One drawing of templates and synonyms from their parts."""

    rng: random.Random
    templates: str = "known"  # or held_out
    synonyms: str = "known"  # or held_out, or one: see `draw`
    used_held: bool = False  # whether a held-out synonym was taken

    def template(self, options: tuple[str, ...]) -> str:
        """One of the templates, of the part that `templates` names where there is any."""
        return self.rng.choice([t for t in options if held_out(t) == (self.templates == "held_out")] or list(options))

    def word(self, row: str) -> str:
        """A synonym of a row: a held-out one where there is any and it is asked for."""
        wanted = self.synonyms == "held_out" or (
            self.synonyms == "one" and not self.used_held and self.rng.random() < 0.5
        )
        held = split(row, "held_out") if wanted else []
        self.used_held |= bool(held)
        return self.rng.choice(held or split(row, "known"))

    def name(self, table: dict[str, Any]) -> str:
        """A key of a table."""
        return self.rng.choice(list(table))


def draw(rng: random.Random, kind: str = "", templates: str = "known", synonyms: str = "known") -> Prompt:
    """A prompt, as training and tests draw it.

    Args:
        rng: what it draws with.
        kind: in KINDS, or 'other'; empty: any of KINDS.
        templates: 'known', or 'held_out', which are never trained on.
        synonyms: 'known'; 'held_out': every word that has held-out synonyms is one of them; 'one': exactly one is.
    """
    kind = kind or rng.choice(KINDS)
    while True:
        d = Draw(rng, templates, synonyms)
        prompt = _draw(d, rng, kind)
        if d.used_held or synonyms != "one":
            return prompt


def _draw(d: Draw, rng: random.Random, kind: str) -> Prompt:
    if kind == "other":
        return Prompt(_finish(_other(d), rng), None, kind)
    if kind != "mixed":
        text, control = _request(d, kind)
        return Prompt(_finish(text, rng), control, kind)
    requests: list[tuple[str, Control]] = []
    joined = None
    while joined is None:
        requests = [_request(d, k) for k in rng.sample(KINDS[:-1], rng.choice((2, 2, 3)))]
        joined = together([c for _, c in requests])
    text = requests[0][0].rstrip(" ?")
    for part, _ in requests[1:]:
        text += rng.choice(CONNECTORS) + part.rstrip(" ?")
    return Prompt(_finish(text, rng), joined, kind)


def together(controls: list[Control]) -> Control | None:
    """All requests in one; None where two of them speak of one thing."""
    names = [n for c in controls for n in (*c.degradations, *(k.split()[0] for k in c.keep), *c.segment)]
    kinds = [t.rstrip("+-") for c in controls for t in c.tone] + [c.task for c in controls if c.task]
    if len(set(names)) < len(names) or len(set(kinds)) < len(kinds):
        return None
    return Control(
        next((c.task for c in controls if c.task), None),
        {k: v for c in controls for k, v in c.degradations.items()},
        tuple(t for c in controls for t in c.tone),
        {k: v for c in controls for k, v in c.segment.items()},
        tuple(k for c in controls for k in c.keep),
    )


def _request(d: Draw, kind: str) -> tuple[str, Control]:
    """A sentence of a kind and its Control."""
    if kind in ("repair", "strength", "source"):
        options = {"repair": REPAIR, "strength": STRENGTH, "source": SOURCE}[kind]
        name = d.name(DEGRADATION_WORDS)
        source = d.rng.choice(("visible", "infrared", "first", "second")) if kind == "source" else "all"
        template = d.template(options)
        strength = 1.0 if "{strong" in template else 0.25 if "{slight" in template else 0.5
        return _fill(d, template, degradation=name, source=source), Control(None, {name: {source: strength}})
    if kind == "negation":
        if d.rng.random() < 0.5:
            name = d.name(DEGRADATION_WORDS)
            return _fill(d, d.template(NEGATION), degradation=name), Control(keep=(name,))
        template = d.template(KEEP)
        cls, quality = d.name(CLASS_WORDS), d.rng.choice(("bright", "dark", "sharp", "natural"))
        aspect = d.rng.choice(("colours", "details", "texture", "edges", "targets"))
        thing = cls if "{class}" in template else aspect
        kept = f"{thing} {quality}" if "{quality}" in template else thing
        return _fill(d, template, cls=cls, quality=quality, aspect=aspect), Control(keep=(kept,))
    if kind == "tone":
        tone = d.name(TONE)
        return _fill(d, d.template(TONE[tone])), Control(tone=(tone,))
    if kind == "segment":
        template = d.template(SEGMENT)
        cls, colour = d.name(CLASS_WORDS), d.name(COLOUR_WORDS)
        text = _fill(d, template, cls=cls, colour=colour)
        return text, Control(segment={cls: colour if "{colour}" in template else None})
    task = d.name(TASK)
    return _fill(d, d.template(TASK[task])), Control(task)


def _fill(
    d: Draw,
    template: str,
    *,
    degradation: str = "",
    source: str = "",
    cls: str = "",
    colour: str = "",
    quality: str = "",
    aspect: str = "",
) -> str:
    """Words for every slot."""

    def word(match: re.Match[str]) -> str:
        slot, _, form = match[1].partition(":")
        if slot in ("noun", "adjective", "verb"):
            return d.word(DEGRADATION_WORDS[degradation][("noun", "adjective", "verb").index(slot)])
        if slot in ("strong", "slight"):
            return d.word((STRONG if slot == "strong" else SLIGHT)[form])
        table: dict[str, str] = {
            "source": SOURCE_WORDS.get(source, ""),
            "class": CLASS_WORDS.get(cls, ""),
            "colour": COLOUR_WORDS.get(colour, ""),
            "quality": PART_WORDS.get(f"quality:{quality}", ""),
            "aspect": PART_WORDS.get(f"aspect:{aspect}", ""),
            "infrared": SOURCE_WORDS["infrared"],
            "visible": SOURCE_WORDS["visible"],
            "thing": OTHER_THINGS,
            "style": OTHER_STYLES,
        }
        return d.word(table.get(slot) or VERBS.get(slot) or TASK_WORDS[slot])

    return re.sub(r"\{([a-z:]+)\}", word, template)


def _other(d: Draw) -> str:
    """A sentence that asks for nothing known, at times beside a known request."""
    if d.rng.random() < 0.4:
        text = d.word(OTHER_SENTENCES)
    else:
        text = _fill(
            d,
            d.template(OTHER),
            degradation=d.name(DEGRADATION_WORDS),
            cls=d.name(CLASS_WORDS),
            colour=d.name(COLOUR_WORDS),
        )
    if d.rng.random() < 0.25:
        known = _request(d, d.rng.choice(("repair", "tone", "segment")))[0].rstrip(" ?")
        text = (
            f"{known}{d.rng.choice(CONNECTORS)}{text}" if d.rng.random() < 0.7 else f"{text.rstrip(' ?')} and {known}"
        )
    return text


def _finish(text: str, rng: random.Random) -> str:
    """Case and marks as people set them."""
    text = text[0].upper() + text[1:] if rng.random() < 0.4 else text
    return text + rng.choice((".", "!", "")) if rng.random() < 0.3 and text[-1] not in "?." else text


# ---------------------------------------------------------------------- slips of the fingers

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def typo(text: str, rng: random.Random) -> str:
    """One slip in one word of at least four letters: two letters swapped, one dropped, doubled, or hit on the key
    beside it.
    """
    places = [m for m in re.finditer(r"[A-Za-z]+", text) if len(m[0]) >= 4]
    if not places:
        return text
    match = rng.choice(places)
    word, k = match[0], rng.randrange(1, len(match[0]) - 1)
    slip = rng.choice(("swap", "drop", "double", "beside"))
    if slip == "swap" and word[k] != word[k + 1]:
        word = word[:k] + word[k + 1] + word[k] + word[k + 2 :]
    elif slip == "drop":
        word = word[:k] + word[k + 1 :]
    elif slip == "double":
        word = word[: k + 1] + word[k:]
    else:
        row = next((r for r in KEYS if word[k].lower() in r), KEYS[0])
        at = max(0, row.find(word[k].lower()))
        word = (
            word[:k]
            + row[max(0, at - 1) if at == len(row) - 1 or (at and rng.random() < 0.5) else at + 1]
            + word[k + 1 :]
        )
    return text[: match.start()] + word + text[match.end() :]
