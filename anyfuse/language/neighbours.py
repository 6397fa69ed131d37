"""English words one letter away from a word of the lexicon: they are what they are and no slip of the fingers ('train'
is no rain).
"""

from __future__ import annotations

_WORDS = """
aback abe abel abide ably abode abort abound abs abuses abut ace acid acre act acts ada adam addiction additions adds adjusts ado ads afar
affects afield afoot afterward age aging aglow aground ahem aid aide aides aiding aids ail ailing ails aim ain airs airy ala alai alan ale
ales ali alias aliases alice alight alike alive alleviated allot allows alloy ally alms aloe aloud alt altar alters alto amen amends ami
amir amplified amplifies amply amps amy ana anal anally andy ane ani ann anon ans ant ants anyways apartments ape aplenty appeal appealed
appeals appeased apple appreciates aptly arab arc arch ard aren arena arenas ares aria arid aries arise arising ark arm arrow art articles
arts asa ash asked asking asks aspect ass asses ate atlas atone atoned atop attacked attends attentions audition aught ave avenge aver
aversion avery avid avoids award awash awe awhile awry axe axed axis axle aye baa bach backgrounds backing backs bade bag bagged baggies
bags bah bail bailed bailing bails bait baits bake bakers bakes baking bald balding baldy bale balk ball balling balls bally balm ban
bandied bandy bandying bane bang banged banging bangs banked banking banned banning banns bans bar barb barbed barbs bard bards bare bared
bares barf barfed barge barged baring bark barked barker barking barks barley barn barns barrel barren barrow barry bart base baseline
bases bash bashed bashes bashing bask basked basking bass basted bat batch batches bated bath bathe bathes baths bats batted batter bay
bays beach beached bead beak beam bean beans bear beards bears beast beat beater beck beckon bed beds bee beefs beefy beep beeping beeps
beer bees beet began begins begun behinds bel belie beliefs belies believed believer believes bell bella bellow belongs belt belting ben
bend bended bender bending bends bent bequest berg bering bert beset beside bet beth bethe bets bette betters bey bias bib bid biddy bide
biding bids biff biked biker bile bill billy bind binding binds bingo bins bis bitch biter biters bites bitter biz blab blacked blacking
blake blanc blank blanking blanks blare blaring blaster blasts bled bleed bleeding blends bless blest blight blighter blind blizzards
bloat blob bloc blocker blog blond blood blooded bloods bloom blots blower blowing blows blu bluer blues bluff blurb blurt blurted
blurting blurts blush blushes boa board boarder boars boast boasted boasting bob bobble bobs bod body boeing bog bogged bogs bold bolder
bolt bolted bomb bon bond bonded bonding bonds bone boned bones bong bonk bony boo book booked booking books boon boor boos booster boosts
boot booted booth booting boots bop borders bore bores boring born boss bosses bossy botch bots bottoms bough bought bout bow bower bows
box boxy boyd brace braces brad brag bragged braid brained brains brainstorm brainy braise braised bran brand branded branding brands bras
brash brawn bray breached bread breaded breaking bred bree brew brian brig brightens brim brine bringing brings brink briny brits broad
broads broadway brock broke broker brood broody bros broth brother brothers brow brown browned browning brows bruce brunt brushed brushes
brute buck bucket bud buffer buffers buffs buffy bug bugger bugs bull bully bum bumps bumpy bums bun bunch bunco bundt bunk bunks bunt
buoy buoys bur burg buries burn burner burns burp burped burr burry burst burt bury bus bushel bushels bushy busing busses bust bustle
busts busty busy buts butt butter buy buys bygone byte cab cable cad cade cadre cafe cage caging cain cake cakes cal calf calla calling
callow callus calms camel cameo camp camper camps cancellations cancels cancer candle candy cane canes canned canning cannon cans canst
cant cap cape caps capt cara card cards cared carer cares carl carly carne carnies carny carp carrie carried carrier carriers cart carte
carts carve cary casa case cased cash cashed cashing cask casks caste casts cat catch catches cater cath causes cave caved caving caws
cease cell cello cells censor censors censure cent centers centres chad chair chan chanced chances chanel chang changed changer changers
chap char chard charge charges charity charnel chat chats che cheat checking checks cheek cheeks cheep cheery chen cher chi chic chick
chide chile chili chill chimp chin chink chipped chips chirp chit chock chop chose chow chowing chrome chuckling chucks chunk cia cid
cider cig cinch cine circled circles cite clack clacking clacks clam clamp clamps clams clan clank clapped clarify clary clash clashing
clatter clause cleaners cleanly cleans cleansed cleanser cleanses cleansing clears cleave cleaved cleaver cleaves cleft click clinking
clip clipper clive clock clocked clocking clocks clod clone closed closer closes closet closing clot clots clout clove clovers clown cluck
clucking clue coals coast coat coats coax cob cobb cobble cobbled cod code coded coder coders codes codex coding cog cogs coil coin coke
cokes col cold cole collard colon coloreds colorful com coma comas combats combinations combines combing combo combs comer comers comet
comets comings commuted como compensates compete competed complain complains complaints completed completes compliant compresses
compressions comps compute computer comte con concerns concert cone cones confers cons conservatives conserved constants contour contract
contracts contras coo cooing cook cooked cooking cooks cool coolly coon coos coot cop cope copes coping cor coral core cores coring cork
cornea corneas corned corning coroner coroners corrections corrects cos cost costly costs cot cots cotta couch cough counteracts counts
county coup courses court cove covens cover covert coves coveted coveting covets cow coward cowards cower cowered cowering cowl cows coy
crab crabs crack cram cramp crane cranks cranky crap crapped crash crashed craw cray craze creaking created cred crest cribs cried crier
crimes crimp cringing cripple cripples crises crisps crispy croaked crone crop crops cross crow crowds crown crowned crowning crows crude
crusher crushes crust crusted crux cruz cry crying cub cube cubed cubs cud cue cued cues cuff cull cult cunning cunt cup cur curd curds
cures curing curl curled curls currant currents curry curse cursed curt curtail curve curved cushy cute cuts cutter cycled cyst czar dabs
dad dada dag dah dale dam damages dame damien dammed damns damon dampens damper dams dan dana dandy dane danes danish dank dared dares
daring darkens darned darning darren dart darts dashed dashing date daub dave dawned dawns daylights days daze dazed dazzles deaf deals
dean deans dearly dears dearth deaths deb debra decade deceased deceived decided decides decimate deck decode decreases dedicate deduce
deduced deduction dee deed deeds deem deemed deems deepens deeper deer defeat defeats defecting defector defectors defied defiled define
defines definitions deflect deflects deft defy del deleted deletes deliberated dell della dem demand demanding demise demon den denise
dens denser dent deplete depths derail derailed derailing deride derive deriving deserve deserved desire desires desist desk detain
detained detaining detective detects detests dew dey dials dian diaz dice dick dicky diddle diddled didn die died diem dies dig digger
digs dike dill dilly dime dimes dims din dine dined diner dines ding dinging dingle dink dint dip dipping dir directions dirk dirt dis
disappears discrete discretely dish disk disliked dislikes disposed disposes diss dissed dissing dissolved dissolves distanced disturber
dit dive dives diving doable docs doe doer doff dog doge dogged doggy doings doit dole doling doll dolt dom dome domes don dona dong dongs
donor dons donut doodles doom doors dope doper dopes doping dork dos dose doses dosh dosing doss dost dot dote doted dotes doth doting dou
doubled doubles doublet doubly dough dour douse dousing dove dover doves dow downed downing downs downy doze dozing drags drain drained
draining drains dram dramatics drank drawn draws dread dreamed drew dries drip drips drivel driven driver drives drizzled droning droop
droplet drove droves drown drug drugged dry drying dual duality dub duck ducky duct dud dudes duds duel dues duet duff duffer dug duh duke
dulls duly dumber dump dun dune dunk duo dupe duped durst dusts dutch duty dwell dye dyes dying dynamics ear early earn earning ears eased
easel eases east eat eater eats eave eaves eden edged edgy eel eels eff effected eight eights elect elected election electronics electrons
elevated elevates eliminates elise ell ella elsa ember emeralds emerge emerged emerging emery emissions emit emotion emp emphasis
emphasized emphasizes ends endure enhancements enhances enjoys ensue ensured ensures enter entice entirety envoy eons epic epics equality
eras eraser erases ere errol esther eta etch ethan ether evan evans eve evenings evens event evil evils ewe examined examiner examines
excels excerpt exit exiting exits expands expects expend expended expensive expert expose exposes extorted extras extremes fab fable
fabled face faced facet faction facts factual factually faculty fad fade fades fag fags fail failing failings fails failure fain fainted
faints fair fake faked fakes faking fall fallow falls falter faltered faltering fame famed fan fanned fanning fanny fans farce fare fared
farm farmer faro fart farther farts fat fate fated father fats fatten fattened fatter fault faults fave favors fawn fax faxed faxes faxing
faze fazed fears feast feat feather featured fecal feces feck fed feds fee fees feet feint fell fella felling fellow fen fenced fend
fended fender fending fer fess fest feud feuds fever fey fez fiat fib fiber ficus fiddle fiddled fie fields fiend fiercer fife fig fighter
fighting fights figs figure figured filed filet filing filler filling fills filly films filmy filters fin finale finals finch finder
findings finds fined finery fines finger fining fink finn fins fir fire fired fires firing firm firmer firs firsts fish fist fit fitch
fits fitter five fiver fives fixer fixings fizzle fizzy flab flack flags flair flak flaked flaky flame flames flan flap flare flared
flares flaring flashing flashy flask flats flattens flattered flatters flattery flavor flaw flax flay fleas fleck fled flee fleet flesh
flew flick flicked flicks flier flies flight flights flint flip flipped flirt flit float flock flocked flocking flocks flog flogged flood
floored floors flores floss flour flow flower flowered flowing flown flu flue fluke flush flutter foal fob focuses foe foes foiled fold
folds folksy folly foment fond fonder font food fool foots footy fop fora forced forces ford fore forge forged forger fork forks form
formal forme formed forrest fort forte fou fought foul foully fount fountains fours fox foxes fractions frag frail framed frank frat fray
fred freed freer frees fret friction fries fright frighten frightened frightening fro frog froggy frogs fronts frost frowned frowning
froze fry frying fuel fuels fullness fume fuming fun fund funding funk fur furry fuses fuss fussed fussing futility fuzz gab gable gag
gagged gail gained gaining gains gait gall galling galls game gan gap garage gary gas gash gasses gat gate gather gats gave gavin gay
gayer gays gaze gazed gear geared gearing gee geek gel gels gem gems gen gender gene generals gent gentile gentry gents geo ger ghostly
gie gift gig gil gild giles gill gills gilt gimme gin gird girly gist git giver glade gland glares glaze glazed glazing glean gleaned
gleaning glee glide glides glittered glob glory gloss glossy glove glows glued glues glum glut goa goad goal goat gob gobble gobbled gobs
god goddam gods goings golds golf goner gong goo goods goody goof gook gooks goon goop gore goth gout gown goy grab grace graceful graces
grad grady grail gram gran granny grass grater gratin gravy grays greaser greats greed greek greener greens greet greeter greg greta grew
grids grift grim grin grind grins grip grist grits grizzly grog groin groom grotty grounds growing growl grown grows guards guest guests
guff guided guides guile guise gull gully gums gun gunk gunning guns gus gush gushes gust gut guts gutter guv guy hab hack hacking hacks
hades hadn hae hag hags hah hailed hailing hails hairs hairy hal hale hall hallo hallowed halls halo halt halter halve ham hamper hams han
handed handing handler handles handshake handy hang hangs hank hans hap haply happenings hardcore hardy hare hark harm harp harper harpy
harrow harry hart hash hashed hasn hast haste hasty hat hatch hatchback hatches hated hater hates hath hating hats hatter haul haunted
haven havens haves haw hay hazel hazing head headlight heads heady heals heap hear heard hears heart heath heather heats heave heaven
heaves heavies heaving heed heeded heeds heel heels heft heightens heir hel held hellos hells helm helps hem hemp hen hens hep hera herb
herbs herd hereabouts heres hero herr hers hes hew hex hic hick hid hie highs hike hiker hikes hiking hill hilly hin hind hinge hinted
hinting hints hip hippy hips hire hires hiring hissed hisses hissing hitch hither hits hitter hive hives hoard hoarding hoards hoarse hob
hobble hobbled hock hocus hodges hoe hoes hog hogged hogs holden holds hole holed holes holly holster holt holy home homeless homes homing
hon hone honed honesty hong hoo hood hook hooked hooking hooks hoot hop hoped hopes hops horse horses horsing hos hose hoses hosing host
hostage hosts hots hour housed hover hovered hovering hovers howard howl hows hoy hub hubs huck huff hug hugh hugs huh hull hum humane
hump hums hun hunch hung hunk hunt hunter hurl hurts husk husky hustle hut huts hyde hype ian ice icon icy ideal identity ides ids ifs
ignored ignores ike ilk ill illuminates imagine immerse imp imply improvements improves impulses ina inane incense increases incredible
ind indicated indicates individual info ing initials inks inky inn ins insect insider insides inspects insure integrated integrates
intends intensity intent interfered interferes ion ions iran ire iris irk irons irony irrigating isn isolate isolates issued itch ito ivan
ives jab jabs jacking jacks jacky jade jaded jag jail jailed jails jake jakes jam jams jan jane jap jar jarred jars jay jean jeans jed
jeer jeez jello jerk jess jest jet jets jew jib jig jigger jigs jill jilt jilted jim jingle jitters jive jives joan jobs jock joe jog
jogged jogs john joins joint joints jon jones jose joss jot jotted joust joy joys jude jug jugs juke jump jun june jung junky jut jute kan
kane kate kay keel keels keen keeps keg kegs kelp ken kent kerf key khan kicks kid kike kills kiln kilo kilt kim kin kinda kindle kinds
king kingly kink kino kip kirk kiss kissed kisses kissing kit kite kith kits klan knack kneed knew knight knob knocks knot knowing known
knows knox kong kook kooks koto krill kris kun kurt lab labels labs lac lace laces lacing lacy lad lads lag lager lagged lain lair lake
lakes lam lama lamb lambs lame lamer lana lance lances land landed landing lands landscapes lang lanterns lap lapel laps lard larder lark
larking larks larry lars laser lasers lash lashed lashings lass lasses lasted lasting lasts lat latch latches late later lathe lather lats
latte lattes lave law lawful lawfully lawn lawyer lawyers lax lay laze laziness lazy lea leach leads leaf leah leak lean leaned leaner
leaning leans leap leaps lear learns learnt leary lease leases least leather leaved led ledge lee leeds leek leer lefts lefty leg legate
legion legions legs lei lem lemons len lena lend lender lending lends lent leo leon les lessens lesser lesson lest letter lettered levee
levees lever levers lew lewd ley lib libel liberally lice licking licks lid lids lie lied lien liens lies lifer lifts lighted lightens
lighters lightest lightning liked liken likes lila lilacs lilly lily lima limb limes limey limits limo limousine limp limps lin lina linen
linens liner liners link linked linking links lino lint lip lire list listed lite litigate litter littler lived lively liven liver lives
liz load loans loath loathed loathes loaves lob lobe lobes local locale localized located locates lock locked locking locks locus lode
loft lofts log logged logs loin lois lon lone lonely loner longs loo looker loom loomed looming looms loon loop looped looping loops loos
loose loosed looses loot looted looting lop lords lore loser loses lotion lotta lotus lou loud louse lout louts loved lover loverly lovers
loves lovey loving lowers lowing lows lox luck lucky luff luge luke lull lumber lump lumps luna lunch lung lure lured lures luring lurk
lush lust lusty lute lyme mabel mac mace maced mach macho mack madame madly mads mae mage magics mags mai maia maid mail mailed mailing
mails maim maine mains maintains majors maker makes makings mako male males mall malls malone malt mam mana mandy mane mange mangy mani
manic manky manly manned manning manor mans mao map mar mara marc marco mare mares marge margin mari marin marker market markings married
marries marrow marry mars marsh mart martins mary mas mash mashed mashing mass massed massing master mat match matches mated mater mates
math mating mats matt matte matted matters mature maw maxi maxing maya maybes mayo mayor mayst maze mead meade meal meals measured
measures meat meats medal meddle medial medicals medicines meek meg megan mel meld melting mended mends menu mere merger merges mes mesa
messed messengers messes messing messy met meta mete mew mews mia mic mice mich mick micky micro mics mid midst mig mighty mike mikes mil
mildew mile milk milks mill miller mills milo mils mime mimes min mina mince minding minds mindy mine mined miner mines ming mingle mini
minimized mink minors mint minted minty minx mir mire mired miserably misled miso miss mission missis missive missus missy mister mists
misused misusing mit mitch mite mites mitt mixer mixes mixing moan moaning moans moat mob mod mode moderates modes modesty moe moi moist
mold mole moles molest mom moments mon monsoons moo mood mooing moon mooning moor moore moot mope moped mopes moping mops mores morn
mornings morse mort moses mosh mosquitos moss mossy mot mote moth mother mothered mothers motions motors mots mount mountain mounts
mourning mouse mousy movements mover movers movie movies mow mowed mower mowing mown mows muck mucky mud muddle muff mulch mulder mule
mules mull multiples multiplex munch muse mused muses mush musing musk musky muss mussed musty muted mutes mutt mutter muzzle myles nab
nabs nag nagged nailed nailing nails nam name nancy nap nappy narrows nary nash nat nate natty naturals natures naught nave nay neal
nearby nears neat neck ned needy negates neil nell neon nerd nerds nero ness nest net nether nets neutralized neutralizer neutralizes
nevers new newer newt nib niche nick nicker niece nigger nigh nightly nights nighttime nighty nike nil nile niles nine nines nip nipping
nit nite nits nix nixed nob nod nog nome nomen none noodles nook nooks noon noose nope nora nord norm norma norman norse nose noses nosey
nosing nosy note nothings notices noting notion nought noun novice nowt nub nude nuked nukes null numbed numbers nun nut nutter nylon
nylons oaf oar oars oat oath oaths oats obit object odd ode odor officer offices offs oft oil oily oink oka olde olden older oliver olives
omega omen omer omission ono ont onus oof ope opens opt optimal oranges orders ore originals otter otters otto ouch oui ounce ours ourself
oust outcomes outlive outlived outlives outs outsider outsides outta oven overalls overland overlap overpaid overplay overs overt overtly
owe owen owes owl owns oxen pace pack packed packet packing packs pact pacts pad padre pads page paging paid pail pails pain pained
paining pains painter paints pairs pal palace pale pales pall palling palms pals pam pamper pan pane panes pans pant panting pants pap
pappy par para pared paris park parker parking parks parry parse parson parsons parted particle particulars party pas pass passer passes
passing passive passively pasta paste pasts pasty pat patched patchy pate patent pathos patients pats patter paunch pause paused pave
paved paving pawn pawned pawning pay payer payers peace peach peak peal pear pearly peas peat pec peck pecks pecs pedals pee peed peeing
peek peels peep peeping peeps peers pees peg pegged pegs pelt pen penal pence penetrated penetrates penned penning pens pent peopled
peppers per performs perimeters perked perks perky perm persona personas pert pertain peru perv pest pests petal pete peter pets petting
petty pew pews phase phat phonies phonograph photography photons picked picker pickets picks picky pictured pie piece pier pierced pierces
pierre pies pig pigs pike pikes pile piles pill pimp pimply pine pined pines ping pinging pinko pinks pinky pinned pinning pinpoints pins
pinstripe pint pinto pints pip pipe piped piping pips pish piss pissed pisses pit pitches pith pits pitting pix placed places plague
plagues plaid plains plait plane planet planets plank planks planned planning plans plate plates platter play player players plea plead
pleads pleas pleased pleases pleats plebs plight plop plot plots plow plowing plug plugs plum plump plums plush ply pocket pod pods poet
poets poi pointed pointy poise poison poke poker pokes pol poll polls polo poly pom pomp ponce ponder pondering pong poo poodles poof pooh
pool poon poop pope popes popper pops pore pored pores poring pork port portage portent portions ports pose poser poses posh posing posit
posses posy pot potion pots potted pouch pour pout pouting pow powders powdery powered powers pox praise praised praising prank prat pray
pre preen prefect prefers prep pres presents preserved preserver preserves preset prevent prey prick prim printed prints produce products
profess professing project prom prone prong pronounce pronounces prop propel property proposed proposes props prosper protects protest
proton provide provider provides prow prowess pry prying psalm pub puck pud puff puffer pug puke pulls pulp puma pumps pun punchy punk
punt pup pure puree purged purges purity purposes purse pus pushes pushy puss puts putt putter putz pyre qua quadrants quadrupled qualify
quarters quartet que quieted quiets quilt quint quit quits quitter quote race races racing rack racket rackets racking racks radial
radicals rads rag rage ragged ragging raid raided raider raiders raiding raids railed raiser raises raisin raisins rake rakes raking rally
ram rama ramps rams ran rance rand randy rang ranged ranger ranges ranging rank ranks ransom rant rants rap raping rapped rapture raptures
rare rarely raring rash rate rating rats raul rave raved raving raw ray raze razed razors reach reacts reader readouts reads ready realm
realty ream reap reaps rear reasons receive receiver receives reckons recognized recognizes recon recovers redact redder redo reds reduces
reductions reed reeds reef reek reel reels ref refer refined refs reg regain regal regard regulars reid reilly rein reined reins relief
relieve relive remains remedies remission remote remotes removals remover renal rend renders rent renter rep repaid repairs repenting
replaced replacements replaces reps requests requite rescuer rescues resent reserve reserves reserving reset resides resolved resolves
responds responses restored restores rests results resurrects retail retails retains retards retest retrain rev revel revels revere
revered reverie reverses reverted reverts revile revise revived revives revolution revolutions revolve revs rewards rex rib rice riches
richter rick ricky ridden ridding riddle riddles ride rides rife rifle rift rig rigging righting rightly rightness rights rigorous rile
riling rim rimmed rind ringling rings rink rinsing rio riot rip ripe ripping rise riser rising rite riven river rivers roam roams roan
roar roaring roars rob robot robs rod rods roe role roles rom roman rome romp ron roo roof rook rooks room roost roosting roots rope rose
ross rot rotor rots rotted rotten rouge roughs round rouse rousing rout rove rover rovers roving roy rub rube rubs ruck rudder ruddy rude
ruder rudy rue ruff rug rugby ruin rum rump rune rung runs runt ruse rush rushed rushes rust rustled rustler rustles rusty rut ryan ryder
sable sack sacked sacking sacks sad safe safeguards sag sage said sail sailed sailing sails saint sainted saintly sake sakes sal sale
sally salts salty salvaged salve sam sample sampler samples san sanded sanding sands sane sang sank sans sap sappy sarge sash sat sate
sated saturate savage saver saves saving savor sawed sawn sax say says scab scabs scads scag scald scaled scales scalp scaly scam scamp
scams scant scape scar scare scared scaring scars scat scenes scent scone scoot scored scot scots scout scow scram scraped scrapes scrappy
scraps scream screens scrip scrubs scrum scuff scut seal seam seams sean sear seared searing sears seas season seat sec seconds sect sedan
seduce seduced seduction seed seeded seeding seeds seek seeking seeks seeming seep seeped seeping seeps seer seers segments seize
selections selects self sells semen sen sender sends senior seniors senor sense senses sensory sept sequenced sequencer sequences sera
serge serves seth sets setting seven sever severed severs sew sewer sewing sewn sews sex sexes sexing sexist sext shack shacked shacking
shacks shades shady shaker shakes shale shalt shame shamed shames shaming shane shank shanks shaped shapes shaping shard shares sharing
shark sharking sharpens sharps shat shatter shave shaved shaven shaves shaving shaw shawl shawn shay shea shear sheared shearing shears
sheds sheen sheep sheer sheet shell shells shes shi shied shies shill shim shin shingle shinning ship shire shirt shit shits shitting
shock shod shoe shoeing shoes shoo shooed shooing shoot shoots shop shops shore shored shoring shorn shorted shorts shorty shouldn shout
shouts shoved shoving showy shrank shred shrink shrug shrugs shtick shuck shucking shun shunted shush shut shuts shutters shy sian sic
sicko sid sided siding sift sig sighs sight sighting sights signals signature signore silenced silencer silences silhouette silk silky
sill silt simmer simple sims sin sind sine singe singh singing singled singles sings sink sins sip sipping sips sire sirs sis sit site
sites sitter sitting six sixes sized sizes sizzle ska skeet ski skid skids skied skier skiers skill skills skim skimming skimp skin skins
skips skis skit skits skye slack slacking slacks slag slain slake slant slap slash slashing slave slaved slay slayer slayers slays sled
sleek sleep sleight slept slew sliced slicer slick slid slider sliders slime slimming sling slinking slip slipped slit slits slitting slog
slop slot slots slotted slow slowed slower slowing slows sluice slung slur slurred slurring slurry slurs sly smack smacked smacking smacks
smalls smell smelly smiles smoked smoker smokes smokey smooch smooching smoother smote smudge smudges smug snack snacking snacks snag
snail snake snaked snaking snaky snaps snapshots snare snared snide snip snob snobs snog snored snoring snort snorted snot snowball
snowballs snuck snuff soaking soap soaping soapy soared sob sock socked sofa softener softens softy soggy soil soiled soiling soils sold
sole soles solids solution som someones somethings son sone song sons sooth soothed soothing sooty sop soppy sora sore sores sorta sorts
sot sou sought soul soups sour sourced soured sous sow sowed sowing sown sows soy spa space spackle spade spake span spanned spanning
spans spar spared spares sparing spark sparked sparkly spat spate spats speak speaks spear speared spears spec specially specs sped speedy
spell spells spelt spend spends spent spewed spic spice spices spick spics spied spies spill spills spilt spin spire spit spits splice
splitting spock spoiler spoke spook spool spools spoon spore sport sports spotlights spotter spotting spout spouted spouts sprinkler
sprinkles sprint spun spy squared squire squires squish sta stab stabilizer stabs stacy staff stag stags staircases stake staked stakes
staking stale stalk stalked stalking stalks stall stalls stamped stamps stan standards stank stans star starch stare stared staring
starlet starred stars start started starve starves stationery stats stave ste stead steak steaks steal steaming steams steed steeds steep
stem stems stent stew stews sticking sticks sticky stiff stiles stilt stilts sting stink stint stir stock stocked stocking stocks stoke
stoked stomp stone stoned stones stoop stops store stores storey storied stork stormed storms stormy story stow stowed stowing straightens
straighter strand strands stranger strangest strangle strap strapped stray strays streaming streams strengthens strengths strep stretchy
stride strides striding strife strike strikes striking string stringer stripper stripping strips strive strived strives striving stroller
struck structured strung stud studs stuffs stuffy stump stun stung stunk sturdy stutter sty suave sub subdued subs subtler suck suds sue
sued sues sufferings suggestions suggests suing suite suits sully sum sump sums sung sunk sunning suns sup superb supers supper supposes
suppresses sur surer surf surfaced surfaces surfer surfers surge surrounding suss sven swamp swan swans swap swapped swarm swatch sway
sways swear swearing swears sweeps sweet sweets swell swells swig swill swim swing swipe swiped swiping swirl swish swoon tab table tabs
tach tacked tacking tackles tacks tacky taco tact tael tagged tags tai tail tailed tailing tailings tails taint tainting tais taker takers
takings tale tales talk talkers talking talks tall tallow tam tamed tamer tames taming tamp tan tang tangerines tank tanking tanks tanned
tanning tans tao tap tape taper tapes taping tapping tar tarn tarred tarry tars tart tarts tasked tasking tasks tasty tat tate tater tats
tau taught taunted tax taxed taxes taxing tea teach teak team tear teas tease teat ted tee teed teeing teen teens tees telegrams
telephoned telephones tells telly temper ten tend tended tenders tenner tens tense tensor tent tented tenting terns terror terrors tess
test tex text thai thane thanes thar thaw thea thee theirs theme thence thermos theses thigh thine thingy thinks thins thirds tho thong
thongs thought thrace threat threes threw throb throttled throttles thrown throws thud thuds thug thugs thun thunderstorms thy tic ticket
tickle tickled ticks tics tide tides tie ties tight tighten tightened tighter tightly tightness tights til tile tiled till tilt tilted
tilting tilts tim timed timer timers tin tina tinder tine ting tinged tingle tings tinned tinny tins tints tip tire tires tissue tissues
tit titles tits toad toads toady tod toddy toe toed toes toff togo token told toll tom tomb tome toms tonal toner tong tongs toni tonne
tonnes tony tool toot topography topping tops tor torch tore torn torrid tort tory tosses tot totals tote totes toto tots touchy tough
tour toured touring tout tow towed towel towered towers town towns toy toyed toying toys traced tracer tracers tracey track tracks tract
traction tracts tracy trade trades traffics trail trailing trails train trained training trains tram tramp trance trapped tray tread
treason treats treaty treed treetop trek treks tremble trembler trembles tremors trent trevor trey trick tricks tries trifled trifles trig
trio trip tripe tripled triples tripped tripping troubled troubles trough troy truce truer trunk trunks tuck tucks tug tun tune tuned
tunes turd turds turf turfed turing turk turks turner tush tushy tusk tut tux twat tweak tweed twin twink twos tying tyke tyr udder
unbeatable unclear uncooked understands undesirables unit united unites units unity unload unloaded unloads unsure untie unto upgraded
upgrades upped uppers uprising upside urge urn urns used user uses uther utters vac vagus vain vainly val vale valor valued values valve
vamp vamps vane vapors var varnish vary vas vase vat vats veal veer veg vega vein veins ven vent venue venues vera verb verbs verge
verging vern versions vest vet vets vial vibrate vibrates vic vice vicky vida videos vie views vile vim vince vindicate vine vines violets
visa vise visions visuals vita viva vive vocal vocation vogue void vole vomit vouch vow vows wack wad wade waded wads wafer waft wafts wag
wager waging wags wail wailed wailing wails wait waited waiter waits wake waken wakes waking wal wales walker walling wallow wallowed
walls wally walsh walt walter walters wan wand wander wandering wands wane wanes wang waning wank wankers wanking wanna war warding wards
ware waring warming warms warn warnings warp warping warring wars wart warts wary washer washes washing wasn wasp wast wasted wat watches
waters watery watt watts wave waved waver waving wavy wax waxed waxy ways weakens weaker wean wear weathers weave weaves web wed wedge
wedges weds weeded weeds weedy weekly weeks weensy weeny weep weeping weeps wei welcomed welcomes weld wells welt wen wept weren wert west
wether wets wetter whacks whale wham whats wheat whee whelp whence wherefore wheres wherever whet whew whey whiles whim whine whining whip
whisked whiskers whiskey whisper whit whiten whiter whites whitey whoa whom whop whore whys wick wicket wide widens wider width wield wife
wig wilder wildfires wilds wile wiles willa wills willy wilt wily win winch wind winder winding wine wined wines wing winging wining wink
wiper wipes wired wires wiring wiry wise wised wished wisp wit witch wither wits wives wobbles woe woes wog wogs wok woken womb won
wonders wong wont woo wood woody wool woozy wop word wore works world worm wormy worn worries wort wot wouldn wound wove woven wrack
wrapper wreak wreaking wren wrenched wrest wretches wright wring wringing writ write wrongs wrung wry yam yams yank yanks yap yappy yard
yarn yawn yea yeah yearly yearn years yeas yell yellows yelp yen yens yep yer yes yesterdays yeti yew yield yin yipping yolk yolks yon
yonder yong yore york yours yous yuck yurt zach zany zaps zeal zebras zee zen zeros zest zig zing zip zipping zit zits zone zoned zones
zoo
"""
ENGLISH = frozenset(_WORDS.split())
