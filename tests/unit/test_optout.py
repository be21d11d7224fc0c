"""Opt-out recognition: every example of regulation section 11, and what holds for any text."""

from __future__ import annotations

import random
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dncsync import optout
from dncsync.model import OptOutKind
from dncsync.optout import Reading, classify, normalise

CONCLUSIVE, PHRASE, AMBIGUOUS = OptOutKind.CONCLUSIVE, OptOutKind.PHRASE, OptOutKind.AMBIGUOUS
START, HELP, NOT = OptOutKind.START, OptOutKind.HELP, OptOutKind.NOT

STOP_WORDS = [
    *("stop", "quit", "end", "revoke", "cancel", "unsubscribe", "opt out", "optout", "opt-out"),
    *("stopall", "stop all", "remove", "arret", "arr\u00eat", "td"),
]


@pytest.mark.parametrize("text", STOP_WORDS)
def test_conclusive_words(text: str) -> None:
    for said in (
        text,
        text.upper(),
        text.title(),
        f" {text}!\n",
        f'"{text}."',
        f"\u201c{text}\u201d",
        f"{text}\ufe0f",
    ):
        assert classify(said).kind is CONCLUSIVE, said


@pytest.mark.parametrize(
    "text",
    [
        *(
            "stop please",
            "STOP PLEASE",
            "please stop",
            "Stop it now",
            "Stop texting me",
            "ok stop",
            "Cancel please",
        ),
        *(
            "END this",
            "remove me",
            "Unsubscribe me pls",
            "no, stop",
            "STOP \U0001f6d1",
            "yes stop",
            "stop now thanks",
        ),
        *(
            "STOP stop STOP stop stop",
            "S T O P",
            "S.T.O.P.",
            "s-t-o-p",
            "STOOOOP",
            "stopppp",
            "un subscribe",
            "opt-out please",
        ),
        "\uff33\uff34\uff2f\uff30",
        "ST\u200bO\u2060P",
        "s\u0336t\u0336o\u0336p\u0336",
        "\U0001d412\U0001d413\U0001d40e\U0001d40f",
        "> STOP",
        "STOP\n\nSent from my iPhone",
        "STOP\nOn Tue, Nov 3, 2026 at 3:04 PM Acme <a@acme.example> wrote:\n> Sale. Reply STOP to opt out",
    ],
)
def test_conclusive_in_three_words_and_in_disguise(text: str) -> None:
    assert classify(text).kind is CONCLUSIVE


@pytest.mark.parametrize(
    "text",
    [
        *("STOPP", "STPO", "SOTP", "STOPO", "UNSUBSRIBE", "UNSUBCRIBE", "UNSUSCRIBE", "CANCLE", "QIUT"),
        *("st0p", "stp", "sstop", "Unsubscibe", "revoek"),
    ],
)
def test_typos_of_one_word(text: str) -> None:
    assert classify(text).kind is CONCLUSIVE
    assert classify(f"{text.lower()} pls").kind is CONCLUSIVE


def test_a_typo_by_a_space() -> None:
    assert classify("STO P").kind is CONCLUSIVE


@pytest.mark.parametrize(
    "text", ["shop", "step", "top", "spot", "send", "and", "Quite", "cancer", "arrest", "remote"]
)
def test_ordinary_words_near_a_stop_word(text: str) -> None:
    assert classify(text).kind is NOT
    assert classify(f"{text} sale").kind is NOT


CORPUS = [
    "take my contact info off please",
    "i want to confirm that i have been removed off your contacts",
    "i asked to be removed from this service a few times. stop the messages",
    "again i want to stop this service thank you",
    "thank you. i'd like my contact info removed",
    "i've changed my mind and don't want to receive these anymore",
    "please do not send any further messages",
    "i don't want these messages anymore. this is your last warning!",
    "i would appreciate if we discontinue any further texts",
    "i would like the text messages to stop can we make this happen",
    *("take me off your list", "don't call me again", "remove my number", "stop calling me"),
    *("i don't want any more calls", "no more calls", "i do not want to be called", "do not call me"),
    *("stop please", "stop all", "STOP!", "stop texting me", "leave me alone", "lose my number"),
    *("delete my number", "no mas", "no m\u00e1s"),
]


@pytest.mark.parametrize("text", CORPUS)
def test_wording_that_courts_called_clear(text: str) -> None:
    for said in (text, text.upper(), text.replace("'", "\u2019"), f"Hi, {text}", f"{text}!!! \U0001f621"):
        reading = classify(said)
        assert reading.kind in (CONCLUSIVE, PHRASE), said
        assert reading.matched
        assert reading.blocks


