"""English words one letter away from a word of the lexicon: they are what they are and no slip of the fingers ('train'
is no rain).
"""

from __future__ import annotations

_WORDS = """
abide abort ace acid acre act acts adam addiction additions adds ads affects afterward age aging aid aiding aim ain
alias alike alive allows ally alt altar alto amen amends ant ants apartments ape appeal appeals apple appreciates arab
arc arch aren arena aria arise arm arrow art articles arts ash asked asking asks aspect ass asses ate atop attacked
audition avenge award awe awhile axe backing backs bag bagged bags bail bailed bailing bait bake baking bald ball balls
ban bang banged banging bangs banking banned bar barbed bare barge bark barking barks barn barrel barren base bases
bash bashed bass bat batch bath bathe bats batter bay beach bean beans bear bears beast beat bed beds bee beep beeping
beeps beer bees began begins begun beliefs believed believer believes bell belongs belt ben bend bending bent beside
bet bets bid biker bill billy bind binding bites bitter blacked blank blaring bled bleed bleeding bless blind blog
blond blood bloom blowing blows blues bluff board bob body boeing bold bolt bomb bon bond bonded bonding bonds bone
bones boo book booked booking books boot booth boots borders bore boring boss bosses bottoms bought bound bout bow bows
box brace brag brains brand branded brands breached bread breaking bred brew brian bringing brings brink broad broadway
broke broker brother brothers brown brushed brute buck bucket bud bug bugger bugs bull bully bum bumps bums bunch bunk
burn burner burns burst bury bus bust busy butt butter buy buys cab cable cafe cage cain cake cakes cal calf calling
camel cameo camp camps cancer candle candy cane canned cannon cans cap cape caps card cards cared cares carried carrier
carriers cart carve case cash cashed cat catch catches causes cave cease cell cells cent centers centres chair chances
changed chanting chap charge charges charging charity chat cheat checking checks cheek cheeks chick chile chili chill
chin chipped chips chop chose chow chuckling chunk cia circled circles clam clan clap clarify cleans clears click clip
clock clocked clocks clone closed closer closes closet closing clown clue coast coat coats code coded codes coin coke
cold colorful com coma combines combing comet compete complain complaints completed computer con concerns concert cone
cons considers contract contracts cook cooked cooking cooks cool cop cope coral core cork coroner corrections cos cost
costs couch cough counts county coup courses court cow coward cowards cows crab crabs crack crane crash crashed
creaking created crest cried crimes cripple crop crops cross crow crowds crown crowned crows crude crust cry crying
cube cubs cue cuff cult cunning cup curl currents curry curse cursed curve cute cuts dad dam damages dame danish dared
dares daring dart dashing date days deaf deals dean dearly deaths decade deceased deceived decided decides deck
dedicate dee deed deeds deemed deeper deer defeat defied define defines defy del deleted demand demanding demon den
dent depths deserve deserved desire desires desk detain detained detective dice dick didn die died dies dig digs dime
din dine diner ding dip directions dirt disappears dish disk disposed dive diving dog doggy doll dome don dong donor
doom doors dope dose dot doth doubled doubles dough dove dover downs drain drained draining drank draws dread dreamed
drew drip driven driver drives drove drown drug drugged dry drying dual dub duck duct dudes duel duet dug duke dump duo
dutch duty dwell dye dying dynamics ear early earn earning ears east eat eats eden edged eight elect elected election
electronics elevated emerge emerged emerging emotion emphasis emphasized ends endure enjoys enter epic ere eve evenings
event evil examined exit exits expects expensive expert expose face faced facts faculty fade fades fag fail failing
fails failure fainted fair fake faked faking fall falls fame fan fans fare farm farmer fart farther farts fat fate
father fault favors fax fears feast feat feather fed feds fee fees feet fell fella fellow fend fever fiber fiddle
fields fighter fighting fights figure figured filed filing filling fills filmed films finale finals findings finds
finger fire fired fires firing firm fish fist fit fits five flags flame flames flap flare flashing flattered flavor
flaw fled flee fleet flesh flew flick flies flight flights flint flip flipped flirt float flock flood floors flour flow
flower flowing flown flu flush focuses fold fond font food fool forced forces ford forge forged fork form formal formed
fort fought foul fox framed frank frat freed fries frighten frightened frightening frog frogs froze fry frying fuel fun
fund funding fur furry fuss gag gained gaining gains game gap garage gas gate gather gave gay gaze gazed gear geek gel
gem gen gender gene generals gift gig gill gin glory glove glued goal goat god goddam gods golf goods gore gown grab
grace grad gran granny grass gravy greed greek greet grew grim grin grind grip groom grounds growing grown grows guards
guest guests guided guides gun gunning guns gut guts gutter guy hack hacking hadn hailing hairs hairy hale hall
hallowed halls halt ham handed handing handles handy hang hanging hangs hans hardy harm harry hash hasn hast hat hatch
hated hates hath hating hats haul haunted haven hay head heads heap hear heard hears heart heaven heed heel heels heir
held helps hen herb herbs herd hero hers hid hike hiking hill hip hips hire hiring hissing hitch hits hive hog holds
hole holed holes holly holy home homeless homes homing honesty hoo hood hook hooked hooking hooks hop hoped hopes horse
horses hose host hostage hosts hound hour housed hovering hub hug huh hull hum hump hunch hung hunk hunt hunter hurts
hustle hut ice icon icy ideal identity ifs ignored ill imagine imply increases incredible indicated indicates
individual info initials inn insect insides integrated intends intensity intent ion irony isn isolate issued itch jade
jail jake jam jar jean jeans jerk jet jets jingle jobs joe jog john joins joint joints joy joys jump keen keeps key
kicks kid killed kills kilo kin kinda kinds king kiss kissed kisses kissing kit kite knack knew knight knocks knot
knowing known knows lab labels labs lace lad lads lake lakes lam lamb lame lance land landed landing lands lap laps
laser lash lasted lasting lasts late later law lawful lawn lawyer lawyers lay lazy lea leads leaf leak lean leaned
leaning leans leap learns learnt lease least leather led leg legions legs lend lending lent les lesser lesson lest
letter lever licking lid lie lied lies lifts lightning liked likes lily lima limb limits limo limp linen liner link
linked linking links lip list listed litter lived lively liver lives load loans local located lock locked locking locks
loft log logged logs lone lonely loop loose loot lords loser loses lotta lotus loud loved lover lovers loves loving
luck lucky lumber lump lunch lung lure lured lust macho madame madly maid mail mailed maintains maker makes male males
mall manly manned manor map maps mara mare margin marker market markings married marries marrow marry mary mashed mass
master mat match matches mates math mating matters mature maya mayor maze meal meals measured measures meat medal
medicines meg melting menu mere merger messed messes messing messy met mic mice mid midst mighty mike mile milk mill
min minding minds mine mines ming mini mint miss mission missus mister mit mixing moaning moans mob mode moist mold
mole mom moments mon mood moon mornings moses moss moth mother mothers mount mountain mourning mouse movements movie
movies mow muck mud mule nailed nails name nap nave nearby neat neck needy nerd nest net nets new newer nick niece
nigger nights nine nip nod none noodles noon noose nord norm nose noses note notices notion nude numbers nun nut oath
object odd officer offices offs oil older oliver opens orders ore ounce ours outsider oven owe owes owl owns pace pack
packed packet packing packs pact pad page paging paid pain pains painter paints pairs pal palace pale palms pals pan
pants par park parking parks parted particle party pas pass passes passing passive pasta paste pat patched patent
patients pause paused pawn pay peace peach peak peas pee peed peeing peek peep peeping peg pegged pen penetrated per
performs pets petty photography picked picks pictured pie piece pier pierced pies pig pigs pike pile piles pill pimp
pine ping pinned pins pint pipe pissed pisses pit placed places plague plains plane planet planets planned planning
plans plate plates play player players plea plead pleased pleases plot plug plum pocket pod poet poets pointed pointy
poison poke poker poll polls polo poo pool poop pope pops pork port ports pose poses posh posing pot potion pots pound
pour powered powers praise praised prank pray pre prefers prep presents preserved prevent prey prick printed prints
produce products project prom prone pronounce prop property proposed protects protest provide provides pry pub puff
puke pulls pumps punk pure purity purposes purse pushes puts qualify quarters que quit quote race races racing rack
racket rag rage raid raided raiders raises rally ram ran rang ranger ranges rank ranks ransom rap raping rare rarely
rash rate rating rats raving raw ray reach reader reads ready realm reap rear reasons receive receiver receives
recognized recognizes recon redo reds reduces reef reel refer refined regain regard relief relieve relive remains
remote rent rep repairs replaced requests resent reserve reserves reset resides resolved restored rests results retail
rev revolution rewards rib rice riches ridden riddle ride rides rifle rift rig rightly rights rim rings riot rip ripe
ripping rise rising rite river rivers roam roar roaring rob robot rod role roles roof room roots rope rose rot rotten
round rover rub rude rue rug rum rung runs rush rushed rust rusty ryan sack sacked sacks sad safe sage said sail sailed
sailing sails saint sake sale sally salty sam sample samples san sands sane sang sank sat savage saves saving saw says
scales scalp scam scar scare scared scaring scars scenes scent scored scout scraped scream screens seal sean seas
season seat seconds seduce seduced seed seeds seek seeking seeks segments seize self sells semen sends senior seniors
sense senses sequences serves sets setting seven sever severed sew sewer sewing sewn sex shack shades shady shakes
shalt shame shaped shapes shaping shares sharing shark shatter shave shaved shaving sheep sheer sheet shell shells shi
shin ship shirt shit shits shitting shock shoe shoes shoot shoots shop shops shore shorts shouldn shout shouts shoved
shoving shred shrink shut shuts shutters shy sided sighs sight sights signals signature silk simple sin singing sings
sink sins sip sipping sit site sites sitting six ski skill skills skin slack slain slap slash slave slay sleep slept
sliced slick sling slip slipped slit slot slow slowed slower slowing slows sly smack smacked smell smelly smiles smoked
smokes smug snack snacks snake snaps snoring snuck snuff soaking soap sock sofa soil sold sole solution son song sons
sore sorta sorts sought soul sound sour sow soy spa space span spared spark spat speak speaks spear specially spell
spells spend spends spent spice spies spill spin spit splitting spoke spook spoon sport sports spun spy squared stab
staff stag stake staked stakes stale stalk stalking stall stamped stamps standards star stare stared staring stars
start started starve steak steaks steal steaming steep stem stems stew sticking sticks sticky stiff stink stint stir
stock stocking stocks stoke stomp stone stoned stones stoop stops store stores stormed storms story stranger strangest
strangle strap strapped stray streaming streams strike strikes striking string stripper strips strive struck strung
stud stuffy stun stung sub suck sue sued suggestions suggests suing suite suits sum sums sung sunk superb supper surf
surfaces surge surrounding swamp swan swap swapped swarm sway swear swearing swears sweet sweets swell swim swing swipe
swiped tab table tabs taco tagged tags tail tailing tails tale tales talk talking talks tall tan tank tanks tap tape
tapes taping tapping tar tasks tasty taught tax taxes tea teach team tear tease teen telephoned tells temper ten tend
tens tense tent terror test text thee theirs theme thigh thine thinks thought threat threw thrown throws thug thugs thy
ticket tickle tide tie ties tight tighten tightened tighter tightly till tilt timed timer tin tip tire tires tissue tit
titles toe toes token told toll tom tomb tonnes tony tool tops torch tore torn tough tour touring tow towel towers town
towns toy toys traced track tracks tract trade trail trailing train trained training trains tramp trap trapped tray
treason treats treaty trek tremble trick tricks tries trip tripped tripping troubled troubles truce trunk tuck tune
tuned tunes turf twin tying understands unit united units unity unload unsure untie unto upside urge used user uses
vain valued values valve var vary vase vein veins vent verb verge versions vest vet vic vice videos views vile vince
visa visions vocal void vomit vouch vow vows wade wager wailing wait waited waiter waits wake wakes waking walker walls
wand wander wandering war warming warn warp wars washes washing wasn wasted watches waters wave waved waving wax ways
weaker wear weave web wed wedge weekly weeks weep weeping welcomed wells weren west whale wheat wherever whining whip
whiskey whisper whites whoa whom wide wider width wield wife wig wilt win wind winding wine wing wink wired wires
wiring wise wished witch wits wives woken womb won wonders woo wood wool word wore works world worm worn worries wouldn
wound wrap write yank yard yeah years yell yen yer yes yield yonder york yours zip zone zones zoo
"""
ENGLISH = frozenset(_WORDS.split())
