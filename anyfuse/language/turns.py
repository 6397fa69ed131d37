"""Turns of speech that are put into words of the lexicon before a sentence is read, and what is out of scope wherever
it stands.
"""

from __future__ import annotations

import re

_END = r"(?=[.,;!?]|$)"
_CUT = r"(^|[.,;:!?] ?|\b(?:and|but|then|please) )"
_COLOURS = "red|green|blue|yellow|cyan|magenta|orange|white"
_PIC = "image|picture|photo|photograph|frame|shot|scan|one|input|slide|exposure|source"

SHORT: tuple[tuple[str, str], ...] = (
    (r"([a-z])\1{2,}", r"\1"),
    (r"\bteh\b", "the"),
    (r"\bim\b", "i'm"),
    (r"\bive\b", "i've"),
    (r"\btheres\b", "there's"),
    (r"\bthats\b", "that's"),
    (r"\bwheres\b", "where is"),
    (r"\blvl\b", "level"),
    (r"\bso+o\b", "very"),
    (r"\bought to\b", "should"),
    (r"(?:^| )[-*\u2022] ", ", "),
    (r"\b(can|could|would|will) (?:somebody|someone|anybody|anyone|you guys)\b", r"\1 you"),
    (r"\bdo the needful(?: and)?\b", ""),
    (r"\b(?:you|we|i|one) (can't|cannot|couldn't) (?=see the|make out the|recogni[sz]e the|find the|tell the)", r"\1 "),
    (r"\boutta\b", "out of"),
    (r"\bw/o\b", "without"),
    (r"\bw/ ?", "with "),
    (r"\bb/c\b|\bbcz\b|\bcuz\b|\bcos\b", "because"),
    (r"\bthru\b", "through"),
    (r"\bwanna\b", "want to"),
    (r"\bgimme\b", "give me"),
    (r"\bu\b", "you"),
    (r"\bcan not\b|\bcant\b", "can't"),
    (r"\b(pls|plz|plss|plzz|pleas|plese|pleeease|plase)\b", "please"),
    (r"\bplease to\b", "please"),
    (r"\bpics\b", "pictures"),
    (r"\bpic\b", "picture"),
    (r"\b(foto|fotos|photie|photies)\b", "photo"),
    (r"\b(img|imgs|imags?)\b", "image"),
    (r"\bcam\b", "camera"),
    (r" = ", " is "),
    (r" \+ |(?<=[a-z]) ?\+(?= ?[a-z])", " and "),
    (r"(?<=\w)['\u2019]s (?=image|picture|photo|frame|shot|view|feed)", " "),
    (r"\b(image|picture|photo|frame|input|shot|scan)? ?#(1|2)\b", r"image \2"),
    (r"\bdont\b", "don't"),
    (r"\bdidnt\b", "didn't"),
    (r"\bisnt\b", "isn't"),
    (r"\bits (?=(?:too|so|very|really|a bit|noisy|dark|blurry|hazy|foggy|all)\b)", "it is "),
)
"""What is typed in short."""

_FIXES = (
    "denoising|denoise|deblurring|sharpening|dehazing|defogging|deraining|desnowing|destriping|deblocking|noise reduction"
    "|noise removal|haze removal|derain|dehaze"
)
_DEGS = (
    "noise|grain|rain|haze|fog|mist|smog|smoke|snow|blur|shake|stripes?|artifacts?|artefacts?|banding|compression|streaks?"
    "|speckles?|flakes|snowflakes|raindrops|static|drizzle|grit|murk"
)
_FINE = r"(?:fine|ok|okay|good|alright|all right|great|perfect|excellent|in order|clean|clear enough|well|no problem|acceptable)"

