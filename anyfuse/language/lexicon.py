"""The words of an instruction and what each one means: literal tables, the only place where words are listed.

A phrase has a tag. Tags with a colon name a thing (`deg:rain`, `class:car`, `colour:blue`); the others are parts of a
sentence (`remove`, `keep`). `fix:NAME` is a verb that holds its own repair ("dehaze").

A quarter of the phrases of each row, chosen by a hash of their letters, is `held_out`: neither the network nor the
grammar of the benchmark sees them, so that what it reports is reading of words never seen. What ships knows them all.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

# Each row: nouns; adjectives, as after "the image is"; verbs.
DEGRADATION_WORDS: dict[str, tuple[str, str, str]] = {
    "blur": (
        "blur | gaussian blur | defocus | blurriness | softness | defocus blur | lens blur | unsharpness | fuzziness | out-of-focus blur | blurring",
        "blurry | out of focus | blurred | unsharp | fuzzy | soft | defocused | not sharp | not in focus | badly focused",
        "deblur | sharpen | deblurring | sharpening | unblur | refocus | make it sharper | make it sharp | crispen | sharper | crisper",
    ),
    "motion_blur": (
        "motion blur | camera shake | shake | motion smear | movement blur | camera motion | blur from motion | shaking | hand shake | motion streaking | blur of movement",
        "motion blurred | shaky | smeared | smeared by motion | blurred by motion | shaken",
        "deshake | stabilise | stabilize | motion deblur | motion deblurring",
    ),
    "downsample": (
        "low resolution | pixelation | downsampling | poor resolution | pixelated look | pixellation | loss of resolution | lack of resolution | reduced resolution",
        "low-resolution | pixelated | low-res | downsampled | low res | coarse | pixelly | undersampled",
        "super-resolve | upsample | upscale | super resolve | super-resolution | upsampling | upscaling",
    ),
    "noise": (
        "noise | grain | gaussian noise | graininess | speckle | noisiness | random noise | speckles | film grain | white noise | speckling",
        "noisy | grainy | full of noise | speckled | speckly",
        "denoise | denoising | de-noise | noise reduction | degrain | smooth out the noise",
    ),
    "sensor_noise": (
        "sensor noise | iso noise | shot noise | read noise | high iso noise | camera noise | photon noise | read-out noise | readout noise | noise of the sensor | dark current noise",
        "noisy from high iso | noisy from the sensor | noisy at high iso",
        "remove-sensor-noise",
    ),
    "jpeg": (
        "jpeg artifacts | compression artifacts | jpeg artefacts | compression artefacts | blocking | jpeg | block artifacts | jpeg blocks | jpeg compression | compression | blockiness | compression blocks | jpg artifacts | blocking artifacts",
        "blocky | overcompressed | heavily compressed | compressed | over-compressed",
        "deblock | deblocking | decompress | de-block",
    ),
    "rain": (
        "rain | rain streaks | raindrops | rainfall | drizzle | rain drops | downpour | rain lines | shower of rain | rainwater | streaks of rain",
        "rainy | raining | rained on | drizzly",
        "derain | deraining | de-rain | rain removal",
    ),
    "haze": (
        "haze | fog | mist | smog | haziness | fogginess | smoke | murk | veil of haze | atmospheric haze | mistiness",
        "hazy | foggy | misty | smoky | murky | hazed over | fogged",
        "dehaze | defog | dehazing | defogging | de-haze | de-fog | haze removal | fog removal",
    ),
    "snow": (
        "snow | snowflakes | snowfall | falling snow | flakes | blizzard | snow flakes | flakes of snow | snowstorm",
        "snowy | snowing | snowed over | covered in snowflakes",
        "desnow | desnowing | de-snow | snow removal",
    ),
    "low_exposure": (
        "underexposure | darkness | low light | low exposure | dimness | lack of light | under-exposure | poor light | bad light | insufficient light | gloom",
        "underexposed | too dark | under-exposed | poorly lit | dim | badly lit | gloomy | not bright enough | low-light",
        "low-light enhancement | low light enhancement | night enhancement",
    ),
    "high_exposure": (
        "overexposure | over-exposure | glare | high exposure | excess light | blown highlights | excessive brightness | too much light | clipped highlights",
        "overexposed | too bright | over-exposed | blown out | burnt out | burned out | too light | overlit",
        "fix-overexposure",
    ),
    "low_contrast": (
        "low contrast | flatness | poor contrast | weak contrast | lack of contrast | faded look | dullness | bad contrast",
        "flat | washed out | low in contrast | dull | faded | washed-out | lacking contrast | low-contrast",
        "contrast enhancement",
    ),
    "stripes": (
        "stripes | striping | vertical stripes | horizontal stripes | banding | vertical lines | stripe noise | column stripes | horizontal lines | column noise | bands",
        "striped | stripy | banded | full of stripes",
        "destripe | destriping | de-stripe | stripe removal",
    ),
    "fixed_pattern": (
        "fixed pattern noise | fixed-pattern noise | fixed pattern | fpn | non-uniformity | nonuniformity | pattern noise | detector non-uniformity | static pattern | detector pattern",
        "non-uniform | nonuniform | uneven from the detector",
        "non-uniformity correction | nuc | nonuniformity correction",
    ),
    "dead_pixels": (
        "dead pixels | hot pixels | stuck pixels | bad pixels | defective pixels | broken pixels | dead pixel | faulty pixels | hot pixel | pixel defects | stuck pixel",
        "full of dead pixels | dotted with hot pixels",
        "dead pixel correction | bad pixel correction",
    ),
}  # fmt: skip

CLASS_WORDS: dict[str, str] = {
    "sky": "sky | skies | heavens | the sky area",
    "building": "building | buildings | houses | house | skyscrapers | facades | architecture | skyscraper | facade",
    "pole": "pole | poles | posts | post | lamp posts | lampposts | street lights | columns | pillars",
    "road": "road | roads | street | lane | roadway | asphalt | streets | lanes | highway",
    "pavement": "pavement | sidewalk | pavements | sidewalks | footpath | walkway | kerb",
    "tree": "tree | trees | vegetation | plants | bushes | foliage | greenery | bush | plant",
    "sign": "sign | signs | traffic signs | road signs | traffic sign | signposts | road sign | signage",
    "fence": "fence | fences | railing | railings | fencing | barrier | barriers",
    "car": "car | cars | vehicles | vehicle | automobiles | trucks | truck | vans | automobile | van",
    "pedestrian": "pedestrian | people | pedestrians | persons | person | humans | walkers | human | men | passers-by | everyone walking | anybody walking",
    "bicyclist": "bicyclist | cyclists | bicyclists | cyclist | bikes | bike riders | bicycles | bikers | bicycle | bike",
}

COLOUR_WORDS: dict[str, str] = {
    "red": "red | scarlet | crimson",
    "green": "green | lime",
    "blue": "blue | navy",
    "yellow": "yellow | gold",
    "cyan": "cyan | turquoise",
    "magenta": "magenta | pink | purple",
    "orange": "orange | amber",
    "white": "white",
}

SOURCE_WORDS: dict[str, str] = {
    "visible": "visible | rgb | vis | colour image | color image | daylight camera | optical image | visible-light | colour camera | color picture | visible light | optical",
    "infrared": "infrared | thermal | ir | heat image | thermal camera | infra-red | thermograph | flir | lwir | heat camera",
    "first": "first | 1st | image 1 | image one | picture 1 | first one | number one | frame 1 | initial",
    "second": "second | 2nd | image 2 | image two | picture 2 | second one | number two | frame 2 | latter",
    "all": "both | all | everywhere | all of them | both of them | every image | each image | every picture",
}

TASK_WORDS: dict[str, str] = {
    "mef": "exposures | multi-exposure | exposure bracket | hdr | bracketed | exposure fusion | multiple exposures | exposure stack | bracket of exposures | over- and underexposed shots | differently exposed | long and short exposure | short and long exposure | exposure series",
    "mff": "focus stack | multi-focus | focus stacking | focal stack | near and far focus | focus planes | multifocus | focus bracket | differently focused | depth of field stack | all-in-focus | focal planes | far and near focus | focus series",
    "mif": "medical | ct | mri | pet | spect | scans | mr | brain scans | scan | medical scans | tomography | modalities of the brain | brain",
    "ivf": "infrared-visible | visible-infrared | thermal-visible | ivif | vif | visible-thermal | infrared-visible pair",
}

PART_WORDS: dict[str, str] = {
    "remove": "remove | get rid of | clean up | clean | fix | eliminate | take out | take away | clear | repair | correct | suppress | strip | erase | filter out | deal with | take care of | mend | clear up | cure | undo | wipe out | wash out the | clear away | rid | drop | handle | removing | removed | fixing | delete | cleaning | restore | compensate | gone | go away | disappear | tidy up | iron out | treat | lose | fixed | taken away | erased | cleaned | corrected | take off | removal of | clear of | cut through | free of | clean of",
    "keep": "keep | preserve | leave | retain | maintain | make sure | stay | stays | save | protect | hold on to | leave in | stick with | keeping | preserving | stay as is | conserve | don't lose | do not lose | without losing | never mind | ignore | leave alone | spare | let stay | remain | kept | don't mind | do not mind | ensure | don't care about | safeguard",
    "not": "don't | do not | not | never | no need to | need not | no changes to | no change to | do nothing about | nothing about | isn't | aren't | wasn't | doesn't | neither | dont | must not | should not | shouldn't | avoid | mustn't | refrain from | do n't | rather than | instead of",
    "free": "no | without | free from | no more",
    "touch": "touch | change | alter | modify | affect | mess with | tamper with | bother with | interfere with | worry about",
    "up": "more | increase | raise | boost | higher | turn up | add | stronger | pump up | strengthen | enhance | improve | up | increased | extra | lift | crank up | bump up",
    "down": "less | reduce | lower | decrease | turn down | weaken | cut | tone down | cut down | lessen | reduced | decreased | bring down | soften the | down | drop the | dial down | diminish | attenuate",
    "brighter": "brighter | brighten | lighter | lighten | light up | brighten up | brightening | lightened | brightened | illuminate | more luminous",
    "darker": "darker | darken | dim the | dim it | dim this | dimmer | darkening | darkened | dim down | less bright | not so bright | less light | more dim",
    "brightness": "brightness | light | luminance | luminosity | lightness | lighting | illumination | exposure",
    "contrast": "contrast | contrasts | dynamic range | contrast range",
    "segment": "highlight | segment | show | mark | find | where | detect | outline | locate | point out | pick out | label | identify | segmentation of | show me | emphasise | emphasize | mask | overlay | tint | colour in | color in | point at | spot | select | outlined | highlighted | marked | paint | see | highlighting | make out | draw attention to | delineate | trace | mark out",
    "fuse": "fuse | merge | combine | blend | fusion | join | put together | bring together | mix | merging | fusing | combining | composite | unite | merged | fused | blend together | fusion of | stack | integrate | combined",
    "make": "make | turn | get | render | have | want | need | needs | wants | made | give | making",
    "be": "is | are | was | were | looks | look | seems | has | appears | suffers from | full of | there is | there are | there's | it's | shows signs of | got | have got | suffer from | contains | had | comes with | came out | turned out | being | been",
    "too": "too | too much | too many | so much | overly",
    "slight": "slightly | a bit | a little | slight | some of | lightly | a bit of | a little bit | mild | light | faint | gently | small | somewhat | minor | a touch | a tad | weak | subtle | marginal | marginally | a trace of | traces of | a hint of | mildly | faintly | barely | fine | thin | hardly",
    "strong": "strong | strongly | heavy | very | heavily | severe | a lot of | extreme | much | lots of | really | extremely | severely | intense | a lot | massive | terrible | way too | far too | terribly | dense | thick | bad | badly | a great deal of | a great deal | considerably | awfully | significantly | far | massively | way | greatly | hugely | plenty of | super | horrible | horribly | aggressively | completely | intensely | much too",
    "and": "and | , | plus | also | as well as | & | along with | together with | with | while | or | as well | nor | in addition | additionally | besides",
    "but": ". | then | ; | but | ! | ? | : | however | yet | - | though | although | except | just | and then | after that | afterwards | even if",
    "at": "in | on | from | of | for | at | over | by | off | to | into | through | inside | across | caused by | due to | because of | that | which | so | when | under | within",
    "low": "low | too low",
    "high": "high | too high",
    "quality:bright": "bright | glowing | luminous | light and clear | shining | bright enough",
    "quality:dark": "dark | black | darkish",
    "quality:sharp": "sharp | crisp | in focus | well defined | clear and sharp",
    "quality:visible": "in view | recognisable | recognizable | noticeable | easy to see | distinct | clearly seen | discernible",
    "quality:natural": "natural | realistic | true | faithful | authentic | as in nature | natural-looking",
    "aspect:colours": "colours | colors | colour | color | hues | tones | hue",
    "aspect:details": "details | detail | fine structure | fine details | information | small structures",
    "aspect:texture": "texture | textures | surface structure | textured areas",
    "aspect:edges": "edges | contours | edge | outlines",
    "aspect:shadows": "shadows | dark areas | shadow",
    "aspect:highlights": "highlights | bright areas | bright spots",
    "aspect:targets": "hot targets | targets | warm objects | heat signatures | hot objects | hot spots | target",
    "region": "left half | right half | corner | upper half | lower half | background | foreground | top half | bottom half | left side | right side | left | right | upper | bottom | centre | center | middle | corners | border | margins",
}  # fmt: skip

_FILLERS = (
    "please the a an this that's these those it its them they their there my our your his her me i we you he she us image images picture pictures photo photos "
    "photograph photographs shot shots frame frames one ones result output input inputs view camera lens sensor scene pair two three four i'd i'm i've im id like would could can "
    "will shall should may might must kindly try trying do does did done just only simply now here out up down thanks thank try again help let lets let's go ahead some any "
    "if possible which who what how am be so as than quite rather bit little version looking stuff thing things effect effects problem problems issue issues "
    "areas parts whole entire overall final fused whose stays everything every each other another sure clearly nicely properly well better best nice good "
    "task job work using use via afterwards first-class think see visible-looking same still already maybe perhaps bring back "
    "too such own set stack series source sources night day daytime taken capture captured footage video snapshot file files data visibly rest "
    "alone unchanged intact came come comes coming took when must take takes want wants where why into onto about after before again ever all any both been were had having "
    "morning evening afternoon dusk dawn ugly annoying nasty unwanted disturbing unpleasant strange obvious certain possible total complete whatever "
    "dare needed necessary allow allowed expect expected shall've he him himself itself myself yourself they're we're you're task: "
    "mind hey hi dear ok okay pls plz asap today urgently apply run perform process processing level levels amount kind sort of-course also sequence street-scene while because since"
)  # fmt: skip
FILLERS = tuple(_FILLERS.split())


def held_out(phrase: str) -> bool:
    """Whether a phrase or template is put aside for testing: a quarter, by sha256 of its lower-case letters."""
    return sha256(phrase.lower().encode()).digest()[0] < 64


def split(row: str, part: str) -> list[str]:
    """The phrases of a row: 'all', 'known' (the first of a row always is) or 'held_out'."""
    phrases = [p.strip() for p in row.split(" | ")]
    held = [p for p in phrases[1:] if held_out(p)]
    return phrases if part == "all" else held if part == "held_out" else [p for p in phrases if p not in held]


def noun_of(degradation: str) -> str:
    """Its noun in plain English, such as 'low resolution'."""
    return split(DEGRADATION_WORDS[degradation][0], "all")[0]


def rows() -> list[tuple[str, str]]:
    """Every (tag, row of phrases). Where a phrase is in two rows, the first one counts."""
    entries: list[tuple[str, str]] = []
    for name, (nouns, adjectives, verbs) in DEGRADATION_WORDS.items():
        entries += [(f"deg:{name}", nouns), (f"deg:{name}", adjectives), (f"fix:{name}", verbs)]
    for kind, table in (
        ("class", CLASS_WORDS),
        ("colour", COLOUR_WORDS),
        ("source", SOURCE_WORDS),
        ("task", TASK_WORDS),
    ):
        entries += [(f"{kind}:{name}", row) for name, row in table.items()]
    return entries + list(PART_WORDS.items())


@lru_cache(maxsize=4)
def lexicon(part: str = "all") -> dict[tuple[str, ...], str]:
    """Words of a phrase -> its tag, for the phrases of a part ('all' or 'known') and the fillers ('o')."""
    from .phrases import MORE_PHRASES
    from .tokens import tokenise
    from .wordings import FURTHER_PHRASES

    table: dict[tuple[str, ...], str] = {}
    for tag, row in rows():
        for phrase in split(row, part):
            table.setdefault(tuple(tokenise(phrase)), tag)
    if part == "all":
        for tag, row in (*MORE_PHRASES.items(), *FURTHER_PHRASES.items()):
            for phrase in row.split(" | "):
                table.setdefault(tuple(tokenise(phrase)), tag)
    for word in FILLERS:
        table.setdefault((word,), "o")
    return table


@lru_cache(maxsize=1)
def tags() -> tuple[str, ...]:
    """All tags of words, '?' (a word without a meaning here) and 'o' (a word that adds none) first."""
    return ("?", "o", *dict.fromkeys(tag for tag, _ in rows()))
