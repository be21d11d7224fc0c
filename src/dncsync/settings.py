"""Typed configuration, validated once at the door (design section 10).

One TOML file, environment variables `DNCSYNC_...`, and secrets from the environment, a folder or systemd's
credentials. Whatever is wrong with them is one line that says what, where and how to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from dncsync.connector import SystemSettings, UnknownVendor, plugin
from dncsync.model import Role
from dncsync.numbers import is_e164, is_region, parse
from dncsync.redaction import Redactor
from dncsync.settings_problems import first_problem
from dncsync.settings_sources import (
    ConfigError,
    Origins,
    Table,
    from_environment,
    from_secret_files,
    read_toml,
    refuse_literal_secrets,
)

__all__ = ["SYSTEM_NAME", "ConfigError", "Settings", "load"]

SYSTEM_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""Names of systems: part of URLs, of environment variables (upper case, `-` to `_`) and of file names."""
CHECKPOINT_KEY_FILE: Final = "checkpoint.key"
"""Found under this name in the secrets folder or systemd's credentials, it needs no mention in the file."""

_Model = TypeVar("_Model", bound=BaseModel)


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LedgerSettings(Section):
    """Where the record is kept."""

    path: Path = Field(
        default=Path("dncsync.sqlite"), description="The ledger: one SQLite file on a local disk."
    )
    checkpoint_key: Path | None = Field(
        default=None,
        description="Ed25519 private key (PEM) that signs checkpoints. A file checkpoint.key in the secrets "
        "folder or systemd's credentials is found by itself.",
    )


class PolicySettings(Section):
    """Which rules apply."""

    file: Path | None = Field(
        default=None,
        description="The policy file. Without it the shipped defaults apply, as in config/policy.toml.",
    )


def _listen(value: str) -> str:
    try:
        _host_and_port(value)
    except ValueError:
        raise ValueError('use "host:port", e.g. "127.0.0.1:8080" or "[::1]:8080"') from None
    return value


def _host_and_port(value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not host or not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(value)
    if (":" in host) != bracketed or re.search(r"[\s/@\[\]]", host):
        raise ValueError(value)
    return host, int(port)


def _public_url(value: str) -> str:
    url = urlsplit(value)
    if url.username is not None or url.password is not None:
        raise ValueError("leave out the user name and password")
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError('use the address that vendors call, e.g. "https://dnc.example.com"')
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise ValueError("vendors call it over open networks: use https (http on loopback only)")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class WebSettings(Section):
    """The listener for vendors' webhooks."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default="127.0.0.1:8080", description="Address and port; a TLS proxy stands in front of it."
    )
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        default=None,
        description="The address under which vendors reach it, e.g. https://dnc.example.com; they sign it. "
        "Webhooks are then at <public_url>/hooks/<system>.",
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return _host_and_port(self.listen)


class LogSettings(Section):
    """What is written to standard error; numbers are masked and secrets redacted at every level."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level shown."
    )
    format: Literal["json", "console"] = Field(
        default="json", description='"json": one object a line. "console": lines for people.'
    )


class SyncSettings(Section):
    """How the loops work, where that is the operator's choice. What the law leaves open is policy."""

    snapshot_every: float = Field(
        default=24.0, gt=0, le=31 * 24, description="Hours between two full readings of a system."
    )
    contract_every: float = Field(
        default=900.0,
        ge=1,
        le=86_400,
        description="Seconds between two looks at a system's fields, rights and versions.",
    )


_Limit = Annotated[float, Field(gt=0, le=86_400)]


def _own_number(value: str) -> str:
    if not is_e164(value) or parse(value).number is None:
        raise ValueError("a number of your own, with its country code, e.g. +13125550199")
    return value


def _each_role(value: Mapping[Role, float]) -> Mapping[Role, float]:
    """What is left out keeps its default."""
    return {**_CANARY_WITHIN, **value}


_CANARY_WITHIN: Final = {Role.CRM: 900.0, Role.DIALER: 60.0, Role.SMS: 60.0}
"""As the internal goals (REV-05)."""


