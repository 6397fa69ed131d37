"""What people say beyond the lexicon: further phrases for its tags, and turns of speech that are put into its words.

The lexicon is what the prompt bank draws from and the network learned; these are read only, so they can grow without
another training.
"""

from __future__ import annotations

import re

MORE_PHRASES: dict[str, str] = {
    "deg:blur": "bokeh blur | soft focus | lack of sharpness | missed focus | focus was off | focus is off | focus was wrong | focus is wrong | misfocused | lacks sharpness | not crisp",
    "fix:blur": "restore the sharpness | restore sharpness | recover the sharpness | bring back the sharpness | bring the sharpness back | sharpened | deblurred | refocused | make it crisp | make it crisper | make it more crisp | crisp it up | crisp up | make it razor sharp | make it tack sharp | improve sharpness | improve the sharpness | more sharpness | increase the sharpness | raise the sharpness | boost the sharpness | more crisp | resharpen | sharpness up",
    "deg:motion_blur": "smeary | everything smeared | moved while taking | i moved | camera moved | smearing | camera was moving | camera shook | shook the camera | shook | moving camera | shaken camera | camera wobble",
    "fix:motion_blur": "unshake | stabilised | stabilized",
    "fix:rain": "derained",
    "fix:haze": "dehazed | defogged",
    "fix:snow": "desnowed",
    "fix:stripes": "destriped",
    "fix:jpeg": "deblocked",
    "deg:downsample": "resolution is low | resolution is too low | resolution is poor | tiny | too small | thumbnail | jagged",
    "fix:downsample": "increase the resolution | raise the resolution | improve the resolution | boost the resolution | enhance the resolution | increase resolution | improve resolution | boost resolution | higher resolution | more resolution | better resolution | superresolve | superresolution | supersample | up-scale | up-sample | upres | uprez | more pixels | upscaled | upsampled",
    "deg:noise": "salt and pepper noise | salt-and-pepper noise | salt and pepper | impulse noise | thermal noise | chroma noise | luma noise | colour noise | color noise | noises | hiss | static noise",
    "fix:noise": "despeckle | despeckling | de-speckle | smooth it | smooth it out | smooth out | smoothen | smoothen it | smooth this | smooth them | smooth the image | smooth the picture | denoised | de-grain | degraining",
    "deg:jpeg": "artefacts from jpeg | artifacts from jpeg | artefacts of jpeg | artifacts of jpeg | artefacts | artifacts | jpeg mess | compression mess | jpeg noise | macroblocks | macroblocking | mosquito noise | blocks | jpeg blocking | ringing artifacts | jpeg ringing | compression damage | compression errors | jpeg damage | compression noise | jpeg-compressed | block noise | jpeg garbage",
    "deg:rain": "drizzling | rained | it rained | pouring | it poured | pouring rain | rain shower | rain showers | rainstorm | rainy weather | water drops | drops of rain | drops of water | rain drop | raindrop",
    "deg:haze": "hazyness | foggyness | veil of mist | veil of fog | veiled in mist | veiled in haze | veiled in fog | veiled by haze | shrouded in fog | shrouded in mist | fog bank | pea soup",
    "deg:snow": "snowed | it snowed | snowflake | sleet | snow flake | snow storm",
    "deg:low_exposure": "too little light | not enough light | lacks light | lacking light | light was poor | pitch dark | pitch black | lowlight | shadows are too dark | shadows too dark | too dim | exposed too little | too low an exposure | night shot is too dark",
    "fix:low_exposure": "lift the shadows | lift shadows | raise the shadows | open up the shadows | open the shadows | brighten the shadows | lighten the shadows | recover the shadows | bring up the shadows | pull up the shadows | shadow recovery | fill in the shadows",
    "deg:high_exposure": "burnt-out | blown-out | blown-out highlights | blown out highlights | blown highlights | bleached | exposed too much | highlights are blown | highlights are clipped | overexposed highlights",
    "fix:high_exposure": "tame the highlights | recover the highlights | pull down the highlights | bring down the highlights | rescue the highlights | bring back the highlights",
    "deg:low_contrast": "lacks contrast | lack contrast | lacking in contrast | too little contrast | not enough contrast | little contrast | contrast is missing | contrastless | flat contrast | no contrast | low contrasts | flat looking | flat-looking",
    "deg:stripes": "dark stripes | bright stripes | darker stripes | brighter stripes | columns that are darker than others | columns that are brighter than others | dark columns | bright columns | darker columns | brighter columns | dark rows | bright rows | row noise | line noise | lines | vertical bars | horizontal bars | vertical banding | horizontal banding | vertical bands | horizontal bands | row stripes | stripe | streaky columns | scan lines | striped pattern | stripe pattern",
    "deg:fixed_pattern": "non uniformity | non-uniformities | grid pattern | mesh pattern | detector noise pattern | fixed noise pattern | fixed patterns | shading of the detector",
    "deg:dead_pixels": "stuck at white | stuck at black | pixels are stuck | pixels are dead | pixels are hot | pixels are broken | dead dots | dead or hot pixels | hot or dead pixels | defect pixels | stuck dots",
    "remove": "must go | has to go | have to go | should go | needs to go | ought to go | mitigate | minimise | minimize | alleviate | ease | combat | tackle | get rid | cut out | wipe away | wipe off | wipe out | wash away | wash out | sweep away | brush away | brush off | blow away | take them away | do away with | take out of | scrub | scrub away | scrub out | dispose of | clean off | clean out | purge | banish | kill | rid of | rid the | rescue | free it from | free them from | free from | make disappear | sort out | amend | remedy | counteract | cancel | subtract | removes | fixes",
    "strong": "a good deal | a good deal of | by a good deal | a whole lot | a whole lot of | quite a lot | drastically | dramatically | substantially | markedly | enormously | tremendously | vastly | immensely | loads of | tons of | heaps of | awful | dreadful | dreadfully | by a lot | by far | ever so much | seriously | badly | incredibly | absurdly | excessive | a ton of | strongest | maximum | maximal | maximally | full-strength | an awful lot | noticeably | quite strongly | strong bit | rather strongly | plenty | heaviest | up a lot | a lot of the",
    "slight": "somewhat | a smidge | a notch | a hair | a shade | a trifle | ever so slightly | just a bit | just a little | just a touch | a pinch of | a dash of | a wee bit | a tiny bit | a bit too | a little too | slightest | a tick | a little more | a bit more | a touch more | a bit less | a shade too | weakly | moderate amounts of | minimal | minimally | ever so",
    "at": "all over | all across | all through | throughout | all around | especially in | mainly in | mostly in | particularly in | above all in | across the whole of | everywhere in",
    "down": "softer | gentler | flatten | soften | softened",
    "segment": "draw | draw in | draw the outlines of | show where | make visible in | colour-code | color-code | recolour | indicate | annotate | tag | circle | spotlight | localise | localize | display",
    "source:visible": "visual image | colour one | color one | colour picture | colour photo | color photo | rgb image | coloured image | colored image | coloured one | colored one | daylight image | daylight picture | the colour image | visual camera",
    "source:infrared": "grey image | gray image | grey picture | gray picture | grey one | gray one | greyscale image | grayscale image | thermogram | heat picture | thermal sensor | infrared sensor | infrared camera | infra red | thermal one | thermal frame",
    "source:first": "photo 1 | photo one | picture one | input 1 | input one | shot 1 | frame one | former",
    "source:second": "photo 2 | photo two | picture two | input 2 | input two | shot 2 | frame two",
    "o": "fused image | fused picture | fused photo | fused result | fused output | fused one | fused frame | merged image | merged picture | merged result | combined image | combined picture | fusion result | bad weather | especially | mainly | mostly | particularly | chiefly | mixed | there | here | somehow | weather | whereas | absolutely | honestly | actually | basically | generally | both things | bothers | disturb | disturbs | bother | disturbing me | bothers me | bothers me most | most of all | the most | disturbs me | disturb me | annoys | annoys me | trouble | the trouble | scenery | landscape | mountains in the distance | i'd | could you possibly | at all | spoil | spoils | spoiled | spoiling | ruins | ruining | hides | hide | hiding | obscure | obscures | obscuring | covers | covering | degrade | degrades | view",
    "class:pedestrian": "walking people | pedestrian figures | folks | folk | crowd | passersby | individuals | women | woman | man | kids | children | child",
    "class:bicyclist": "people on bikes | riders on bikes | bike rider | cycle riders | cycles",
    "class:pole": "lamp post | lamppost | street light | street lamps | street lamp | pillar",
    "class:sign": "street signs | street sign | roadsigns",
    "class:pavement": "walkways | footpaths | kerbs | curb | footway",
    "class:car": "motor vehicles | motorcars | lorries | lorry",
    "class:tree": "hedges | hedge",
    "colour:orange": "orange-coloured",
    "not": "no need for | no need of | there's no need to | no reason to | by no means | not at all | in no way | hardly needs to",
}  # fmt: skip
"""Tag of the lexicon -> phrases that mean it too; where the lexicon has a phrase already, the lexicon counts."""