_USES = (
    r"(?:read|count|recogni[sz]e|identify|watch|check|inspect|study|use|publish|send|print|post|examine|measure|look|tell|present|"
    r"sell|decide|learn|understand|analy[sz]e)"
)
_BAD = (
    r"(?:poor|low|weak|bad|lacking|missing|limited|insufficient|miserable|awful|terrible|horrible|disappointing|mediocre|pathetic|rubbish|lousy|"
    r"abysmal|dreadful|crap|meagre|inadequate|not good|not great|unsatisfactory)"
)
TURNS: tuple[tuple[str, str], ...] = (
    # what it is for
    (
        rf"^(?:hi,? |hello,? )?(?:i|we) (?:want|need|have|would like|wish|hope|try|am trying|are trying|plan|intend)(?: to)?(?: be able to)? {_USES}\b"
        r"[^.;!?,]*[,;.:] ?(?:so|therefore|hence|thus)?,? ?(?=[a-z])",
        r"",
    ),
    (
        r"^(?:hi,? |hello,? )?(?:i|we) (?:want|need|have|would like|wish|hope|try|am trying|are trying|plan|intend)(?: to)? (?:see|find|show|spot) "
        r"[^.;!?,]*[,;.:] ?(?:so|therefore|hence|thus),? ?(?=[a-z])",
        r"",
    ),
    (r"^(?:apart|aside) from ([a-z -]+?)[.,;!]?$", r"there is \1"),
    (r",? ?\b(?:hence|thus|therefore|that's why|which is why)\b", r", "),
    (
        r"(^|[.,;:!?] ?|\bplease |\bhi )first,? (?:of all,? )?(?=(?:de[a-z]+|remove|clean|fix|sharpen|get|take|fuse|merge|brighten|darken|mark|highlight|clear|repair|reduce|upscale)\b)",
        r"\1",
    ),
    (r"\breplace (?:them|those|these)" + _END, r"fix it"),
    # negation
    (r"\bno more (contrast|brightness|light)\b(?= ?(?:[.,;!]|please|but|just|than))", r"don't change the \1"),
    (r"\bno (?:segmentation|highlighting|marking|overlays?|masks?|colou?rs?|colou?ring)(?: please)?[,;.] ?", r""),
    (rf"\bmake (?:the |all |all the |every |each )?([a-z]+) (?:appear|glow|stand out|show up|light up) (?:in )?({_COLOURS})\b", r"highlight \1 in \2"),
    (r"\b(don't|do not|doesn't|never) (want|need|wish|like) to see (?=any|the|that|this|[a-z])", r"\1 \2 "),
    (r"\b(sharpen|denoise|change|touch|repair|fix|remove|deblur|dehaze|alter|restore|correct|brighten|darken) nothing\b", r"don't \1 anything"),
    (r"\b(image|picture|photo|frame|input) a\b(?= (?:is|has|and|looks|needs|only)|[.,;:!?]|$)", r"first image"),
    (r"\bmacro (?=shots?|images?|pictures?|photos?|stack|series|set)", r""),
    (r"\bfewer\b", r"less"),
    (r"[,;.]? ?\b(?:so )?(?:please )?(?:just )?(?:leave|keep) (?:it|them|that)(?: there| in| alone| as it is| please)*" + _END, r", don't change anything"),
    (r"\bthe [a-z]+ and (?:the )?[a-z]+ (?:parts|areas|regions|objects|things|spots)\b", r"the parts"),
    (r"\b(?:put|bring|mix|blend|join|merge|glue|lay) (?:them|these|those|these two|the two|both|it|it all|all)(?: of them)?(?: all)? (?:together|into one)\b", r"fuse them"),
    (
        r"\b(?:i |we |they |it was |it has been |was |were |been |has been )?(?:re-?saved|re-?compressed|saved|stored|compressed|exported|sent|forwarded|uploaded|shared)"
        r"(?: [a-z]+){0,4}? (?:as|to|in|via|through|over|by|on|with) (?:an? )?(?:jpe?gs?|jpegs|whatsapp|telegram|messenger|facebook|instagram|signal)\b"
        r"(?: (?:too|so|very|many|often|times|much|over|and|again|several|a|few))*",
        r"there is jpeg compression",
    ),
    # clauses about what is fine, and about what to leave
    (rf"\b(?:apart|aside) from (.+?),? (?:everything|it|all|the rest|they|the images?|the pictures?)(?:'s| ?is| are| looks) {_FINE}\b", r"there is \1"),
    (
        rf"\b(?:nothing(?:'s| is)? (?:else )?wrong|(?:everything|it|all|the rest)(?:'s| is| are) {_FINE}|all good|perfect)(?:,? but)?,? "
        r"(?:except|apart|aside|save|other than|besides)(?: for| from| that)? ",
        r"there is ",
    ),
    (
        rf"\b(?:the |this |that )?({_DEGS}) (?:is|are|was) (?:{_FINE}|(?:there )?(?:intentional|intended|on purpose|deliberate|wanted|desired)|part of [a-z ]+?|"
        rf"meant to be(?: there)?|supposed to be(?: there)?|nice|lovely|beautiful|pretty|welcome|a feature){_END}",
        r"keep the \1",
    ),
    (
        rf"\b(?:i |we )(?:really |absolutely |just )?(?:hate|dislike|detest|loathe|can't stand|cannot stand|am sick of|am fed up with|am annoyed by|am bothered by) "
        rf"(?:the |this |that |all |these |those |all the |all this )?({_DEGS})\b",
        r"remove the \1",
    ),
    (r"(?<=[a-z]),? ?(?:but )?without (?:any |doing any |further )?(?:repairs?|restoration|corrections?|changes|fixing|editing)\b", r""),
    (
        rf"\b(?:apart|aside) from the ([a-z -]+?),? the ([a-z]+(?: (?:{_PIC}|camera))?) (?:is|looks) {_FINE}\b",
        r"there is \1 in the \2",
    ),
    (
        rf"[,;.]? ?\b(?:but |and |while |whereas )?(?:the |my |our )?((?:[a-z]+ ){{0,2}}?[a-z]+) (?:is|are|looks|look|seems) "
        rf"(?:already |just |perfectly |totally |absolutely |otherwise |quite )?{_FINE}(?: as (?:it is|is|they are))?"
        rf"(?: by me| with me)?(?: already| otherwise| anyway)?{_END}",
        r"",
    ),
    (
        r"\bthe ([a-z ]+?) (?:does not|doesn't|do not|don't) (?:bother|disturb|matter|annoy|hurt|worry|trouble|concern)"
        r"(?: me| us| anyone| here)?\b",
        r"keep the \1",
    ),
    (rf"\bi (?:really |quite |rather |kind of )?(?:like|love|enjoy|want to keep) (?:the |that |this )?({_DEGS})\b", r"keep the \1"),
    (r"\b(?:a|the|my) (first|second|visible|infrared|thermal) to (?:be )?([a-z]+ed)\b", r"the \1 \2"),
    (r"[,;]? ?\b(?:and )?(?:nothing|not(?:hing)? anything) (?:more|else)(?: than that)?" + _END, r""),
    (r"\bno need (?:for|of) (?:any |the )?([a-z ]+?)(?=[.,;!?]|$| but)", r"don't remove the \1"),
    # the same thing said of one image and the other
    (r"\b(first|1st)\b(.*?)\bthe other(?: one| image| picture| photo| frame| shot)?\b", r"\1\2the second one"),
    (r"\b(second|2nd)\b(.*?)\bthe other(?: one| image| picture| photo| frame| shot)?\b", r"\1\2the first one"),
    (r"\b(visible|rgb)\b(.*?)\bthe other(?: one| image| picture| photo| frame| shot)?\b", r"\1\2the infrared one"),
    (
        r"\b(infrared|thermal|ir|lwir|flir)\b(.*?)\bthe other(?: one| image| picture| photo| frame| shot)?\b",
        r"\1\2the visible one",
    ),
    # what the images are
    (
        r"\b(?:one|1|first)(?:'s| is| has| was)? (?:(?:is )?(?:focus(?:s?ed)?|sharp|in focus)(?: is)? (?:on|at|in)) [^.;]*?"
        r"\b(?:the other|another|other|the second|second|one)(?: one)?(?:'s| is| was)? (?:(?:focus(?:s?ed)?|sharp|in focus) )?"
        r"(?:on|at|in) [^.;,]*",
        r"this is a focus stack",
    ),
    (r"\binto (?:an? |one |a single )?(?:hdr|all-in-focus|sharp)(?: image| picture| photo)?\b", r""),
    (
        r"\b(fuse|merge|combine|blend|join)\b([^.;]*?)(?:, |; ?| )?so(?: that)? (?:both|all|everything|it|they)(?: parts)? "
        r"(?:is|are|gets?|becomes?|look|looks)(?: all)? (?:sharp|in focus|crisp|clear)\b",
        r"\1\2",
    ),
    (r"\b(lots|heaps|loads|tons|plenty) more\b", r"a lot more"),
    (r"\b(the|my|our|your) (?:final )?(?:blend|composite|merge|fusion|mix|combination)(?= (?:should|must|shall|is|looks|to be|needs|has|out|could|can|darker|brighter|lighter|a|more|less|with)\b)", r"\1 result"),
    (r"\b(?:of|in) (?:the |my |our )?(?:final )?(?:blend|composite|merge|fusion)" + _END, r"of the result"),
    # degrees
    (rf"\b(?:crank|turn|dial|ramp|push|bump|pump|set)(?: up)? (?:the )?({_FIXES})(?: all the way)?(?: up)?(?: to (?:the )?(?:max|maximum|full|eleven|11))?\b", r"strong \1"),
    (rf"\b({_FIXES}) (?:on|at|to|with)? ?(?:full|max|maximum)(?: power| strength| force)?\b", r"strong \1"),
    (r"\bas (gently|lightly|softly|little) as (?:possible|you can),? ?", r"slightly "),
    (r"\bas (strongly|heavily|much|hard|far|well) as (?:possible|you can),? ?", r"strongly "),
    (r"\bthe (tiniest|slightest) (?=[a-z])", r"a slight "),
    (r"\bgood and (strong|proper|hard)\b", r"strong"),
    (r"\b(?:a )?good strong\b", r"strong"),
    (r"\bbeyond (?:all )?(?:recognition|belief)\b", r"extremely"),
    # light
    (
        r"\b(?:i |we |you )?(?:can't|cannot|couldn't|could not|(?:can|could)(?: hardly| barely| scarcely)?(?=.* (?:too|very|way|under|badly|so (?:foggy|hazy|noisy|blurry)))) "
        r"(?:see|make out|recognise|recognize|tell) (?:a thing|anything|much|what is what)(?: at all)?( (?:in|on) [a-z ]+?)?(?=,| because| as | -|;)",
        r"concerning\1",
    ),
    (r"\b(?:shed|throw|cast|put|let|bring)(?: me| us)? (?:some |a little |a bit )?(?:more )?light (?:on|onto|into|in|to)\b", r"brighten"),
    (r"\blift (?:it|this|that|them)(?: up)?(?: a bit| a little)?" + r"(?= so\b|[.,;!?]|$)", r"fix it"),
    (r"\b(?:please )?make (?:it )?visible" + _END, r"fix it"),
    (r"\b(?:came|comes|come|turned|turns)(?: out)? (too|so|very|way|far|all|completely|pitch|black|dark)\b", r"is \1"),
    (r"\b(?:black|dark) as (?:coal|night|ink|pitch|soot|tar)\b", r"pitch black"),
    (r"\b(?:sun|lamp|light|flash|headlights?|spotlight)s? (?:has |have )?(?:burn(?:ed|t)|blew|blown|bleached|washed)(?: out)? (?:the )?([a-z ]+?) (?:completely |totally |all |entirely )(?:white|out)\b", r", \1 is extremely overexposed"),
    (r"\b(?:sun|lamp|light|flash|headlights?|spotlight)s? (?:has |have )?(?:burn(?:ed|t)|blew|blown|bleached|washed)(?: out)? (?:the )?([a-z ]+?) (?:white|out)\b", r", \1 is overexposed"),
    (r"\b(?:got|gets|has|had|received|caught) (way |far )?too much (?:light|sun|sunlight|exposure)\b", r"is \1overexposed"),
    (r"\b(?:got|gets|has|had|received|caught) (way |far )?too little (?:light|exposure)\b", r"is \1underexposed"),
    (r"\bis (way |far )overexposed\b", r"is extremely overexposed"),
    (r"\bis (way |far )underexposed\b", r"is extremely underexposed"),
    (r"\b(?:fix|correct|adjust|repair|mend|rescue) (?:the )?exposure (?=of|in|on|for)", r"concerning the exposure "),
    (
        rf"\b(?:i |we )?(?:have |has |got )?(?:nothing against|no objections? to|no problem with|no issue with|no quarrel with|(?:am |'m )?(?:ok|okay|fine|happy) with) "
        rf"(?:the |this |that |a bit of |some )?({_DEGS})",
        r"keep the \1",
    ),
    (
        rf"\b(?:i |we )?(?:want|need|would like|'d like|would love|wish) (?:to have |to get |to see )?(?:the |this |that |all the |all this |all |those |these )({_DEGS}) "
        rf"(?:out|gone|off|away|removed|cleaned|fixed)(?: up)?(?: (?:of|from))?\b",
        r"remove the \1 in",
    ),
    (r"\b(?:do|change) nothing (?:with|to|about|on|for|in) (?:the |my )?(?:other|first|second|visible|infrared|thermal|rgb|rest|ir)(?: one| image| picture)?", r""),
    (r"\b(sharpen|denoise|clean|dehaze|deblur|upscale|brighten|darken) (it|them|this|that|these|both|everything) up\b", r"\1 \2"),
    (r"\b(?:turn up|crank up|bump up|pump up|push up|push|up|boost|increase|raise|lift|enhance|improve|turn|crank|bump) (?:the |its |overall )*sharpness(?: up)?\b", r"sharpen"),
    (r"\b(?:turn up|crank up|bump up|pump up|push up|push|up|turn|crank|bump|lift) (?:the |its |overall )*resolution(?: up)?\b", r"increase the resolution"),
    (
        rf"\b(?:the )?(contrast|sharpness|resolution)((?: (?:in|of|on|from) [a-z0-9 ]+?)?) (?:is|looks|seems|are) "
        rf"((?:very |really |too |rather |quite |a bit |so |pretty |just |way |far |extremely )*){_BAD}\b",
        r"\2 is \3low-\1",
    ),
    (r"\b(?:thermal|infrared|ir|heat)((?: image| one| picture| camera)?) (and|with|plus) (?:the |an? )?colou?r\b(?! (?:image|picture|photo|camera|one|frame|shot))", r"infrared\1 \2 visible"),
    (r"\bcolou?r (has|is|shows|suffers|looks|needs)\b", r"visible \1"),
    (r"\bi (?:find|consider|found|call) (?:that )?((?:the|this|my) [a-z]+(?: [a-z]+)?|it|them) (too|very|so|rather|a bit|quite)\b", r"\1 is \2"),
    (rf",? ?\b(?:colou?red|painted|tinted|filled|shown|drawn|marked) (?:in )?({_COLOURS})" + _END, r" in \1"),
    (r"\b(needs?|wants?|requires?|could use|could do with) (?:some )?(contrast|light|brightness)\b", r"more \2"),
    (r"\bconcerning the exposure (?:of|in|on|for) ", r"concerning "),
    # contrast and resolution
    (r"\b(?:softer|gentler|milder|flatter|lower) in contrast\b", r"less contrast"),
    (r"\b(?:higher|stronger|richer) in contrast\b", r"more contrast"),
    (r"[,;]? ?\b(?:and )?(?:less harsh|not so harsh|less hard)\b(?= ?[.,;!?]|$)", r""),
    (r"\b(?:have|has|got|with) no (?:punch|pop|snap|oomph|bite|depth|kick)\b", r"is low-contrast"),
    (r"\b(?:lack|lacks|lacking|misses|without|needs some|missing) (?:any |all |some )?(?:punch|pop|snap|oomph|bite|kick)\b", r"is low-contrast"),
    (r"\bcontrast of (.+?) is (?:very |really |too |rather |quite |a bit |so |pretty )?(?:poor|low|weak|bad|flat|lacking|missing|miserable|limited)\b", r"\1 is low-contrast"),
    (r"\bsharpness of (.+?) is (?:very |really |too |rather |quite |a bit |so |pretty )?(?:poor|low|weak|bad|lacking|missing|miserable|limited|off)\b", r"\1 is unsharp"),
    (r"\bresolution (?:of|in|on|from) (.+?) is (?:very |really |too |rather |quite |a bit |so |pretty |just )*(?:poor|low|weak|bad|small|lacking|limited|miserable|insufficient|coarse)\b", r"\1 is low-resolution"),
    (r"\b([a-z]+ (?:one |image |picture |photo )?)(?:misses|lacks|is missing) (?:any |some |a lot of )?sharpness\b", r"\1is unsharp"),
    (r"\b(?:make|making|needs? to be|should be|be|want|need)(?: it| this| them)? (?:bigger|larger) (?:and |but )?with (?:more |proper |better |real |finer |good )?details?\b", r"upscale it"),
    (r"\b(?:only|just|merely|its|it's|it is)? ?\b\d{2,4} ?(?:x|by|\*) ?\d{2,4}(?: pixels| px)?\b(?=,| -|;| and)", r"it is low-resolution"),
    (r"\b(make|making) (the |my )?([a-z ]+? )?(?:pop|stand out|sing)(?: more)? with more contrast\b", r"more contrast"),
    (r"\b(needs?|want|wants|could use|could do with|give (?:it|me)) (?:some |a lot |a bit |a little )?more (?:res|resolution|pixels)\b", r"upscale it"),
    (r"\bbring (?:the )?low-?res(?:olution)? ([a-z ]+?)(?: up)? to (?:a )?(?:higher|high|better|full) res(?:olution)?\b", r"upscale the \1"),
    # what was happening
    (r"\b(?:it |this )?rained (?:cats and dogs|buckets|hard|heavily|like mad)\b", r"there is heavy rain"),
    (r"\b(?:it is|it's|it was) (?:snowing|raining) in ([a-z ]+?) but i (?:want|do not want|don't want|would like|like)(?: it)?(?: not| to)?\b(?: it)?" + _END, r"remove the snow in \1"),
    (r"\bsometh?ing\b", r"anything"),
    # to paint
    (rf"\b(?:put|place|lay|show|draw|fill|render|paint|dye|shade)(?: in)? (every |all |the |each |any |those |these )?([a-z -]+?) (?:in|as|with) (?:a )?({_COLOURS})\b(?: colou?r)?", r"highlight \1\2 in \3"),
    (rf"\bcolou?r(?: in)? (the |every |all |each |those )?([a-z]+) (?:with )?({_COLOURS})\b", r"highlight \1\2 in \3"),
    (rf"\b(?:everything|anything|all|what is) (?:in )?({_COLOURS}): ?(?:the )?([a-z]+)", r"highlight \2 in \1"),
    (r"\bwhich (?:parts|pixels|areas|regions|bits|things) (?:are|is|belong to|show|of this are) (?:the )?([a-z ]+?)\?", r"highlight \1,"),
    (r"\bi (?:want|need|would like|'d like|wish|have) to (?:know|see|learn) where (?:the |all )?([a-z ]+?)(?: is| are| stand| stands| walk| walks| drive| sit| be| were| was)?" + _END, r"show the \1"),
    (r"\bwhere (?:the |all )?([a-z ]+?) (?:stand|stands|walk|drive|sit|go|run|grow)" + _END, r"where the \1 are"),
    (rf"\b([a-z]+) (?:should|shall|must|ought to|to|can) (?:stand out|be|appear|pop|pop out|glow|show up|come out) (?:in )?({_COLOURS})\b", r"highlight \1 in \2"),
    (r"\bno (?:highlighting|marking|segmentation|segmenting|outlining|colouring|coloring|tinting) (?:of|for) (?:the |any )?", r"don't highlight the "),
    (r"\b(?:i |we )?(?:don't|do not|needn't|need not) (?:need|want|have to see|have to mark) (?:any |the |to see )?([a-z]+) (?:to be )?(?:marked|highlighted|shown|outlined|segmented|coloured|colored)\b", r"don't highlight the \1"),
    (r"(don't highlight the [a-z]+)[,;]? (?:but )?(?:only|just) (?:the )?", r"\1, highlight "),
    (r"\bon: ?(mark|highlight|show)\b", r"on, \1"),
    (r"[.,;!?]? ?\bi mean(?:t)?,? (?:the )?", r", "),
    (r"\bpixels never change,?", r"pixels"),
    (
        r"\b(?:pixels?|dots|points)\b([^.;!?]{0,40}?)[, ]+(?:they're|they are|and are|which are|that are|are|is) (?:always|permanently|constantly|forever|stuck)"
        r"(?: at| on)?(?: white| black| lit| on| bright| dark| off)*",
        r"dead pixels \1",
    ),
    (r"\b(?:that|which) (?:never|don't|do not|won't) (?:go away|goes away|change|changes|move|moves|disappear|vanish|react|respond)\b", r""),
    (r"\bso ([a-z]+)(?: that)? (?:i|you|we|one|nobody|he|she|they) (?:can't|cannot|can hardly|could not|couldn't|can barely|can)\b[^.;!?,]*", r"very \1"),
    (r"\b(the [a-z ]+?) (?:sees|shows|captures|saw|showed) (?:nothing|hardly anything|almost nothing|not much)\b[^,.;]*", r"concerning \1"),
    (r"\b(?:double|triple|quadruple|redouble|quadruplicate|multiply) (?:the |its )?resolution\b", r"increase the resolution"),
    (
        rf"\bno ({_DEGS})(?=(?:,? (?:and |or )?no (?:{_DEGS}))*,? (?:but |and )?(?:just|only|but) (?:a |an |some |the |lots of |heavy |strong |slight |a lot of |a bit of )*(?:{_DEGS})\b)",
        r"there is no \1",
    ),
    (r"\beverywhere (?:on|in|across|over|throughout) (?=the |my |our )", r"in "),
    (r"\b(?:want|need|prefer|would like|i'd like|make|get) (it|them|this|everything|both|the [a-z]+(?: one| image| picture| photo)?) (?:nice and |really |all |razor |pin |tack )?(?:sharp|crisp)" + _END, r"sharpen \1"),
    (r"\b(?:want|need|prefer|would like|i'd like|give me|get me) an? (?:really |nice )?(?:sharp|crisp) (?:image|picture|photo|result)" + _END, r"sharpen it"),
    (r"\ba (?:bit|little|touch|tad|little bit|tiny bit) more (?=contrast|light|brightness)", r"slightly more "),
    (r"\b(?:tone|bring|turn|dial|take|push|pull|knock|ramp|scale|step|crank|bump|notch|move) (?:the |its )?(brightness|contrast)( of [a-z ]+?)? (up|down)\b", r"turn \3 the \1\2"),
    (r"\b(?:man|men|woman|women|person|people|guys?|someone|anyone|everyone|riders?|girl|boy|kids?|folks?|persons) (?:that are |who are |who is )?(?:on|riding) (?:the |an? |their |his |her )?(?:bikes?|bicycles?|cycles?)\b", r"cyclists"),
    (r"\b(?:that are |which are |each )?(?:focuss?ed|focus) (?:at|on|to|in) (?:different|various|several|varying|other) [a-z]+\b", r"focus stack"),
    (
        r"\b(?:just |please )?(?:fix|correct|adjust|repair|mend|sort out|improve) (?:the |its )?exposure,? ?(?=.*\b(?:too dark|too bright|dark|underexposed|overexposed)\b)",
        r"",
    ),
    (r"\b(?:the )?(?:outlines?|contours?|silhouettes?|shapes?|positions?) of (?=the|all|every|each|any|cars|people)", r""),
    (rf"\b([a-z]+): ?({_COLOURS})" + r"(?=[.,;!?]|$| and)", r"\1 in \2"),
    (
        r"\b(?:the )?(?:dark|bright|long|short|underexposed|overexposed|darker|brighter|lighter)(?: exposure| shot| image| picture| photo| one)? (?:and|with|plus) (?:the )?"
        r"(?:dark|bright|long|short|underexposed|overexposed|darker|brighter|lighter) (?:exposures?|shots?)\b",
        r"the different exposures",
    ),
    (
        r"\b(?:one|1)(?: image| picture| shot| photo)? (?:is |was )?(?:focus(?:s?ed)?|sharp|in focus) (?:near|close|far|up close|in front|in the front|behind|in the back)(?: up| away)?,? "
        r"(?:and |but |while )?(?:the )?(?:other|one|another)(?: one)? (?:is |was )?(?:focus(?:s?ed)? |sharp )?(?:near|close|far|in front|in the front|behind|in the back)(?: up| away| off)?",
        r"this is a focus stack",
    ),
    (r"\bright (across|over|through|along|down|up|in|at|on)\b", r"\1"),
    # requests in other shapes
    (r"\b(?:i'd|i would|we'd|we would) like (?:to have )?(?:the |those |these )([a-z ]+?) (removed|gone|cleaned|reduced|fixed|suppressed|eliminated|corrected|out|away)\b", r"remove the \1"),
    (rf"\bno more ({_DEGS})\b", r"remove the \1"),
    (rf"\b(?:wipe|wash|get|take|clean|clear|brush|throw|blow|filter|sweep|rub) (?:the |those |these |all )?({_DEGS}) (?:off|away|gone|out)(?=,| and|[.;!?]|$| please)", r"remove the \1"),
    (rf"{_CUT}(?:the )?({_DEGS}) (?:off|away|gone|out)(?=,| and|[.;!?]|$| please)", r"\1remove the \2"),
    (r"\b(?:smoothed|ironed|filtered|taken|wiped|cleaned|cleared|evened|sorted) (?:out|away|off|up)\b(?! of)", r"removed"),
    (r"\b(?:smooth|soften|even) (?:out |away )?(?:the |those |these )((?:jpeg|jpg|compression|blocking|block|stripe|ringing)[a-z ]*?)" + _END, r"remove the \1"),
    (r"\b(?:take|get|pull|iron|wipe|even|filter|sort|clean|smooth|cut|wash|comb) (?:them|those|that|these|it|this) (?:all )?(?:out|away|off|up|down)\b(?! of)", r"remove it"),
    (r"\b(?:tidy|clean|clear|sort|fix|patch|mop|touch) (?:that|this|it|them|those|these|things) up\b", r"remove it"),
    (r"\b(?:take|bring|get|push|drag|turn) (?:down )?the (noise|grain|haze|blur)(?: down)?(?! out| away| off| from| of)\b", r"remove the \1"),
    (r"\b(?:get|bring|take|turn|push|tone|dial) (?:it|that|this|them) down\b", r"reduce it"),
    (r"\b(?:get|take|do) rid of\b", r"remove"),
    (r"\bundo the damage\b", r"fix it"),
    (rf"\bwipe (?:the |those )?({_DEGS}|drops|droplets) (?:away|off|out)\b", r"remove the \1"),
    (rf"\b({_DEGS}) (?:both |all )?(?:need|needs|have|has|ought|got|must|should|gotta)(?: both)?(?: to)? (?:go|disappear|vanish|be gone)\b", r"\1 must go"),
    (r"\b(?:please )?interpolate" + _END, r"fix it"),
    (r"\bwhy (?:is|are|does|do) ([^?]+? (?:so|too|such|all|always|that|full of|very) [^?]+)\?", r"\1,"),
    (r"\b(?:so|such) as (?=to\b)", r""),
    (r"\bso (?=(?:it|it's|the|there|there's|everything|all|my|i|we|they|that's|this|expect|please|trees?|he|she|now|de[a-z]+|sharpen|remove|fix|clean|clear|get)\b)(?! that)", r", "),
    (r"\b(?:because|since|cause|given that|seeing that) (?=(?:it|it's|the|there|there's|everything|all|my|i|we|they|of)\b)", r", "),
)  # fmt: skip
"""Pattern, replacement; in this order."""

