"""What a Twilio sandbox can be told to be; all that the vendor sheet calls UNCONFIRMED is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dncsync_twilio import signature

OPTIONS: Mapping[str, Any] = {
    "opted_out_share": 0.02,  # of the seeded contacts
    "services": 1,  # messaging services at the start, one number each
    "numbers": 0,  # numbers outside a service
    "toll_free": 0,  # toll-free numbers outside a service
    "short_codes": 0,  # short codes outside a service: no keywords, no blocks
    "advanced_opt_out": True,  # OptOutType in webhooks of services
    "words": {},  # custom words of Advanced Opt-Out, e.g. {"BASTA": "STOP"}
    "list_lag": 1.0,  # seconds before a message is listed
    "webhook_algorithm": signature.SHA1,  # HMAC_SHA256: signed with a shared key, with the settings header
    "with_api_key": False,  # calls other than consents are made with an API key
    "webhook_port": False,  # sign the URL with its default port
    # UNCONFIRMED in the vendor sheet (section 12); each value occurs in tests
    "consent_api": "enabled",  # "disabled": the account has no access,
    "disabled_status": 403,  # and is told so with this status
    "api_key_on_consents": True,  # False: 401 for API keys there
    "bad_form_status": 400,  # for no Items, too many, or an Item that is no JSON
    "consent_blocks_sends": True,  # an API-written opt-out makes sends fail with 21610
    "start_clears_api": True,  # a START clears an API-written opt-out
    "sender_level_blocks": True,  # a consent for a number inside a service blocks sends from it
    "async_status": "failed",  # or "undelivered": how a blocked send by service ends,
    "async_delay": 2.0,  # seconds later,
    "async_date_sent": True,  # with (or without) a date_sent
    "sync_logged": False,  # a synchronous 400 leaves a row in the log
    "retry_after": None,  # seconds in a Retry-After header of a 429
    "webhook_retries": True,  # False: a webhook that is not taken is lost
}