@pytest.mark.parametrize(
    "text",
    [
        "Can you please stop texting me?",
        "why don't you stop calling me",
        "Stop. I don't know who you are",
        "Who is this? Please stop!!",
        "I said STOP three times already",
        "I text stop to unsubscribe and you still text me",
        "how do i unsubscribe?",
        "how can I get off this list",
        "Please opt me out of these",
        "i revoke my consent to be contacted",
        "put me on your do not call list",
        "pls stpo texting me every day",
        "cancel my appointment reminders",
        "cancel my 3pm appointment and never text me again",
        "Acme: sale! Reply STOP to opt out\nplease take me off this list",
        "never contact this number again",
        "My husband died, please take him off your list",
        "add me to your DNC list",
        "please discontinue",
        "I am replying STOP",
        "first stop texting me",
    ],
)
def test_other_wording_of_a_request(text: str) -> None:
    assert classify(text).kind is PHRASE


@pytest.mark.parametrize(
    "text",
    [
        *(
            "no",
            "No thanks",
            "not interested",
            "leave me",
            "who is this",
            "Wrong number",
            "wrong number buddy",
        ),
        *(
            "fuck you",
            "FUCK OFF",
            "bullshit",
            "\u270b",
            "\u270b\U0001f3fd",
            "\U0001f6d1",
            "\U0001f590\ufe0f",
            "\U0001f44e",
        ),
        *("Should I stop before I sign?", "Can I quit the plan later on?", "you stop?"),
        *("", "   ", "\u200b", "...", "?"),
        *(
            "\u0421\u0422\u041e\u041f",
            "\u0441\u0442\u043e\u043f \u043f\u043e\u0436\u0430\u043b\u0443\u0439\u0441\u0442\u0430",
        ),
        *(
            "\u505c\u6b62",
            "para por favor",
            "quiero cancelar",
            "Bitte nicht mehr",
            "je ne veux plus de messages",
        ),
        *(
            "don't stop texting me",
            "never stop",
            "please do not remove me from the list",
            "do not unsubscribe me",
        ),
        *("please don't delete my number", "hey \U0001f6d1\U0001f6d1"),
        *("stops", "cancelled", "unsubscribed", "i never signed up", "how did you get my number"),
        *("Why do you keep texting me", "is this spam?", "I blocked you", "No longer intrested"),
        *("i may want to stop one day, tell me more", "stop to opt out", "end all of it today"),
    ],
)
def test_ambiguous_blocks_until_reviewed(text: str) -> None:
    reading = classify(text)
    assert reading.kind is AMBIGUOUS
    assert reading.blocks
    assert reading.reason


@pytest.mark.parametrize(
    "text",
    [
        *("don't stop", "Don\u2019t stop!", "do not stop", "can't stop laughing", "stop by tomorrow?"),
        *(
            "when does the sale end",
            "When does the sale end?",
            "end of the week works",
            "cancel my 3pm appointment",
        ),
        *("one stop shop", "bus stop", "non-stop flight", "nonstop", "the weekend", "see you at the weekend"),
        *(
            "ok great",
            "thanks!",
            "\U0001f44d",
            "\U0001f600",
            "I'll take two",
            "Yes please",
            "what time do you open?",
        ),
        *(
            "see you at the bus stop",
            "I will stop at the store",
            "the end",
            "call me tomorrow",
            "my number is 5550199",
        ),
        # T24: STOP in a quoted footer only
        "Reply STOP to opt out",
        "> Acme: 20% off this week! Reply STOP to opt out",
        "see you then\n> Stop texting while driving, says Acme",
        "great, thanks\n> Acme: 20% off. Text STOP to end, HELP for help",
        "Acme: 20% off. Msg&data rates may apply. Reply HELP for help, STOP to cancel. -- which colours?",
        "To stop receiving these messages, reply STOP",
        "You can opt out at any time by texting STOP",
        "Liked \u201cAcme: 20% off! Reply STOP to opt out\u201d",
        'Removed a heart from "Stop texting and start saving. Txt STOP2END"',
        "sounds good\nOn Tue, Nov 3, 2026 at 3:04 PM Acme <news@acme.example> wrote:\nStop calling around!",
        # carriers' automatic texts and receipts
        'NETWORK MSG: You replied with the word "stop" which blocks all texts sent from this number.',
        "id:0a1b sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:DELIVRD err:0 text:stop",
        "I'm driving with Do Not Disturb turned on. I'll see your message when I get where I'm going.",
    ],
)
def test_what_must_not_trigger(text: str) -> None:
    reading = classify(text)
    assert reading.kind is NOT
    assert not reading.blocks


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("START", START),
        ("Yes.", START),
        ("unstop", START),
        ("Subscribe", START),
        ("HELP", HELP),
        ("info?", HELP),
    ],
)
def test_opt_in_and_help_words_are_told_apart_and_do_not_block(text: str, kind: OptOutKind) -> None:
    assert classify(text).kind is kind
    assert not classify(text).blocks


