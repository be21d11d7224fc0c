"""X-Twilio-Signature, exactly (vendor sheet section 7). Checked in tests against Twilio's own package."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

SIGNATURE_HEADER = "x-twilio-signature"
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"
SHA1, SHA256 = "HMAC_SHA1", "HMAC_SHA256"
_HASHES = {SHA1: "sha1", SHA256: "sha256"}
_DEFAULT_PORTS = {"https": 443, "http": 80}


class UnknownAlgorithm(ValueError):
    """The settings header names an algorithm that we cannot check; it is never guessed."""


@dataclass(frozen=True, slots=True)
class SignatureSettings:
    """What the settings header says. Without the header: the Auth Token and HMAC-SHA1."""

    algorithm: str = SHA1
    key_id: str = ""


def read_settings(header: str) -> SignatureSettings:
    """Parses `key=<id>,algorithm=<name>`. Raises `UnknownAlgorithm`."""
    parts = {
        name.strip(): value.strip()
        for name, _, value in (part.partition("=") for part in reversed(header.split(",")))
    }
    algorithm = parts.get("algorithm", "").upper() or SHA1
    if algorithm not in _HASHES:
        raise UnknownAlgorithm(f"unknown signature algorithm {algorithm[:40]!r}")
    return SignatureSettings(algorithm, parts.get("key", ""))


def sign(key: str, url: str, params: Iterable[tuple[str, str]] = (), algorithm: str = SHA1) -> str:
    """The signature of a call to exactly this URL: names in byte order, each distinct value in order."""
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), _HASHES[algorithm])).decode()


def is_authentic(
    key: str, urls: Sequence[str], params: Sequence[tuple[str, str]], signature: str, algorithm: str = SHA1
) -> bool:
    """Whether the signature fits one of the URLs, each with and without its port; in constant time."""
    good = False
    for url in dict.fromkeys(form for u in urls for form in port_forms(u)):
        expected = sign(key, url, params, algorithm)
        good |= hmac.compare_digest(expected.encode(), signature.encode())
    return good


def port_forms(url: str) -> tuple[str, ...]:
    """The URL as given, without a port, and with the scheme's default port: Twilio's senders differ."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return (url,)
    if port is not None:
        return url, urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
    default = _DEFAULT_PORTS.get(parts.scheme)
    if default is None:
        return (url,)
    return url, urlunsplit(parts._replace(netloc=f"{parts.netloc}:{default}"))


def body_matches(url: str, body: bytes) -> bool:
    """Whether `bodySHA256` in the query is the hash of the raw body; False where it is missing."""
    claimed = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)).get("bodySHA256", "")
    return hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), claimed.encode())
