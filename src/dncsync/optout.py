"""How an inbound text reads: regulation section 11, for English, with care for everything else.

A wrong "stop" costs one lead, a wrong "go on" up to $1,500 and a person's peace. So what is not plainly
something else leans towards blocking, and what cannot be read blocks until a person has looked.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dncsync.model import OptOutKind

_BLOCKING: Final = (OptOutKind.CONCLUSIVE, OptOutKind.PHRASE, OptOutKind.AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says, and why we think so."""

    kind: OptOutKind
    matched: str
    """The words that decided, normalised; empty when nothing did."""
    reason: str
    """One line for the person who reviews it."""

    @property
    def blocks(self) -> bool:
        """Whether a block is due at once; for `AMBIGUOUS` a provisional one, until somebody reviewed it."""
        return self.kind in _BLOCKING


def classify(text: str, *, reply_to_marketing: bool = False) -> Reading:
    """Reads one inbound message. Never raises; takes time linear in the length of `text`.

    `reply_to_marketing` says that it answers a marketing text: `cancel my 3pm appointment` is ambiguous then.
    START and HELP are words of section 11's class NOT, told apart for the caller. A plain `yes` is START, and
    means it only to a programme that asked.
    """
    if _REACTION(text):
        return Reading(OptOutKind.NOT, "", "a reaction to a message, which it quotes")
    own, quoted = _split_quoted(text)
    if not (key := _words(own)):
        own = own if not _words(quoted) else quoted  # nothing but a quotation: read it, less its footer
        key = _words(own)
    if not key:
        return _read_signs(own)
    if (exact := _read_exactly(key)) is not None:
        return exact
    if _AUTOMATIC(key):
        return Reading(OptOutKind.NOT, "", "an automatic text or a delivery receipt")
    if (told := _SAID_BEFORE.search(key)) is not None:
        return Reading(OptOutKind.PHRASE, told[0], "says that they asked before")
    said = _without_footer(key)
    if not said and _FOOTER.search(key):
        return Reading(OptOutKind.NOT, "", "only the sender's own footer, quoted")
    if not said:
        return Reading(OptOutKind.AMBIGUOUS, key, "looks like a footer, but may be their own words")
    return _read_exactly(said) or _read_freely(own, said, reply_to_marketing)


def _bag(words: str) -> frozenset[str]:
    return frozenset(words.split())


# --- normalising -------------------------------------------------------------------------------------------

_EDGES: Final = ("P", "Z", "Sk", "Sm", "Cc")
_FILLERS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
_APOSTROPHES: Final = re.compile("['`\u00b4\u02bc\u2018\u2019]")
_NO_WORD: Final = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """NFKC, case-folded, no invisible characters, single spaces, no punctuation around. Idempotent."""
    for _ in range(8):  # two or three rounds reach the fixed point; what unfolds may need cutting again
        before = text
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _visible(text)).casefold())
        text = " ".join(text.split())
        start, end = 0, len(text)
        while start < end and unicodedata.category(text[start]).startswith(_EDGES):
            start += 1
        while start < end and unicodedata.category(text[end - 1]).startswith(_EDGES):
            end -= 1
        text = text[start:end]
        if text == before:
            break
    return text


def _visible(text: str) -> str:
    """Without zero-width and format characters, variation selectors, and all but eight marks on a letter.

    More marks than that are noise, and putting a long row of them in order takes quadratic time.
    """
    if text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for c in text:
        marks = marks + 1 if unicodedata.combining(c) else 0
        hidden = unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f" or c in _FILLERS
        if marks <= 8 and not hidden and not "\U000e0000" <= c <= "\U000e0fff":
            kept.append(c)
    return "".join(kept)


def _words(text: str) -> str:
    """The words of a text for matching: normalised, no accents, `don't` as `dont`, single spaces between."""
    text = unicodedata.normalize("NFD", normalise(text))
    text = "".join(c for c in text if c < "\u0300" or unicodedata.category(c) != "Mn")
    return _NO_WORD.sub(" ", _APOSTROPHES.sub("", text)).strip()


# --- quotations and footers --------------------------------------------------------------------------------

_REACTION: Final = re.compile(
    r"\s*(?:liked|loved|laughed at|emphasi[sz]ed|questioned|reacted .{1,20} to|removed an? .{1,20} from)"
    r"\s*[\"'\u2018\u201c\u201d].*[\"'\u2019\u201c\u201d]\s*\Z",
    re.IGNORECASE | re.DOTALL,
).match
_QUOTED_LINE: Final = re.compile(r"\s*[>|]").match
_QUOTED_REST: Final = re.compile(
    r"\s*(?:on\b.{0,200}\bwrote:\s*\Z|-{2,}\s*(?:original|forwarded) message|_{10,}\s*\Z)", re.IGNORECASE
).match

