"""English words one letter away from a word of the lexicon: they are what they are and not a slip ('train' is no rain)."""

ENGLISH = frozenset(
    """
    ace acre addiction additions adds affects afl afterward age ahmad aid aim ain air alike ally alt altar alto among amounts amy ana ann
    appeals appear apple arc aren arena ari aria arise arm art arts ash ashe aside ask aspect ate atop ave avery axe aye bach backing backs
    bag bald ball ban band bank banking banks banned bar bare bark barker bars bat bath bay beach bear beast beat beck bed bee beef beer
    bees beings bell belt ben bend bent beside bet bid big bill bin binding bite bits bitter blacks blank blind blond bloom blow blowing
    blows blues boeing bold bonds bone bones book books boot booth boots borders bore boring boss bout bow branded brands bread bred
    brighton brings broad broadway brock broke brother brown brush buck bud bug bull buried burn burns burst bus buses bust busy butt butter
    buy cab cafe cage cain cake cal call calling cam cameo cameras camp candle cane cao cap cape caps card cards cared carey carr carrier
    carriers cart case cash cat cats cause causes cave cell centers centres chad chan chance chang changed changes charge chat chen chile
    chin chose cia clan clare clearing clock close closing clue cnn codes coin cold combines come con cone considerable contain contract
    contracts cook cooking cop core cork cost costs couch couldn course cover cow crack crane crest crop crops cross cry crying cult cum cup
    curb curse curve cute cuts dad dam dame damp dan dana dare darren das dash date dawn days deaf deals dealt dean death deceased dee deep
    deer define defines dell den depths der detective diaz dick didn die died dies dig din dive doesn dog dogs doll dome don dong door dos
    dose dot dove dover downs drag drain drained drank drawn draws drew dry dual dub dude duet dug duke duo dust dvd dynamics ear ears ease
    east eat eden edged eight elect eliminated emerge emerged emerging emotion emphasis emphasized end enhanced enter est evan evans eve
    event ever evil faced faculty fade failing fair fake fall fame fan fans fare farm fat father fault fear feat fed fee feed fell fellow
    fever fields fight fighter fighting fights filed fill filling films fin finale finals finds finn fire fired fires firing firm fist fit
    five flag flame flames flee flies flight flights flint flip flipped flour flow flower flowing flown focuses fold fond food ford fork
    form fort foul fox framed freed frightened frog fuel fully fun fund fur gain gained gaining game gas gather gave gay gaze gazed gear gen
    gender gene gentle gets gift giles gill given gives glared glow goat god goes golf goods gore gown grace gran greek greene grid grin
    growing gun gut hadn hair hal hale hall halt ham han handed handing handled hands hang hank hard hardy harm harper hasn hat hate hated
    haven hay head heal hear heart heath heaven heir held hell helps hence herb hero hers hid hide highways hill him hip hips hire hit hits
    hiv hms holds hole holes holt holy home homes hon hood hook hop horse horses host hosts hour housed howe hub hug huge hugh huh hull hunt
    hut ian iata ibm ice icon ideal identity ignored ill improved increases indo ink integrated ion isn issued itv ivan jade jess jet jets
    jill jin joan jobs john joins joint jose joy jump jun kane kay keen keeps key kick kid kill kin kinds king kit knight knot know knowing
    labels lace lake lakes lamb lance land landed landing lands lang lap late later law lay lazy lea lead lean leaning leans lease leaves
    led lee leg legs leo les lesser lesson letter lid lie lies life lifts lightning liked likes lil lima lin line lined liner link links lip
    list live lives liz load local located lock locks log lok lone loop loose los loser loses lost lotus lou love lover loving luc luck
    lumber lung lust mac mack mad mae main maintains maker makes male mall man mann manor map mar mara marc mare margin marker market
    marking marks mars marx mass mat mate matter mature maya meal mean meat meg mel menu mere merger met mia mice mick mid midst mighty mile
    miles milk mill min minds mine mines ming mini mint miss mit mixed mixing mob mode moist mon mood moore moss most moth mother mount
    mouse move movements mrs name nash nave neal ned nee needs neil nest net new newer nick niece nights nine nod non none nora nord norm
    nose note notion nov nsw numbers object oct odd offs often old once onto order ore others owe owen owl owns pack pad paid pain pairs
    pale pan pants par park parked parker parsons part party passive past pat patterns paused pay pbs peak pearson pen peoples per performs
    pete photography picks pike pile pin pine pipe pit places plan plane planet planets plans plates pleased plot plug poet poets points
    poll polo pool pop pope port ports pose possibly pot pour power praise pre preserved print project property protest pub pull punk pure
    push pushes puts que quiet quit race races rage raid raiders rail raised raises raising rally ramp ran rang ranger ranges rank rare
    rarely raw reach reader reads ready real rear reds reduces reed regain reid reilly remains remote rent repairs reserve resides resolved
    restored results retail rev revolution rex rey rice ride rider rides rights rim ring rip rise rivers roar rod role roles rose roth rover
    row rue ruin ruined runs rush sack sad sadly safe sage sailing sake sale san sand sands sat saved saves say says scar scare scars scenes
    scent scots sea seal seat sec seconds seed seeds seek seeks seem sees segments sell sen send senior sense sensors sent sequences serie
    serves seth sets seven sex shade shakes shame shane shape share sharing shark shed shell shi shin shirt shit shoe shoes shoot shoots
    shop shops shore shorts shouldn shout showed showing shown shut shy sick sided sides sigh sight signature simple sin sing sings sink sit
    site sits six size ski skill slave slick slide slipped slot slow slowed slower smell snake sofa sold sole song sorry sorts space span
    spark spear spent spit spoke sport sports spy staff stake stall stan star stare stark stars stems sticking sticks stiff stint stock
    stoke stone stones stop stranger streak streaming streams strike strikes striking string stripped strips struck sts suck sue suite sun
    sur surfaces surge swan swear tag tai takes taking tale talk talking tall tan tank tanks tap tape tasks tate tax teach tear teen tell
    temper ten tend tender tense tent test thai theme thigh thinks thought threat threw thus tide tie tight tightened tighter tightly tiles
    till tim time tin tina tiny tip tissue toe toes told ton tonnes tons took tool tops torch tore torn toss tough tour tower town toy
    traced track tracks tract tracy trade trailing train trained training tray treaty trek trent tri trick tricks tries trip troy trunk tune
    tunes turin turner turns twin und unit united units unity unsure usd used user uses uss val var vary vein vera verb versions vic vice
    videos views vii vince visa vocal void wade wait wake waking walker wall walsh walt walter wang wants war ward warn wars wasn wasted
    wave wax ways wear week wells went weren west wet whale wheat whites whom why wide width wife wild wildly wind wine wiped wire wise wish
    wished witch won wong wood word wore works world worn wouldn wound wow wright write yan year yes yield york yours zach zack zane zone
    zones zoo
    """.split()
)  # fmt: skip