def test_cancelling_an_appointment_is_ambiguous_in_reply_to_marketing() -> None:
    assert classify("cancel my 3pm appointment", reply_to_marketing=True).kind is AMBIGUOUS


def test_a_reading_says_what_decided() -> None:
    assert classify("STOP!") == Reading(CONCLUSIVE, "stop", "an opt-out word")
    assert classify("Pls, do not call me at work").matched == "do not call"


# --- properties ---

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f\u200e\u202c"
AROUND = st.text(" .!,;:'\"\u201c\u201d()[]*_-\u2026\n\t\u00a0?" + ZERO_WIDTH, max_size=5)


@given(st.sampled_from(STOP_WORDS), AROUND, AROUND, st.randoms(use_true_random=False))
@settings(max_examples=500)
def test_case_punctuation_and_invisible_characters_do_not_matter(
    word: str, before: str, after: str, chance: random.Random
) -> None:
    said = "".join(
        (c.upper() if chance.random() < 0.5 else c)
        + (chance.choice(ZERO_WIDTH) if chance.random() < 0.3 else "")
        for c in word
    )
    assert classify(before + said + after).kind is CONCLUSIVE


@given(
    st.sampled_from(STOP_WORDS[:9]),
    st.sampled_from(["please", "now", "me", "thanks", "ok", "all", "\U0001f620"]),
)
def test_a_word_more_never_unblocks(word: str, more: str) -> None:
    assert classify(f"{word} {more}").blocks
    assert classify(f"{more} {word}").blocks


PIECES = [
    *("stop", "dont", "reply", "to", "opt", "out", "text", "me", "end", "i", "cancel", "the"),
    *(">", "\n", "?", "'", ".", "|", "wrote:"),
]
ANY_TEXT = st.one_of(
    st.text(),
    st.lists(st.sampled_from(PIECES)).map(" ".join),
)


@given(ANY_TEXT)
@settings(max_examples=500)
@example("\ud800")
@example("\u0344" * 20)
def test_never_raises_and_always_explains(text: str) -> None:
    reading = classify(text)
    assert reading.reason
    assert reading.blocks is (reading.kind in (CONCLUSIVE, PHRASE, AMBIGUOUS))


@given(ANY_TEXT)
@settings(max_examples=500)
@example("\u0344" * 20 + "a")
@example("\u1e9e\u0130\u0345\u03b9")
def test_normalising_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()
    assert "  " not in once


def test_normalise() -> None:
    assert normalise(" \u201cS\u200bTOP!!\u201d\n") == "stop"
    assert normalise("Don\u2019t\t\tSTOP") == "don\u2019t stop"


@given(st.text("stopquiendarvk", min_size=1, max_size=8), st.text("stopquiendarvk", min_size=1, max_size=8))
@example("stop", "sotp")
@example("stop", "tsop")
@example("abc", "cab")
def test_one_slip_is_an_alignment_distance_of_one(a: str, b: str) -> None:
    assert optout._one_slip(a, b) is (_osa(a, b) == 1)


def _osa(a: str, b: str) -> int:
    table = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost = int(a[i - 1] != b[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + cost)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


HOSTILE = {
    "one word": "a",
    "stop words": "stop ",
    "negations": "dont ",
    "footers": "reply the word to ",
    "half a footer": "to stop reply with ",
    "half a request": "please do not want any more of the ",
    "half a removal": "take me get my contact info ",
    "said before": "i have just told you to ",
    "quotes": "> ",
    "lines": "on \n",
    "a header": "on a ",
    "a reaction": "liked \u201c",
    "dots": "...!?",
    "marks": "\u05b0\u0591",
    "ligatures": "\u3300",
    "hearts": "\u2764\ufe0f\u200d",
    "stretched": "s" * 50 + "t",
    "calls": "text call send ",
    "spaces": " \t\n",
    "appointments": "cancel end stop ",
    "opt": "opt my ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_time_is_linear_in_the_length(piece: str) -> None:
    def seconds(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size] + " x"
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            classify(text)
            best = min(best, time.process_time() - start)
        return best

    # Ten times the length: linear is 10, quadratic is 100. The floor keeps a slow machine's noise out.
    assert seconds(100_000) < 35 * max(seconds(10_000), 0.005)


def test_the_word_lists_do_not_contradict_each_other() -> None:
    assert not optout._NEIGHBOURS & (optout._STOP_WORDS | optout._INFLECTED)
    assert not optout._STOP_WORDS & (optout._START_WORDS | optout._HELP_WORDS)
    assert all(unicodedata.normalize("NFKC", sign) == sign for sign in optout._STOP_SIGNS)
