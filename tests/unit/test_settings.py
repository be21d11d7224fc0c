"""Configuration: what loads, and the one line that each mistake gets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from dncsync import connector
from dncsync.connector import Plugin, SystemSettings
from dncsync.settings import ConfigError, Settings, load
from dncsync.settings_template import template

SECRET = "pa55word-of-acme"
EXAMPLE = Path(__file__).parents[2] / "config" / "dncsync.example.toml"


class Flag(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    property: str


class AcmeSettings(SystemSettings):
    vendor: Literal["acme"]
    account: str = Field(pattern=r"^A[0-9]+$", description="Account id, A...")
    token: SecretStr
    second_token: SecretStr | None = None
    key_file: Path | None = None
    lists: tuple[str, ...] = ("MAIN",)
    parallel: int = Field(4, ge=1, le=8)
    flags: Mapping[str, Flag] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _no_echo(self) -> AcmeSettings:
        if self.token.get_secret_value() == "0000-broken":
            raise ValueError(f"token {self.token.get_secret_value()} of +13125550199 is broken")
        return self


class _Entry:
    def __init__(self, loaded: object) -> None:
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture(autouse=True)
def _acme(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real_vendors" in request.fixturenames:
        return
    acme = Plugin("acme", AcmeSettings, lambda settings, context: None, lambda: None)  # type: ignore
    entries = {"acme": _Entry(acme), "torn": _Entry(ImportError("no module named libfoo"))}
    monkeypatch.setattr(connector, "plugins", lambda: entries)


@pytest.fixture
def real_vendors() -> list[str]:
    return sorted(connector.plugins())


SYSTEM = '[systems.crm]\nvendor = "acme"\naccount = "A1"\n'
TOKEN = {"DNCSYNC_SYSTEMS__CRM__TOKEN": SECRET}


def loaded(folder: Path, text: str = SYSTEM, environ: Mapping[str, str] | None = None) -> Settings:
    path = folder / "dncsync.toml"
    path.write_text(text)
    if environ is None:
        environ = TOKEN if "systems.crm]" in text else {}
    return load(path, environ)


def refusal(folder: Path, text: str = SYSTEM, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, environ)
    line = str(caught.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


# --- what loads -------------------------------------------------------------------------------------------


def test_a_system_is_its_vendors_settings_with_the_secret_from_the_environment(tmp_path: Path) -> None:
    crm = loaded(tmp_path).systems["crm"]
    assert isinstance(crm, AcmeSettings)
    assert crm.token.get_secret_value() == SECRET
    assert crm.lists == ("MAIN",)
    assert SECRET not in repr(crm)


def test_an_empty_file_has_defaults_and_paths_beside_the_file(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "", {})
    assert settings.ledger.path == tmp_path / "dncsync.sqlite"
    assert settings.web.address == ("127.0.0.1", 8080)
    assert settings.public_url == "http://127.0.0.1:8080"
    assert settings.systems == {}
    assert settings.source == tmp_path / "dncsync.toml"
    assert settings.secret_values() == ()


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    environ = {
        **TOKEN,
        "DNCSYNC_WEB__LISTEN": "[::1]:9",
        "DNCSYNC_SYSTEMS__CRM__PARALLEL": "2",
        "DNCSYNC_SYSTEMS__CRM__LISTS": '["A", "B"]',
        "DNCSYNC_LOGS__LEVEL": "debug",
    }
    settings = loaded(tmp_path, '[web]\nlisten = "0.0.0.0:80"\n' + SYSTEM, environ)
    assert settings.web.address == ("::1", 9)
    crm = settings.systems["crm"]
    assert isinstance(crm, AcmeSettings)
    assert (crm.parallel, crm.lists, crm.account) == (2, ("A", "B"), "A1")
    assert settings.logs.level == "debug"


def test_variables_of_the_command_line_and_of_others_are_left_alone(tmp_path: Path) -> None:
    environ = {**TOKEN, "DNCSYNC_CONFIG": "x", "DNCSYNC_LEDGER": "/y", "HOME": "/z", "DNCSYNC_DEMO": "1"}
    assert loaded(tmp_path, SYSTEM, environ).ledger.path == tmp_path / "dncsync.sqlite"


def test_a_secret_comes_from_the_folder_then_from_systemd_and_loses_one_line_break(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "credentials").mkdir()
    (tmp_path / "secrets" / "crm.token").write_text(SECRET + "\n")
    (tmp_path / "credentials" / "crm.token").write_text("other-token")
    (tmp_path / "credentials" / "crm.second_token").write_text("--key--\r\nsecond line\r\n")
    (tmp_path / "credentials" / "tls.pem").write_text("somebody else's")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    crm = loaded(tmp_path, '[secrets]\nfolder = "secrets"\n' + SYSTEM, environ).systems["crm"]
    assert isinstance(crm, AcmeSettings)
    assert crm.second_token is not None
    assert crm.token.get_secret_value() == SECRET
    assert crm.second_token.get_secret_value() == "--key--\r\nsecond line"


def test_the_environment_goes_before_a_secret_file(tmp_path: Path) -> None:
    (tmp_path / "crm.token").write_text("from the file")
    environ = {**TOKEN, "DNCSYNC_SECRETS__FOLDER": str(tmp_path)}
    assert loaded(tmp_path, SYSTEM, environ).secret_values() == (SECRET,)


def test_a_dash_in_a_systems_name_is_an_underscore_in_the_environment(tmp_path: Path) -> None:
    text = SYSTEM.replace("systems.crm", "systems.crm-eu-2")
    settings = loaded(tmp_path, text, {"DNCSYNC_SYSTEMS__CRM_EU_2__TOKEN": SECRET})
    assert settings.secret_values() == (SECRET,)


def test_a_name_that_begins_with_another_is_told_apart(tmp_path: Path) -> None:
    text = SYSTEM + SYSTEM.replace("systems.crm", "systems.crm--b")
    environ = {**TOKEN, "DNCSYNC_SYSTEMS__CRM__B__TOKEN": "of-the-other"}
    assert set(loaded(tmp_path, text, environ).secret_values()) == {SECRET, "of-the-other"}


def test_paths_of_a_system_count_from_the_file(tmp_path: Path) -> None:
    crm = loaded(tmp_path, SYSTEM + 'key_file = "keys/jwt.pem"\n').systems["crm"]
    assert isinstance(crm, AcmeSettings)
    assert crm.key_file == tmp_path / "keys" / "jwt.pem"


def test_a_checkpoint_key_among_the_secrets_is_found(tmp_path: Path) -> None:
    key = tmp_path / "checkpoint.key"
    key.write_text("pem")
    assert loaded(tmp_path, "", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).ledger.checkpoint_key == key


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    with pytest.raises(ValidationError):
        settings.web = settings.web
    with pytest.raises(ValidationError):
        settings.web.listen = "x:1"


def test_a_canary_without_a_number_is_off_and_limits_left_out_keep_their_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path).canary.numbers == ()
    canary = loaded(tmp_path, '[canary]\nnumbers = ["+13125550177"]\nwithin = { crm = 60 }\n' + SYSTEM).canary
    assert canary.numbers == ("+13125550177",)
    assert {str(role): seconds for role, seconds in canary.within.items()} == {
        "crm": 60.0,
        "dialer": 60.0,
        "sms": 60.0,
    }


# --- what is refused --------------------------------------------------------------------------------------

MISTAKES: list[tuple[str, str, tuple[str, ...]]] = [
    ("no TOML", "[web\nlisten = 1", ("dncsync.toml", "line 1", "not valid TOML")),
    ("declared twice", SYSTEM + SYSTEM, ("line 4", "twice", "systems")),
    ("nested for ever", "a = " + "[" * 20_000, ("not valid TOML",)),
    ("a number too long", "a = " + "9" * 5_000, ("not valid TOML",)),
    ("unknown table", "[webb]\nx = 1", ("webb: unknown key", "'web'")),
    ("unknown key", '[web]\nlisen = "x"', ("web.lisen: unknown key", "'listen'")),
    ("unknown, nothing near", "[logs]\nzzzzzz = 1", ("logs.zzzzzz: unknown key", "known: format, level")),
    ("unknown key of a system", SYSTEM + "paralell = 1", ("systems.crm.paralell: unknown", "'parallel'")),
    ("unknown inner key", SYSTEM + 'flags.voice.propperty = "x"', ("flags.voice.propperty", "'property'")),
    ("wrong type", SYSTEM + "parallel = [1]", ("systems.crm.parallel: must be a whole number",)),
    ("out of range", SYSTEM + "parallel = 9", ("parallel: must be less than or equal to 8",)),
    ("a number for text", "[web]\nlisten = 8080", ("web.listen: must be text, in quotes",)),
    ("text for a list", SYSTEM + 'lists = "A"', ("systems.crm.lists: must be a list",)),
    ("text for a table", 'web = "x"', ("web: must be a table",)),
    ("bad choice", '[logs]\nlevel = "loud"', ("logs.level: must be 'debug', 'info'",)),
    ("missing key", '[systems.crm]\nvendor = "acme"', ("systems.crm.account: is missing", "Account id")),
    ("pattern", SYSTEM.replace("A1", "B1"), ("systems.crm.account",)),
    ("unknown vendor", '[systems.crm]\nvendor = "acne"', ("crm.vendor: no connector named", "acme")),
    ("no vendor", "[systems.crm]", ("systems.crm.vendor: is missing", 'vendor = "')),
    ("vendor is no text", "[systems.crm]\nvendor = 3", ("systems.crm.vendor: must be text",)),
    ("vendor torn", '[systems.crm]\nvendor = "torn"', ("crm.vendor", "cannot be loaded (ImportError)")),
    ("name upper case", SYSTEM.replace("crm", "Crm"), ("systems.Crm: not a name",)),
    ("name too long", SYSTEM.replace("crm", "c" * 32), ("not a name for a system",)),
    ("name with a line break", SYSTEM.replace("crm", '"c\\nm"'), ("systems.c\\nm: not a name",)),
    ("systems is no table", "systems = 3", ("systems: must be a table",)),
    ("a system is no table", "[systems]\ncrm = 3", ("systems.crm: must be a table",)),
    ("region", SYSTEM + 'region = "XX"', ("systems.crm.region: no country code",)),
    ("listen without port", '[web]\nlisten = "localhost"', ("web.listen", '"host:port"')),
    ("listen port", '[web]\nlisten = "localhost:70000"', ("web.listen", '"host:port"')),
    ("listen bare IPv6", '[web]\nlisten = "::1:80"', ("web.listen", '"[::1]:8080"')),
    ("public URL", '[web]\npublic_url = "dnc.example.com"', ("web.public_url", "https://")),
    ("public URL in clear", '[web]\npublic_url = "http://dnc.example.com"', ("use https",)),
    ("public URL, user", '[web]\npublic_url = "https://me@x.example"', ("leave out the user name",)),
    ("policy file", '[policy]\nfile = "nowhere.yaml"', ("policy.file: there is no file", "nowhere.yaml")),
    ("secrets folder", '[secrets]\nfolder = "nowhere"', ("nowhere", "folder cannot be read: No such file")),
    ("secrets folder type", "[secrets]\nfolder = 3", ("secrets.folder: must be a path",)),
    ("interval", "[sync]\nsnapshot_every = 0", ("sync.snapshot_every: must be greater than 0",)),
    ("canary's number", '[canary]\nnumbers = ["555-0199"]', ("canary.numbers", "country code")),
    ("canary's system", SYSTEM + '[canary]\nsystems = ["crn"]', ("canary.systems: there is no", "crm")),
    ("canary's limit", "[canary]\nwithin = { crm = 0 }", ("canary.within", "greater than 0")),
]


@pytest.mark.parametrize(("text", "words"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_in_the_file_is_one_line_with_place_and_cure(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    line = refusal(tmp_path, text)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SYSTEM + f'token = "{SECRET}"', ("systems.crm.token: a secret has no place", "CRM__TOKEN")),
        (SYSTEM + f'second_token = "{SECRET}"', ("systems.crm.second_token: a secret has no place",)),
        (SYSTEM + f'token.value = "{SECRET}"', ("systems.crm.token: a secret has no place",)),
        (SYSTEM + f'tokn = "{SECRET}"', ("systems.crm.tokn: unknown key", "'token'")),
        (SYSTEM + f'api_key = "{SECRET}"', ("secrets have no place", "second_token, token")),
        (SYSTEM + f'base_url = "https://me:{SECRET}@acme.test"', ("base_url: its value looks like",)),
        (f'[web]\nlisten = "Bearer {SECRET}"', ("web.listen: its value looks like a secret",)),
        (SYSTEM + f'lists = ["-----BEGIN PRIVATE KEY-----{SECRET}"]', ("lists: its value looks like",)),
    ],
)
def test_a_literal_secret_in_the_file_is_refused_and_not_shown(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    line = refusal(tmp_path, text)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, ("dncsync.toml: systems.crm.token: this secret is missing", "CRM__TOKEN", "crm.token")),
        ({"DNCSYNC_SYSTEMS__CRM__TOKEN": " "}, ("CRM__TOKEN", "the secret is empty")),
        ({"DNCSYNC_SYSTEMS__CRM__TOKEN": "abc"}, ("CRM__TOKEN", "shorter than 4")),
        ({**TOKEN, "DNCSYNC_SYSTEMS__CRN__TOKEN": SECRET}, ("CRN__TOKEN", "did you mean 'crm'")),
        ({"DNCSYNC_SYSTEMS__CRM__TOKEM": SECRET}, ("CRM__TOKEM", "did you mean 'token'")),
        ({**TOKEN, "DNCSYNC_SYSTEMS__CRM": SECRET}, ("say which field",)),
        ({**TOKEN, "DNCSYNC_SYSTEMS__CRM__VENDOR": "x"}, ("set in the file only",)),
        ({**TOKEN, "DNCSYNC_SYSTEMS__CRM__LISTS": "A,B"}, ("CRM__LISTS", "use JSON")),
        ({**TOKEN, "DNCSYNC_SYSTEMS__CRM__PARALLEL": SECRET}, ("environment variable", "whole number")),
        ({**TOKEN, "DNCSYNC_WEB__LISTN": "x"}, ("DNCSYNC_WEB__LISTN", "did you mean 'listen'")),
        ({**TOKEN, "DNCSYNC_WEBB__LISTEN": "x"}, ("there is no section 'webb'", "'web'")),
        ({**TOKEN, "DNCSYNC_WEB__LISTEN": "x"}, ("environment variable DNCSYNC_WEB__LISTEN: web.listen",)),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    line = refusal(tmp_path, SYSTEM, environ)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("crm.tokn", b"x", ("crm.tokn", "has no secret 'tokn'", "'token'")),
        ("cmr.token", b"x", ("cmr.token", "no system 'cmr'", "crm.token")),
        ("crm.token", b"\n", ("crm.token", "the secret is empty")),
        ("crm.token", b"\xff\xfe" + SECRET.encode(), ("crm.token", "line 1", "not UTF-8")),
        ("crm.token", b"x" * 2_000_000, ("crm.token", "larger than 1048576 bytes")),
    ],
)
def test_a_mistake_in_a_secret_file_names_the_file(
    tmp_path: Path, name: str, content: bytes, words: tuple[str, ...]
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / name).write_bytes(content)
    line = refusal(tmp_path, '[secrets]\nfolder = "secrets"\n' + SYSTEM)
    for word in words:
        assert word in line


def test_a_vendors_own_check_that_quotes_secret_and_number_is_redacted(tmp_path: Path) -> None:
    line = refusal(tmp_path, SYSTEM, {"DNCSYNC_SYSTEMS__CRM__TOKEN": "0000-broken"})
    assert "0000-broken" not in line
    assert "5550199" not in line
    assert "is broken" in line


@pytest.mark.parametrize(
    ("name", "words"), [("nowhere.toml", "there is no such file"), (".", "cannot be read")]
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path / name, {})


def test_a_path_that_no_system_has_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(Path("a\0b"), {})


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "dncsync.toml"
    path.write_bytes(b"[web]\nlisten = '\xe4'\n")
    with pytest.raises(ConfigError, match=r"line 2: not UTF-8"):
        load(path, {})


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dncsync.toml"
    path.write_bytes(b"\xef\xbb\xbf[logs]\nlevel = 'debug'\n")
    assert load(path, {}).logs.level == "debug"


values: Any = st.recursive(
    st.none().map(lambda _: "") | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
WORDS = ["systems", "crm", "vendor", "acme", "web", "listen", "token", "secrets", "folder", "flags", "x y"]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    return str(value)


@given(
    st.dictionaries(
        st.sampled_from(WORDS),
        values
        | st.dictionaries(st.sampled_from(WORDS), values | st.dictionaries(st.sampled_from(WORDS), values)),
        max_size=4,
    )
)
def test_whatever_stands_in_the_file_it_loads_or_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    text = "\n".join(f"{_toml(k)} = {_toml(v)}" for k, v in table.items())
    path.write_text(text)
    try:
        load(path, TOKEN if "crm" in text else {})
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


# --- the template -----------------------------------------------------------------------------------------


def test_the_example_file_is_the_template_of_our_vendors(real_vendors: list[str]) -> None:
    hint = "run `make example`"
    assert EXAMPLE.read_text() == template(real_vendors), hint


def test_the_example_file_loads_as_it_is(real_vendors: list[str]) -> None:
    assert load(EXAMPLE, {}).systems == {}


def test_every_line_of_the_template_is_toml_when_put_in_force(real_vendors: list[str]) -> None:
    text = re.sub(r"(?m)^#(?! |$)", "", template(real_vendors))
    systems = tomllib.loads(text)["systems"]
    assert sorted(systems) == real_vendors
    for vendor, system in systems.items():
        known = connector.plugin(vendor).settings.model_fields
        assert set(system) <= set(known)


def test_the_template_names_each_secret_and_how_to_supply_it() -> None:
    text = template(["acme"])
    assert "#[systems.acme]" in text
    assert "DNCSYNC_SYSTEMS__ACME__TOKEN or a file acme.token" in " ".join(re.sub(r"\n# ", " ", text).split())
    assert "\n#token" not in text