_W: Final = r"(?: \w++)"  # one word more
_KEYWORD: Final = r"(?:stop ?all|stop|end|quit|cancel|unsubscribe|unsub|opt ?out|remove|help|info|start|yes)"
_SEND: Final = (
    r"(?:reply|replying|respond|responding|text|texting|txt|send|sending|type|enter|msg)"
    r"(?: (?:back|with|the|word|keyword|us|to|\d{1,6})){0,4}"
)
_AIM: Final = r"(?:opt ?out|opting out|end|cancel|stop|quit|unsub(?:scribe)?|leave|be removed|discontinue)"
_TAIL: Final = (
    r"(?: (?:receiving|from|of|all|further|future|these|this|any|our|us|the|messages?|texts?|msgs?|alerts?"
    r"|notifications?|offers?|emails?|sms|marketing|promotional|at|time|anytime)\b){0,8}"
)
_FOOTER: Final = re.compile(
    rf"\b(?:{_SEND} {_KEYWORD}(?: (?:or|and) {_KEYWORD})?"
    rf"(?: (?:to|2|4|for) (?:{_AIM}|help|info|more info)\b{_TAIL}| (?:at )?any ?time)"
    rf"|(?:to|2) {_AIM}{_W}{{0,5}} {_SEND} {_KEYWORD}"
    rf"|(?:you (?:can|may) )?{_AIM}{_W}{{0,6}} by {_SEND} {_KEYWORD}"
    rf"|(?:click|tap){_W}{{0,4}} to {_AIM}|sent from my \w+|get outlook for \w+)\b"
)
_SHORT_FOOTER: Final = re.compile(
    rf"\b(?:(?:stop|end|quit) ?(?:to|2|4) ?{_AIM}\b{_TAIL}|stop (?:end|quit)\b)"
)
_AUTOMATIC: Final = re.compile(
    r"network msg|id \w+ sub \d+ dlvrd|delivery (?:receipt|report|status)|im driving with do not disturb"
    r"|auto(?:matic)? ?(?:reply|response)|out of office"
).match


def _split_quoted(text: str) -> tuple[str, str]:
    """The sender's own lines, and those that they quote, the marks taken off."""
    own: list[str] = []
    quoted: list[str] = []
    rest = False
    for line in text.splitlines():
        rest = rest or _QUOTED_REST(line) is not None
        (quoted if rest or _QUOTED_LINE(line) else own).append(line)
    return "\n".join(own), "\n".join(line.lstrip(" \t>|") for line in quoted)


def _without_footer(key: str) -> str:
    """`key` less the instructions that senders append."""
    return " ".join(_SHORT_FOOTER.sub(" ", " ".join(_FOOTER.sub(" ", key).split())).split())


# --- single words ------------------------------------------------------------------------------------------

_STOP_WORDS: Final = _bag("stop quit end revoke cancel unsubscribe optout stopall remove arret td")
_START_WORDS: Final = _bag("start yes unstop subscribe")
_HELP_WORDS: Final = _bag("help info")
_LOOSE: Final = _bag("end td")  # ordinary in a sentence
_NEGATIONS: Final = _bag("not dont never cannot cant wont didnt doesnt")
_GO_ON: Final = ("dont stop", "do not stop")
_SLIPS_OF: Final = tuple(word for word in sorted(_STOP_WORDS) if len(word) >= 4)
_NEIGHBOURS: Final = _bag(
    """
    shop step top spot stoop stow slop atop swop strop stomp sop estop stope suit quite quiet quilt quip
    quid quiz quint quoit cancer chancel cancan remote evoke arrest garret barret caret send and
    """
)
"""Words of their own at one slip from a stop word."""
_INFLECTED: Final = _bag(
    """
    stops stopped stopping quits quitting cancels canceled cancelled canceling cancelling removed
    removes removal remover revoked revokes unsubscribed unsubscribes unsubscribing
    """
)
"""Somebody speaks of stopping, perhaps of something else."""


