"""The sandbox against the fact sheet: answers word for word, order of checks, size."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from dncsync.clock import VirtualClock
from dncsync.model import Flag
from dncsync_vicidial.sandbox import VicidialSandbox
from integration.vicidial.world import World

Make = Callable[..., World]
LOGIN = {"user": "dncsync", "pass": "Kx7-sandbox_Pw", "source": "test"}


def ask(world: World, **fields: str) -> httpx.Response:
    with httpx.Client(transport=world.sandbox.transport(), base_url="http://dialer.test") as client:
        return client.post("/vicidial/non_agent_api.php", data=fields)


def say(world: World, function: str, **fields: str) -> str:
    response = ask(world, **(LOGIN | {"function": function} | fields))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return response.text


def page(world: World, query: str, password: str = LOGIN["pass"]) -> httpx.Response:
    with httpx.Client(transport=world.sandbox.transport(), base_url="http://dialer.test") as client:
        return client.get(f"/vicidial/list_download.php?{query}", auth=("dncsync", password))


def test_the_version_needs_no_login_and_has_a_fixed_shape(world: World) -> None:
    body = ask(world, function="version").text

    assert re.fullmatch(
        r"VERSION: [^|]+\|BUILD: \d{6}-\d{4}\|DATE: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\|EPOCH: \d{10}\|"
        r"DST: [01]\|TZ: -5\.00\|TZNOW: -[45]\|\n",
        body,
    )


def test_checks_come_in_the_order_of_the_program(world: World) -> None:
    """Login, then source, then function rights, then user rights, then fields, then the work."""
    user = world.sandbox.users.by_name["dncsync"]
    user.rights.clear()
    world.sandbox.site.allowed_functions = ("check_phone_number",)
    call = {"function": "add_dnc_phone", "phone_number": "12", "campaign_id": "SALES"}

    assert ask(world, function="coffee").status_code == 418
    assert ask(world, **call, user="dncsync").text.startswith("ERROR: Login incorrect")
    assert ask(world, **call, user=LOGIN["user"], **{"pass": LOGIN["pass"]}).text == (
        "ERROR: Invalid Source - \nERROR: Invalid Source: ||\n"
    )
    assert say(world, **call) == (
        "ERROR: auth dncsync DOES NOT HAVE PERMISSION TO USE THIS FUNCTION: |dncsync|add_dnc_phone|\n"
    )
    world.sandbox.site.allowed_functions = ("ALL_FUNCTIONS",)
    assert say(world, **call) == (
        "ERROR: add_dnc_phone USER DOES NOT HAVE PERMISSION TO ADD DNC NUMBERS: |dncsync|0\n"
    )
    user.rights.add("modify_lists")
    assert say(world, **call) == (
        "ERROR: add_dnc_phone YOU MUST USE ALL REQUIRED FIELDS: |dncsync|12|SALES\n"
    )
    assert say(world, **(call | {"phone_number": "3125550100"})) == (
        "SUCCESS: add_dnc_phone DNC NUMBER HAS BEEN ADDED - dncsync|3125550100|SALES\n"
    )
    assert say(world, "no_such_function") == "ERROR: NO FUNCTION SPECIFIED\n"


def test_dnc_answers_word_for_word(world: World) -> None:
    entry = {"phone_number": "+1 (312) 555-0100", "campaign_id": "SYSTEM_INTERNAL"}
    said = "dncsync|13125550100|SYSTEM_INTERNAL\n"

    assert say(world, "add_dnc_phone", **entry).endswith(f"ADDED - {said}")
    assert say(world, "add_dnc_phone", **entry) == (
        f"ERROR: add_dnc_phone DNC NUMBER ALREADY EXISTS: |{said}"
    )
    assert say(world, "delete_dnc_phone", **entry) == (
        f"SUCCESS: delete_dnc_phone DNC NUMBER HAS BEEN DELETED - {said}"
    )
    assert say(world, "delete_dnc_phone", **entry) == (
        f"ERROR: delete_dnc_phone DNC NUMBER DOES NOT EXIST: |{said}"
    )


def test_check_answers_word_for_word(world: World) -> None:
    world.sandbox.store.add("SYSTEM_INTERNAL", "3125550100")
    world.sandbox.store.add("SALES", "3125550100")
    world.sandbox.store.add("SYSTEM_INTERNAL", "201XXXXXXX")
    both = {"dnc_check": "Y", "campaign_dnc_check": "Y", "campaign_id": "SALES"}

    def check(phone: str, **fields: str) -> str:
        return say(
            world, "check_phone_number", phone_number=phone, **({"local_call_time": "24hours"} | fields)
        )

    assert check("3125550100", **both) == (
        "ERROR: check_phone_number PHONE NUMBER IN DNC - 3125550100|dncsync\n"
    )
    assert check("3125550100", campaign_dnc_check="Y", campaign_id="SALES") == (
        "ERROR: check_phone_number PHONE NUMBER IN CAMPAIGN DNC - 3125550100|SALES|dncsync\n"
    )
    clean = "AREACODE: 1|-5.00#PHONE: {}|1||||\n"
    assert check("3125550100") == clean.format("3125550100")  # no dnc_check: a clean-looking answer
    assert check("2015550100", dnc_check="Y") == clean.format("2015550100")
    assert check("2015550100", dnc_check="AREACODE").startswith(
        "ERROR: check_phone_number PHONE NUMBER IN DNC"
    )
    assert check("12") == "ERROR: check_phone_number INVALID PHONE NUMBER LENGTH - 12|dncsync\n"
    assert check("3125550100", local_call_time="", call_time="24hours") == (
        "ERROR: check_phone_number THIS IS NOT A VALID CALL TIME: |dncsync||\n"
    )


def test_values_are_cut_to_their_columns(world: World) -> None:
    world.sandbox.store.add("SYSTEM_INTERNAL", "3125550100,3125550101")
    assert world.sandbox.store.rows("SYSTEM_INTERNAL") == ["3125550100,3125550"]

    assert say(world, "add_dnc_phone", phone_number="3125550100", campaign_id="LONGCAMPAIGN").startswith(
        "SUCCESS"
    )
    assert world.sandbox.store.lists_with("3125550100") == ["LONGCAMP"]
    world.sandbox.site.strict_mysql = True
    say(world, "add_dnc_phone", phone_number="3125550101", campaign_id="LONGCAMPAIGN")
    assert world.sandbox.store.lists_with("3125550101") == []


def test_a_password_with_odd_characters_can_never_match(world: World) -> None:
    world.sandbox.users.by_name["dncsync"].password = "pass!word"

    assert ask(world, **(LOGIN | {"pass": "pass!word", "function": "x"})).text == (
        "ERROR: Login incorrect, please try again: |dncsync|password|BAD|\n"
    )


def test_the_list_page_word_for_word(make_world: Make) -> None:
    world = make_world()
    world.sandbox.store.add("SALES", "3125550100")

    answer = page(world, "download_type=dnc&group_id=SALES")
    assert answer.content == b"phone_number\r\n3125550100\r\n"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="DNC_SALES_20261123-150000.txt"'
    assert page(world, "download_type=systemdnc").text == (
        "There are no phone numbers in list: SYSTEM INTERNAL DNC\n"
    )
    assert page(world, "download_type=dnc&group_id=NOPE").text == (
        "You are not allowed to download this list: NOPE\n"
    )
    bad = page(world, "download_type=systemdnc", "nonsense")
    assert bad.status_code == 401
    assert bad.headers["www-authenticate"] == 'Basic realm="CONTACT-CENTER-ADMIN"'
    assert bad.text == "Login incorrect, please try again: |dncsync|nonsense|BAD|\n"


def test_the_same_seed_is_the_same_world() -> None:
    worlds = [VicidialSandbox(seed=seed, contacts=500, clock=VirtualClock()) for seed in (3, 3, 4)]
    rows = [sandbox.store.rows("SYSTEM_INTERNAL") for sandbox in worlds]

    assert rows[0] == rows[1] != rows[2]
    assert worlds[0].truth(worlds[0].numbers(50)[49])[0].flag is Flag.SET


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="unknown options replica_lagg"):
        VicidialSandbox(replica_lagg=1)


def test_a_million_leads_are_held_and_listed_in_full(make_world: Make) -> None:
    world = make_world(contacts=1_000_000, opted_out_share=0.02, country_code_share=0.0)

    assert len(world.snapshot()) == 20_000
    assert world.calls() == 1
    assert len(world.sandbox.store.leads(world.sandbox.numbers(1000)[999][2:])) >= 1