_STOP = r"(?=[.,;!?]|$)"
_FORMATS = r"(?:png|jpe?gs?|tiff?|bmp|gif|pdf|raw|webp|svg|mp4|avi|dng|heic)"
OUTSIDE = re.compile(
    rf"\b(?:save|export|convert|store|write|download|output)\b.*\b(?:as|to|in|into) (?:an? )?{_FORMATS}\b"
    r"|\b(?:watermarks?|logos?|captions?|cartoons?|sepia|vintage|panorama|fisheye|lens flare|vignette|white balance|red[- ]eyes?|"
    r"wrinkles?|teeth|sunset|saturation|saturated|saturate|desaturate|vibrance|emails?|e-mail|photoshop|emoji|bokeh effect|"
    r"collage|wallpaper|black[- ]and[- ]white photo|colou?ri[sz]e|cropp?(?:ing|ed)?|rotate|flip|mirror|watercolou?r|"
    r"van gogh|monet|oil painting|deepfake|timestamp|date stamp|how many|upside down|like in (?:a|the) (?:movies?|films?))\b"
    r"|^(?:what(?:'s| is| are| does| do) (?!(?:this|that) (?:ugly|awful)|wrong)|who\b|when (?:is|was|did)|how (?:does|do|did|much|many|far|tall|old|long|big|come|is|are)\b|"
    r"why (?:is|are|does|do|did) (?![^?]*\b(?:so|too|such|all|always|full of|very)\b)|explain|define|describe|translate|sing|tell me (?:a|about|what|why|who|how|when))\b"
    r"|\b(?:identify|recogni[sz]e|name) (?:the|this|that|him|her|his|these) ?(?:person|man|woman|guy|suspect|driver|face|people)?"
    + _STOP
    + r"|^how [a-z]+ (?:is|are|was|were)\b|^which (?:one|image|picture|photo|of)\b[^?]*\?|\b(?:audio|sound|music|voice|recording of)\b"
    r"|\ban? (?:snowy|rainy|foggy|hazy|misty|blurry|grainy|noisy) (?:version|look|style|mood|atmosphere|vibe|feel|touch)\b"
    r"|\b(?:only|just) (?:around|near|by|along|behind|under|above|below|inside|next to|beside) (?:the|my|that|this|her|his)\b"
    r"|\blet (?:it|there) (?:snow|rain|be|look|become)\b"
    r"|\bstabili[sz]e (?:the |my |this |our )?(?:video|clip|footage|film|movie)"
    rf"|\b(?:add|put|insert|place|introduce|simulate|apply|create|generate|make|fake|paint|draw|imitate|sprinkle|spray|throw|mix)"
    rf"(?: (?:some|more|a bit of|a little|a lot of|fake|artificial|extra|synthetic|in|me|in some|a|an|nice|film|heavy|light|thick|the))* "
    rf"(?:{_DEGS}|fake [a-z]+|snowfall|rainfall)(?! (?:removal|reduction|go|goes|gone|disappear|vanish|less|weaker|away|suppression|correction|fainter|milder|softer|"
    r"streaks|filter|cleanup|free|out|artifacts?|artefacts?|lower|smaller|invisible|be|not|of|compression|blocks?))"
    r"|\b(?:as if|as though|like) it (?:was|were|is|'s|had been|has been) [a-z]+"
    r"|(?:^|[.,;:!?] ?|\b(?:please|and|then|to|you|just|also) )blur (?:out )?(?:(?:all|every|the|their|her|his|my|each|these|those|this) )+(?!over\b)[a-z]+"
    r"|(?:^|\bplease )blur (?:out )?(?:faces|backgrounds?|people|plates?|everything|it|them|him|her)\b"
)
"""What no model here does, wherever in the instruction it stands."""

_SHORT = tuple((re.compile(pattern), to) for pattern, to in SHORT)
_TURNS = tuple((re.compile(pattern), to) for pattern, to in TURNS)
_RAINY = re.compile(r"\b(?:rain|rained|raining|rainy|drizzle|downpour|pouring|poured)\b")
_STREAKS = re.compile(r"(?<!rain )(?<!motion )(?<!column )\bstreaks\b")


_LETTERS = " ".join(pattern for pattern, _ in TURNS).replace("\\b", " ")
TURN_WORDS = frozenset(re.findall(r"(?<![a-z\\\])])[a-z]{4,}(?![a-z\[(?])", _LETTERS))
"""Words of four letters and more that turns are made of."""


def in_full(low: str) -> str:
    """A lower-case sentence without what is typed in short."""
    for pattern, to in _SHORT:
        low = pattern.sub(to, low)
    return low


def in_lexicon_words(low: str) -> str:
    """A lower-case sentence with its turns replaced, one after the other."""
    for pattern, to in _TURNS:
        low = pattern.sub(to, low)
    if _RAINY.search(low):
        low = _STREAKS.sub("rain streaks", low)
    return " ".join(low.split())