def _read_exactly(key: str) -> Reading | None:
    """The whole message is a word of a list, however spaced, stretched or repeated."""
    compact = key.replace(" ", "")
    if compact in _START_WORDS:
        return Reading(OptOutKind.START, key, "an opt-in word")
    if compact in _HELP_WORDS:
        return Reading(OptOutKind.HELP, key, "asks for help")
    if key in _GO_ON:
        return Reading(OptOutKind.NOT, key, "asks to go on")
    if compact in _STOP_WORDS:
        return Reading(OptOutKind.CONCLUSIVE, key, "an opt-out word")
    if (plain := re.sub(r"(\w)\1{2,}", r"\1", compact)) in _STOP_WORDS:
        return Reading(OptOutKind.CONCLUSIVE, plain, "an opt-out word, stretched")
    if len(said := set(key.split())) == 1 and said <= _STOP_WORDS:
        return Reading(OptOutKind.CONCLUSIVE, said.pop(), "an opt-out word, repeated")
    return None


def _slip(word: str) -> str | None:
    """The stop word that `word` is a typing slip of, unless it is a word of its own."""
    if not 3 <= len(word) <= 12 or word in _NEIGHBOURS or word in _INFLECTED:
        return None
    return next((stop for stop in _SLIPS_OF if _one_slip(word, stop)), None)


def _one_slip(a: str, b: str) -> bool:
    """Whether the optimal-string-alignment distance is 1: a letter more, less, another, or two swapped."""
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return (len(a) <= 1 and len(b) <= 1) or (len(a) == 2 and a == b[::-1])


# --- free wording ------------------------------------------------------------------------------------------