class CanarySettings(Section):
    """A number of your own that is opted out in one system, awaited in every other, and taken back."""

    numbers: tuple[Annotated[str, AfterValidator(_own_number)], ...] = Field(
        default=(),
        description="Phone numbers that you own and that nobody is called at, each on one test record per "
        "CRM and on no other record. Without one the canary is off.",
    )
    systems: tuple[str, ...] = Field(
        default=(), description="Systems in which it is let fly and awaited; without one, every system."
    )
    every: float = Field(default=24.0, gt=0, le=31 * 24, description="Hours between two rounds.")
    within: Annotated[Mapping[Role, _Limit], AfterValidator(_each_role)] = Field(
        default=_CANARY_WITHIN,
        description="Seconds by kind of system: from the write there until we know of it, and from then "
        "until it is verified there.",
    )


class DriftSettings(Section):
    """How often the ledger is searched for drift. What follows from a finding is policy."""

    check_every: float = Field(
        default=15.0,
        ge=1,
        le=1440,
        description="Minutes between two patrols: silent webhooks, unusual volume, shrunken lists, inverted "
        "flags.",
    )


def _iana_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("an IANA time zone, e.g. America/New_York") from None
    return value


class ReconcileSettings(Section):
    """Comparing every system with the ledger: a little each day, and a report each quarter."""

    full_within_days: int = Field(
        default=3, ge=1, le=31, description="Every holding is compared with its vendor within so many days."
    )
    folder: Path | None = Field(
        default=None,
        description="Where reports are written, each in a folder named after its period. Without it: "
        "beside the ledger, in <ledger>.reports.",
    )
    zone: Annotated[str, AfterValidator(_iana_zone)] = Field(
        default="America/New_York", description="Time zone in which days, weeks and quarters begin."
    )
    on_day: int = Field(
        default=2,
        ge=0,
        le=31,
        description="Day of a quarter on which the last one's report is made by itself; a day on which no "
        "daemon ran is made good at the next start. 0: only by hand.",
    )


class SecretsSettings(Section):
    """Where secrets lie that are not in the environment."""

    folder: Path | None = Field(
        default=None,
        description="One file a secret, named <system>.<field>. Not needed for systemd's credentials.",
    )


def _by_vendor(value: Any) -> Any:
    """The connector of the named vendor says what a system's table may contain."""
    return plugin(value["vendor"]).settings.model_validate(value)


class Settings(BaseSettings):
    """The whole configuration, frozen. Paths are absolute, secrets are `SecretStr`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    secrets: SecretsSettings = Field(default_factory=SecretsSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    logs: LogSettings = Field(default_factory=LogSettings)
    sync: SyncSettings = Field(default_factory=SyncSettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    canary: CanarySettings = Field(default_factory=CanarySettings)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    systems: Mapping[str, Annotated[SystemSettings, BeforeValidator(_by_vendor)]] = Field(
        default_factory=dict, description="By name; each is the settings class of its vendor."
    )

    _source: Path = PrivateAttr(default=Path())

    @property
    def source(self) -> Path:
        """The file that this was read from."""
        return self._source

    @property
    def public_url(self) -> str:
        """What webhook URLs begin with: the configured one, else the listener's own address."""
        return self.web.public_url or f"http://{self.web.listen}"

    def secret_values(self) -> tuple[str, ...]:
        """All secrets in clear: for redaction, and nothing else."""
        return tuple(
            _in_clear(value)
            for system in self.systems.values()
            for _, value in system
            if isinstance(value, SecretStr | SecretBytes)
        )


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Reads, merges and validates: the environment goes before secret files, these before the TOML file.

    `environ`: `DNCSYNC_<SECTION>__<KEY>`, `DNCSYNC_SYSTEMS__<NAME>__<FIELD>` and systemd's
    `CREDENTIALS_DIRECTORY`. Relative paths count from the folder of the file. Reads only. Raises
    `ConfigError`, one line that never shows a secret.
    """
    table = read_toml(path)
    systems = _declared_systems(path, table)
    refuse_literal_secrets(path, table, systems)
    origins = Origins(path)
    variables = from_environment(environ, _sections(), systems, origins)
    folders = _secret_folders(path, environ, variables, table)
    files = from_secret_files(folders, systems, origins)
    try:
        settings = _merged(variables, files, table)
    except ValidationError as error:
        secrets = Redactor(_texts(variables.get("systems")) + _texts(files))
        raise first_problem(error, Settings, systems, origins, secrets) from None
    _check_regions(settings, origins)
    _check_canary(settings, origins)
    return _with_paths(path, settings, folders)


def _sections() -> dict[str, list[str]]:
    """The tables of the file and their keys, `systems` left out."""
    return {
        name: list(field.annotation.model_fields)
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _declared_systems(path: Path, table: Table) -> dict[str, type[SystemSettings]]:
    """The systems of the file, once their names and vendors are known to be good."""
    found: dict[str, type[SystemSettings]] = {}
    systems = table.get("systems", {})
    if not isinstance(systems, Mapping):
        raise ConfigError(path, "systems", "must be a table for each system, e.g. [systems.crm]")
    for name, system in systems.items():
        where = f"systems.{name}"
        if not SYSTEM_NAME.fullmatch(name):
            rule = "begin with a-z, then up to 30 of a-z, 0-9 and -"
            raise ConfigError(path, where, f"not a name for a system: {rule}")
        if not isinstance(system, Mapping):
            raise ConfigError(path, where, f"must be a table: a line [{where}], its keys below")
        vendor = system.get("vendor")
        if not isinstance(vendor, str):
            wrong = "must be text" if "vendor" in system else "is missing"
            raise ConfigError(path, f"{where}.vendor", f'{wrong}, e.g. vendor = "hubspot"')
        try:
            found[name] = plugin(vendor).settings
        except UnknownVendor as error:
            raise ConfigError(path, f"{where}.vendor", str(error)) from None
        except Exception as error:  # whatever a third party's package does when imported
            wrong = f"the connector {vendor!r} cannot be loaded ({type(error).__name__}); install it again"
            raise ConfigError(path, f"{where}.vendor", wrong) from error
    return found


def _secret_folders(path: Path, environ: Mapping[str, str], *tables: Table) -> list[Path]:
    """Where secret files may lie: the configured folder, then systemd's credentials."""
    places: list[Any] = []
    for table in tables:
        section = table.get("secrets")
        if isinstance(section, Mapping) and "folder" in section and not places:
            places.append(section["folder"])
    places.append(environ.get("CREDENTIALS_DIRECTORY"))
    return [_absolute(path, Path(place)) for place in places if place and isinstance(place, str)]


