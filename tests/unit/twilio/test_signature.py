"""X-Twilio-Signature: our code against the vendor sheet's vectors and against Twilio's own package."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import (  # type: ignore[import-untyped]
    RequestValidator,
    get_signature_algorithm,
)

from dncsync_twilio import signature

KEY = "12345"
INBOUND = (
    ("MessageSid", "SM" + "1" * 32),
    ("AccountSid", "AC" + "a" * 32),
    ("MessagingServiceSid", "MG" + "0" * 32),
    ("From", "+15005550006"),
    ("To", "+15005550001"),
    ("Body", "STOP"),
    ("NumMedia", "0"),
    ("OptOutType", "STOP"),
)
CALL = (
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
)
JSON_URL = (
    "https://hooks.example.com/twilio/json"
    "?bodySHA256=93a23971a914e5eacbf0a8d25154cda309c3c1c72fbb9914d47c60f3cb681588"
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text(st.sampled_from("abAB019_é"), min_size=1, max_size=6)
URLS = st.builds(
    "{}://{}{}/{}{}".format,
    st.sampled_from(["https", "http"]),
    st.sampled_from(["hooks.example.com", "127.0.0.1", "a-b.c"]),
    st.sampled_from(["", ":443", ":80", ":8443"]),
    st.sampled_from(["", "twilio/inbound", "a%20b"]),
    st.sampled_from(["", "?x=1&y=%2B2"]),
)


@pytest.mark.parametrize(
    ("url", "params", "algorithm", "expected"),
    [
        ("https://mycompany.com/myapp.php?foo=1&bar=2", CALL, signature.SHA1, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://hooks.example.com/twilio/inbound", INBOUND, signature.SHA1, "xNg0ktmDBCbWU5RSGdnsA9KE6Uo="),
        (
            "https://hooks.example.com/twilio/inbound",
            INBOUND,
            signature.SHA256,
            "H5jnl63t+AYKf6BnwcCTKDYVuZ/50Eoq0Cb9bNJnMXk=",
        ),
        (JSON_URL, (), signature.SHA1, "9Bq24OxqQOylAmalzWAjPjnMFBI="),
    ],
    ids=["voice example", "inbound", "inbound with sha256", "json"],
)
def test_the_vectors_of_the_vendor_sheet(
    url: str, params: tuple[tuple[str, str], ...], algorithm: str, expected: str
) -> None:
    assert signature.sign(KEY, url, params, algorithm) == expected
    assert signature.is_authentic(KEY, [url], params, expected, algorithm)


@given(URLS, st.dictionaries(NAMES, WORDS, max_size=6), st.sampled_from([signature.SHA1, signature.SHA256]))
def test_agrees_with_twilios_own_package(url: str, params: dict[str, str], algorithm: str) -> None:
    theirs = RequestValidator(KEY)
    ours = tuple(params.items())
    assert signature.sign(KEY, url, ours, algorithm) == theirs.compute_signature(url, params, algorithm)
    for form in signature.port_forms(url):
        made = theirs.compute_signature(form, params, algorithm)
        assert theirs.validate(url, params, made, algorithm)
        assert signature.is_authentic(KEY, [url], ours, made, algorithm)


@given(URLS, st.dictionaries(NAMES, WORDS, min_size=1, max_size=4), st.data())
def test_another_value_another_url_or_another_key_never_fits(
    url: str, params: dict[str, str], data: st.DataObject
) -> None:
    good = signature.sign(KEY, url, params.items())
    name = data.draw(st.sampled_from(sorted(params)))
    changed = {**params, name: params[name] + "x"}
    assert not signature.is_authentic(KEY, [url], tuple(changed.items()), good)
    assert not signature.is_authentic(KEY, [url + "x"], tuple(params.items()), good)
    assert not signature.is_authentic("54321", [url], tuple(params.items()), good)
    assert not signature.is_authentic(KEY, [url], tuple(params.items()), good, signature.SHA256)


@pytest.mark.parametrize("signed", ["https://h.example/x", "https://h.example:443/x"])
@pytest.mark.parametrize("seen", ["https://h.example/x", "https://h.example:443/x"])
def test_signed_with_or_without_the_default_port(signed: str, seen: str) -> None:
    made = signature.sign(KEY, signed, CALL)
    assert signature.is_authentic(KEY, [seen], CALL, made)
    assert not signature.is_authentic(KEY, ["https://h.example:444/y"], CALL, made)


def test_repeated_parameters_count_once_in_order() -> None:
    class Several(dict[str, list[str]]):
        def getlist(self, name: str) -> list[str]:
            return self[name]

    doubled = (("b", "2"), ("a", "9"), ("b", "1"), ("b", "2"))
    theirs = RequestValidator(KEY).compute_signature(
        "https://h.example/", Several(b=["2", "1", "2"], a=["9"])
    )
    assert signature.sign(KEY, "https://h.example/", doubled) == theirs


@pytest.mark.parametrize(
    "header",
    ["", "key=k1,algorithm=HMAC_SHA256", "algorithm=hmac_sha256 , key=k1", "key=k1", "key=k1,algorithm="],
)
def test_the_settings_header_reads_as_in_twilios_package(header: str) -> None:
    assert signature.read_settings(header).algorithm == get_signature_algorithm(header).upper()


@pytest.mark.parametrize("algorithm", ["HMAC_SHA512", "HMAC_MD5", "none", "HMAC-SHA256"])
def test_an_unknown_algorithm_fails_closed(algorithm: str) -> None:
    with pytest.raises(signature.UnknownAlgorithm):
        signature.read_settings(f"key=k1,algorithm={algorithm}")


def test_body_hash() -> None:
    assert signature.body_matches(JSON_URL, b'{"hello":"world"}')
    assert not signature.body_matches(JSON_URL, b'{"hello":"World"}')
    assert not signature.body_matches("https://hooks.example.com/twilio/json", b"")
    empty = hashlib.sha256(b"").hexdigest()
    assert signature.body_matches(f"https://h.example/?bodySHA256={empty}", b"")