_SENT: Final = (
    r"(?:texts?|texting|txts?|txting|messages?|messaging|msgs?|calls?|calling|contacts?|contacting|sms|e?mails?"
    r"|emailing|spam|spamming|notifications?|alerts?|reminders?|updates?|promos?|promotions?|offers?|ads"
    r"|marketing|solicit\w*|bother|bothering|harass\w*|pestering|bugging|annoying|send|sending|subscription"
    r"|service)"
)
_MINE: Final = (
    r"(?:number|phone|cell|info|information|name|contact|details|data|email|profile|account|record)"
)
_REQUESTS: Final = (
    # "stop texting me", "discontinue any further texts", "the messages to stop", "this has to stop"
    rf"(?:stop|stopping|quit|cease|discontinue|halt|end|cancel){_W}{{0,3}} {_SENT}",
    rf"{_SENT}{_W}{{0,3}} to (?:stop|end|cease)",
    rf"(?:this|these|it|they|you|{_SENT}){_W}{{0,2}} (?:must|should|(?:needs?|has|have) to) (?:stop|end)",
    r"(?:make|made) (?:it|this|these|them) stop|(?:want|need) \w+ stopped",
    r"(?:please|pls|plz|kindly) (?:stop|quit|end|cancel|unsubscribe|remove)|just stop",
    r"stop (?:it|this|that|these|please|pls|plz|now|immediately|already|at once|asap|everything|doing)",
    # "take me off your list", "remove my number", "asked to be removed"
    r"(?:take|get|pull) (?:me|us|him|her|them|this)(?: \w++)? off",
    rf"(?:take|get|pull) (?:my|our|this) {_MINE}{_W}{{0,2}} off|take off (?:your|the|this) list",
    r"(?:remove|delete|erase|scrub|unlist|unenroll|disenroll) (?:me|us|mine|him|her|them)",
    rf"(?:remove|delete|erase|scrub|lose|trash|forget){_W}? (?:my|our|this|the){_W}{{0,2}} {_MINE}",
    rf"(?:be|been|get|got|me|i|{_MINE}) (?:removed|deleted|erased|unsubscribed|taken off|opted out)",
    r"(?:get|take|let|want)(?: me| us)? out of (?:this|these|your|here|it)|i want out",
    # "i don't want to receive these anymore", "do not call me", "no more calls"
    rf"(?:dont|do not|doesnt|does not|no longer|never){_W}{{0,2}} (?:want|wanna|wish|need|care|like|consent)"
    rf"{_W}{{0,5}} (?:{_SENT}|contacted|called|texted|messaged|bothered|receiv\w+|hear|anymore|any more)",
    r"(?<!\bi )(?<!\byou )(?<!\bwe )(?<!\bthey )(?:dont|do not|never)(?: \w++)?"
    r" (?:call|text|txt|message|msg|contact|send|email|bother|spam|harass|write|phone|ring|bug|solicit)",
    rf"no (?:more|further){_W}{{0,2}} (?:{_SENT}|contact)|^no (?:calls|texts|messages|spam|solicit\w*)",
    rf"(?:put|add|place){_W}{{0,4}} (?:do not|no) (?:call|contact|text)|dnc|^no more$|no mas",
    # by name, or by asking how
    r"opt(?:ed|ing)?(?: me| us| my \w+| this \w+)? out|optout|unsub|unsubscribe|unsubscribing",
    rf"(?:revoke|revoking|withdraw|withdrawing|rescind){_W}{{0,3}} (?:consent|permission|authori[sz]ation)",
    rf"how (?:do|can|to)(?: i| we| you)?{_W}? (?:stop|cancel|unsubscribe|get off|end|turn off)",
    rf"turn off{_W}{{0,2}} {_SENT}|leave (?:me|us) (?:the \w+ )?alone|^go away$",
    r"cease and desist|discontinue|unfollow|deactivate|last warning",
)
_REQUEST: Final = re.compile(
    rf"\b(?P<denied>(?:not|dont|never|cannot|cant|wont) )?(?:{'|'.join(_REQUESTS)})\b"
)
_SAID_BEFORE: Final = re.compile(
    r"\b(?:i|im|we|ive|already|previously)(?: (?:am|have|had|just|already|clearly|keep|kept)){0,2}"
    r" (?:said|say|saying|text|texted|texting|typed|replied|reply|replying|wrote|sent|sending|asked|told"
    rf"|requested){_W}{{0,5}} (?:stop|remove|removed|unsubscribe|unsubscribed|opt out|quit|cancel)\b"
)
_IDIOM: Final = re.compile(
    r"\b(?:(?:bus|truck|train|tram|pit|rest|gas|subway|metro|one|non) stops?(?: shops?)?"
    r"|(?:next|first|last|full) stop(?! (?:\w+ing|calls?|texts?|the|these|this|all|it|me)\b)"
    r"|stop (?:by|in|over|off)(?! (?:calling|texting|sending|messaging|contacting|me)\b)"
    r"|stop (?:at|for|near) (?!(?:once|good|now|ever|all|least)\b)\w+|stop (?:signs?|lights?|watch|loss)"
    r"|(?:cant|cannot|can not|couldnt) stop (?:laughing|crying|smiling|thinking|eating|watching|listening)"
    r"|end of(?: (?:the|this|that|my|your|our|next|each|every))? \w+|(?:week|year|month|dead|high|the) end"
    r"|quit (?:smoking|drinking|my job|school|work)|why dont (?:you|we|i)(?! (?:stop|quit|remove)\b))\b"
)
_APPOINTMENT: Final = re.compile(
    rf"\b(?:cancel|end|stop){_W}{{0,4}} (?:appointment|appt|reservation|booking|meeting|order|visit|flight"
    r"|delivery|class|lesson|session|haircut|interview)\b"
    r"(?! (?:texts?|messages?|reminders?|calls?|updates?|notifications?|alerts?|emails?)\b)"
)
_REFUSAL: Final = re.compile(
    r"^(?:n|no|nope|nah|delete|no thanks?|no thank you|no ty|leave me|leave us)$"
    r"|\b(?:not|no longer|never) int\w*rested\b|\bwrong (?:number|person)\b"
    r"|\bwho (?:is|are|dis|this)\b|\bwhos this\b|\bhave the wrong\b"
    r"|\b(?:how|where) did (?:you|u) get my\b|\bdont know you\b|\b(?:ftc|fcc|lawyer|attorney|lawsuit)\b"
    r"|\b(?:harass\w*|scam\w*|spam\w*|block(?:ed|ing)? (?:me|you|this))\b|\bget lost\b"
    r"|\bwhy (?:are|do|did) (?:you|u)(?: keep)? (?:text|call|messag|contact)\w*\b"
    r"|\b(?:didnt|did not|never) (?:sign|agree|ask|consent|subscribe)(?:e?d)?\b"
    r"|\b(?:dont|do not) (?:want|need|like) (?:this|these|it|any)\b"
)
_SWEARING: Final = re.compile(
    r"(?:f+u+c+k\w*|fck\w*|fk|fu|stfu|gtfo|sh[i1]t\w*|bullshit|ass|asshole\w*|bitch\w*|damn\w*|hell|piss|screw)"
).fullmatch
_WITH_SWEARING: Final = _bag("you u ya off this that it the to go of your all what a")
_STOP_SIGNS: Final = frozenset(
    "\N{RAISED HAND}\N{RAISED HAND WITH FINGERS SPLAYED}\N{RAISED BACK OF HAND}\N{OCTAGONAL SIGN}"
    "\N{NO ENTRY}\N{NO ENTRY SIGN}\N{NO MOBILE PHONES}\N{THUMBS DOWN SIGN}"
    "\N{REVERSED HAND WITH MIDDLE FINGER EXTENDED}"
)
_NON_LATIN: Final = re.compile(r"[^\W\d_a-z\u00c0-\u024f\u1e00-\u1eff]")
_FOREIGN: Final = _bag(
    """
    parar pare alto basta baja cancelar salir sair detener eliminar borrar quiero gracias favor interesa
    numero mensajes llamadas llame llamen dejen deje por para que como esta una los las el je vous plus merci
    pas arretez arreter desabonner stopper nicht keine mehr bitte ich abmelden stoppen aufhoren nao voce
    obrigado quero grazie non annulla
    """
)
_ENGLISH: Final = _bag(
    "the you your i im is it my and of in on what when do are can will ok thanks this to at"
)
_SENTENCE_END: Final = re.compile(r"[.!?,;\n\u3002\uff01\uff1f]+")
_POLITE: Final = _bag("please pls plz now ok okay just thanks it this all immediately")