def _merged(*parts: Table) -> Settings:
    """The parts merged table by table, earlier ones first, and validated."""

    class FromSources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(InitSettingsSource(settings_cls, part) for part in parts)

    return FromSources()


def _check_regions(settings: Settings, origins: Origins) -> None:
    for name, system in settings.systems.items():
        if not is_region(system.region):
            key = ("systems", name, "region")
            raise ConfigError(origins.of(key), ".".join(key), 'no country code, e.g. "US", "GB" or "DE"')


def _check_canary(settings: Settings, origins: Origins) -> None:
    unknown = [name for name in settings.canary.systems if name not in settings.systems]
    if unknown:
        key = ("canary", "systems")
        known = ", ".join(sorted(settings.systems)) or "none"
        wrong = f"there is no system {unknown[0]!r}; configured: {known}"
        raise ConfigError(origins.of(key), ".".join(key), wrong)


# --- after validation ------------------------------------------------------------------------------------


def _with_paths(path: Path, settings: Settings, folders: list[Path]) -> Settings:
    """The same with absolute paths; a named policy file must exist, a checkpoint key may be found."""
    sections: Table = {name: _absolute_in(path, getattr(settings, name)) for name in _sections()}
    sections["systems"] = {name: _absolute_in(path, system) for name, system in settings.systems.items()}
    policy = sections["policy"].file
    if policy is not None and not policy.is_file():
        raise ConfigError(path, "policy.file", f"there is no file {policy}")
    if sections["ledger"].checkpoint_key is None:
        keys = [folder / CHECKPOINT_KEY_FILE for folder in folders]
        found = next((key for key in keys if key.is_file()), None)
        sections["ledger"] = sections["ledger"].model_copy(update={"checkpoint_key": found})
    settings = settings.model_copy(update=sections)
    settings._source = path
    return settings


def _absolute_in(path: Path, model: _Model) -> _Model:
    paths = {name: _absolute(path, value) for name, value in model if isinstance(value, Path)}
    return model.model_copy(update=paths)


def _absolute(path: Path, place: Path) -> Path:
    return (path.parent.absolute() / place.expanduser()).absolute()


def _in_clear(secret: SecretStr | SecretBytes) -> str:
    value = secret.get_secret_value()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _texts(table: Any) -> list[str]:
    if isinstance(table, Mapping):
        return [text for value in table.values() for text in _texts(value)]
    return [table] if isinstance(table, str) else []