_NOUN = (
    "noise|grain|rain|haze|fog|mist|smog|snow|blur|shake|stripes?|artifacts?|artefacts?|banding|compression|streaks?"
    "|speckles?|flakes|snowflakes|raindrops"
)
_WHO = "i|we|you|one|they|people|anyone|somebody|he|she|(?:the|my|our) [a-z]+|[a-z]+s"
PURPOSE = re.compile(
    rf",?\s*\b(so|so that|in order that|such that)\s+(that\s+)?({_WHO})\s+(can|could|may|might|am able to|are able to|is able to|see|sees|read|recogni[sz]e|get|know|don't|won't|will)\b"
    r"[^.;!?]*?(?=[.;!?]|$|,\s*(and|then|but)\b)"
)
"""A clause that says what for: 'so that I can see the people at night'."""

REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (rf"\b({_NOUN})[- ]free\b", r"free of \1"),
        (r"\bis light(?=[.,;!?]|$)", r"is slight"),
        (r"\bin (1|2)\b", r"in image \1"),
        (r"[,;]? ?\b(?:but |and )?(?:there is )?nothing (?:is )?wrong with [a-z ]+?(?=[.,;!?]|$)", r""),
        (
            r"[,;]? ?\b(?:but |and )?(?:it|all|everything(?: else)?|the rest)(?:'s| is) (?:otherwise )?"
            r"(?:fine|ok|okay|good)(?: otherwise)?(?=[.,;!?]|$)",
            r"",
        ),
        (r"\b(?:it )?turned out ", r"it is "),
        (r"\b(?:an? )?light (de[a-z]+)", r"slightly \1"),
        (r"\blow the (brightness|contrast|light)\b", r"lower the \1"),
        (r"\b(can|could) (?:hardly|barely|scarcely) ", r"\1 "),
        (r"\b(?:just|only) (?=(?:the|in|on|my|both)\b)", r""),
        (r",? but (?:only|just) (a little|a bit|slightly|gently|lightly)\b", r" \1"),
        (
            r"(?:the )?\b[a-z]+ (?:is|are) (?:fine|ok|okay|good|acceptable)[,;]? (?:but |and |while )?(?:the )?"
            r"([a-z ]+?) (?:is not|isn't|are not|aren't)(?=[.,;!?]|$)",
            r"there is \1",
        ),
        (
            r"\bput (?:an? )?(red|green|blue|yellow|cyan|magenta|orange|white) (?:mask|overlay|outline|tint|colour|color) "
            r"(?:on|over|around) ([a-z ]+)",
            r"highlight \2 in \1",
        ),
        (rf"\bwithout (any|a trace of|all) ({_NOUN})\b", r"without \2"),
        (r"\bfree (it|them|this|the \w+(?: image| picture| photo| one)?) (of|from)\b", r"remove from \1"),
        (
            r"\b(get|take|filter|wash|strip|clean|throw|kick|pull) (the [a-z' -]{3,30}?) "
            r"(out of there|out of it|out of here|out|off|away)(?=[.,;!?]|$| of | from | in | and )",
            r"remove \2",
        ),
        (
            rf"^(?:the|all|all the|my) [a-z ]{{2,30}}? (?:disappears?|vanish(?:es)?|(?:is|are|gets?) (?:lost|hidden)|"
            rf"drowns?) (?:in|behind|under) (?:the |a |thick )*({_NOUN})\b",
            r"there is \1",
        ),
        (r"(^|[.,;:] ?|\band |\bthen |\bplease )colou?r (the|all|every|each|those|these) ", r"\1paint \2 "),
        (r"\bcolou?r (?=(people|cars|trees|roads|buildings|pedestrians|vehicles|signs)\b)", r"paint "),
        (r"\b(more|some) (punch|pop|snap|oomph|bite)\b", r"more contrast"),
        (r"\bpunchier\b", r"more contrast"),
        (r"\b(more|less) contrasty\b", r"\1 contrast"),
        (r"\bcontrastier\b", r"more contrast"),
        (r"\b(dim|lighten|darken|brighten) (it|this|them) (up|down)\b", r"\1 \2"),
        (r"\bturn (the )?(lights?|brightness) down\b", r"turn down the brightness"),
        (r"\bturn (the )?(lights?|brightness) up\b", r"turn up the brightness"),
        (r"\bturn (the )?contrast (up|down)\b", r"turn \2 the contrast"),
        (r"\b(bring|turn|dial|take|push|pull) the (brightness|contrast) (up|down)\b", r"turn \3 the \2"),
        (r"\bbump (the )?(brightness|contrast)\b", r"bump up the \2"),
        (r"\b(it|this|that) (?:all )?(?:was|is) pouring\b", r"there is pouring"),
        (r"\braining cats and dogs\b", r"heavy rain"),
        (r"\b(noise|blur|haze|rain|snow)(?: is| was)? (all )?(over|across) (the|my)\b", r"\1 in \4"),
        (r"\bmake (the |my )?([a-z ]+? )?(image|picture|photo|result|one) (crisp|crisper|sharp|sharper)\b", r"sharpen \1\2\3"),
        (r"\bnot only ([a-z ]+?),? but also\b", r"\1 and"),
        (r"\b(visible|infrared|thermal|first|second) (image|picture|photo|one|frame) only\b", r"\1 \2"),
    )
)  # fmt: skip

NOTHING = re.compile(
    r"(please |just |only |simply )*("
    r"nothing (needs|has) (to be )?(fixed|fixing|repaired|repairing|restored|restoring|removed|corrected|correcting)"
    r"|(leave|keep) (everything|all|it all|it|them|both|the images|the image|both images|both pictures)( exactly)? "
    r"(as (it is|they are|is|it was)|alone|unchanged|untouched)"
    r"|everything is (fine|good|ok|okay)( as it is)?"
    r"|(there is |there's )nothing to (repair|restore|remove|fix|correct|change|mend|clean up|enhance|improve)"
    r"|(the|both|these|all) (images?|pictures?|photos?) (is|are) (fine|good|ok|okay|clean|perfect)( as (it is|they are))?"
    r"|(there is |there's )?nothing( is)? wrong( with [a-z ]+)?"
    r"|(do not|don't) do (anything|a thing)( to (it|them|the images?|the pictures?))?|do nothing"
    r"|no (repairs?|restoration|fixes|corrections?|changes?|edits?|modifications?)( needed| necessary| at all)?"
    r")( please)?"
)
"""Instructions to restore nothing."""
