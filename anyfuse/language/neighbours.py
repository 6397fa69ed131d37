"""English words one letter away from a word of the lexicon: they are what they are and no slip of the fingers ('train'
is no rain).
"""

from __future__ import annotations

_WORDS = """
ace acre additions adds affects afterward age aid aim ain air alike ally alt altar alto among amounts appeals appear apple arc aren arena
aria arise arm art arts ash aside ask aspect ate atop axe backing backs bag bald ball ban band bank banking banks banned bar bare bark
bars bat bath bay beach bear beast beat bed bee beef beer bees beings bell belt ben bend bent beside bet bid big bill bin binding bite
bits bitter blank blind blond bloom blow blowing blows blues boeing bold bonds bone bones book books boot booth boots borders bore boring
boss bout bow branded brands bread bred brings broad broadway broke brother brown brush buck bud bug bull buried burn burns burst bus
buses bust busy butter buy cab cafe cage cain cake cal call calling cam cameo cameras camp candle cane cap cape caps card cards cared
carrier carriers cart case cash cat cats cause causes cave cell centers centres chance changed changes charge chat chile chin chose cia
clan clearing clock close closing clue codes coin cold combines come cone considerable contain contract contracts cook cooking cop core
cork cost costs couch couldn course cover cow crack crane crest crop crops cross cry crying cult cup curb curse curve cute cuts dad dam
dame damp dare dash date dawn days deaf deals dealt dean deep deer define defines den depths detective didn dig din dive doesn dog dogs
doll dome don dong door dose dot dove dover downs drag drain drained drank drawn draws drew dry dual dub dude duet dug duke duo dust
dynamics ear ears ease east eat eden edged eight elect eliminated emerge emerged emerging emotion emphasis emphasized end enhanced enter
eve event ever faced faculty fade failing fair fake fall fame fan fans fare farm father fault fear feat fed fee feed fell fellow fever
fields fight fighter fighting fights filed fill filling films finale finals finds fire fired fires firing firm fist fit five flag flame
flames flee flies flight flights flint flip flipped flour flow flower flowing flown focuses fold fond food ford fork form fort foul fox
framed freed frightened frog fuel fully fun fund fur gain gained gaining game gas gather gave gaze gazed gear gen gender gene gentle gets
gift gill given gives glared glow goat god goes golf goods gore gown grace gran greek grid grin growing gut hadn hair hale hall halt ham
handed handing handled hands hang hard hardy harm hasn hat hate hated haven hay head heal hear heart heaven heir held hell helps hence
herb hero hers hid hide highways hill him hip hire hit hits holds hole holes holy home homes hood hook hop horse horses host hosts hour
housed hub hug huge hull hunt hut ice icon ideal identity ignored ill improved increases ink integrated ion isn issued jade jet jets jobs
joins joint joy jump keen keeps key kick kid kinds king kit knight knot know knowing labels lace lake lakes lamb lance land landed landing
lands lap late later law lay lazy lea lead lean leaning leans lease leaves led leg legs lesser lesson letter lid lie lies life lifts
lightning liked likes lil lima line lined liner link links lip list live lives load local located lock locks log lone loop loose loser
loses lost lotus love loving luck lumber lung mad main maintains maker makes mall man manor map mara mare margin marker market marking
marks mars mass mat mate matter mature maya meal mean meat meg menu mere merger met mice mid midst mighty mile miles milk mill min minds
mine mines mini mint miss mit mixed mixing mob mode moist mon mood moss most moth mother mount mouse move movements name nave needs nest
net new newer nick niece nights nine nod non none nord norm nose note notion numbers object odd offs often old once onto order ore others
owe owl owns pack pad paid pain pairs pale pan pants par park parked part party passive past pat patterns paused pay peak pen peoples per
performs photography picks pike pile pin pine pipe pit places plan plane planet planets plans plates pleased plot plug poet poets points
poll polo pool pop pope port ports pose possibly pot pour power praise pre preserved print project property protest pub pull pure push
pushes puts quiet quit race races rage raid raiders rail raised raises raising rally ramp ran rang ranger ranges rank rare rarely raw
reach reader reads ready real rear reds reduces regain remains remote rent repairs reserve resides resolved restored results retail rev
revolution rice ride rider rides rights rim ring rip rise rivers roar rod role roles rose rover row rue ruin ruined runs rush sack sad
sadly safe sage sailing sake sale sand sands sat saved saves say says scar scare scars scenes scent sea seal seat seconds seed seeds seek
seeks seem sees segments sell send senior sense sensors sent sequences serves sets seven shade shakes shame shape share sharing shark shed
shell shi shin shirt shoe shoes shoot shoots shop shops shore shorts shouldn shout showed showing shown shut shy sick sided sides sigh
sight signature simple sin sing sings sink sit site sits six size ski skill slick slide slipped slot slow slowed slower smell snake sofa
sold sole song sorry sorts space span spark spear spent spit spoke sport sports spy staff stake stall star stare stark stars stems
sticking sticks stiff stint stock stoke stone stones stop stranger streak streaming streams strike strikes striking string stripped strips
struck sue suite sun surfaces surge swan swear tag takes taking tale talk talking tall tan tank tanks tap tape tasks tax teach tear teen
tell temper ten tend tender tense tent test theme thinks thought threat threw thus tide tie tight tightened tighter tightly tiles till
time tin tiny tip tissue toe toes told ton tonnes tons took tool tops torch tore torn toss tough tour tower town toy traced track tracks
tract trade trailing train trained training tray treaty trek trick tricks tries trip trunk tune tunes turns twin unit united units unity
unsure used user uses var vary vein verb versions vice videos views visa vocal void wait wake waking walker wall wants war ward warn wars
wasn wasted wave wax ways wear week wells went weren west wet whale wheat whites whom why wide width wife wild wildly wind wine wiped wire
wise wish wished witch won wood word wore works world worn wouldn wound wow write year yes yield york yours zone zones zoo
"""
ENGLISH = frozenset(_WORDS.split())