def _read_freely(own: str, key: str, reply_to_marketing: bool) -> Reading:
    """Own wording: plain requests first, then stop words in any use, then what cannot be read."""
    less, appointments = _APPOINTMENT.subn(" | ", _IDIOM.sub(" | ", key.replace("opt out", "optout")))
    words, count = less.split(), key.count(" ") + 1
    short = count <= 3
    stops = [w for w in words if w in _STOP_WORDS and (w not in _LOOSE or (short and w == "end"))]
    denied = any(a in _NEGATIONS and b in _STOP_WORDS for a, b in pairwise(words))
    asks = any(mark in own for mark in "?\uff1f\u00bf\u061f")
    if stops and short and not asks and not denied:
        return Reading(OptOutKind.CONCLUSIVE, key, "an opt-out word among three words or fewer")
    slips = {word: stop for word in set(words) if (stop := _slip(word)) is not None}
    if slips and count <= 2 and words[0] not in _NEGATIONS:
        return Reading(OptOutKind.CONCLUSIVE, key, f"a typing slip of {' '.join(sorted(slips.values()))}")
    requests = list(_REQUEST.finditer(" ".join(slips.get(word, word) for word in words)))
    for request in requests:
        if not request["denied"]:
            return Reading(OptOutKind.PHRASE, request[0], "a reasonable person reads it as a request to stop")
    for sentence in _SENTENCE_END.split(own):
        said = [word for word in _words(sentence[:80]).split() if word not in _POLITE]
        if len(said) == 1 and said[0] in _STOP_WORDS - _LOOSE:
            return Reading(OptOutKind.PHRASE, said[0], "one sentence of it is an opt-out word")
    if requests:
        return Reading(OptOutKind.AMBIGUOUS, requests[0][0], "a request to stop, but negated")
    if stops or words[0] in _STOP_WORDS:
        return Reading(
            OptOutKind.AMBIGUOUS, (stops or words)[0], "an opt-out word in a sentence of another kind"
        )
    if (doubt := _doubt(own, less)) is not None:
        return doubt
    if appointments and reply_to_marketing:
        return Reading(OptOutKind.AMBIGUOUS, key, "cancels something, in reply to a marketing text")
    return Reading(OptOutKind.NOT, "", "no request to stop")


def _doubt(own: str, less: str) -> Reading | None:
    """Refusals, anger, and languages that we do not read: a person has to look."""
    words = set(less.split())
    if (refusal := _REFUSAL.search(less)) is not None:
        return Reading(OptOutKind.AMBIGUOUS, refusal[0], "a refusal, or somebody who does not know us")
    if inflected := words & _INFLECTED:
        return Reading(OptOutKind.AMBIGUOUS, min(inflected), "speaks of stopping")
    swearing = {word for word in words if _SWEARING(word)}
    if swearing and words <= swearing | _WITH_SWEARING:
        return Reading(OptOutKind.AMBIGUOUS, less, "swearing alone")
    if not _STOP_SIGNS.isdisjoint(own):
        return _read_signs(own)
    foreign = words & _FOREIGN
    if len(_NON_LATIN.findall(less)) * 2 > len(less) - less.count(" "):
        return Reading(OptOutKind.AMBIGUOUS, "", "a script that we do not read")
    if foreign and not words & _ENGLISH and (len(foreign) > 1 or len(words) <= 2):
        return Reading(OptOutKind.AMBIGUOUS, min(foreign), "a language that we do not read")
    return None


def _read_signs(own: str) -> Reading:
    """A message without words: a picture, an emoji, nothing."""
    signs = "".join(sign for sign in own if sign in _STOP_SIGNS)
    if signs:
        return Reading(OptOutKind.AMBIGUOUS, signs, "a sign that means stop or no")
    if any(unicodedata.category(c) == "So" for c in own):
        return Reading(OptOutKind.NOT, "", "an emoji that asks for nothing")
    return Reading(OptOutKind.AMBIGUOUS, "", "no words: an empty message, or a picture")
