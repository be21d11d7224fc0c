"""Every rule of the connector contract, over the Salesforce sandbox."""

from __future__ import annotations

from dncsync.testing.conformance import ConformanceSuite, Facts
from dncsync_salesforce import PLUGIN


class TestSalesforce(ConformanceSuite):
    plugin = PLUGIN
    facts = Facts(options={"opted_out_share": 0.3, "page_size": 60})


class TestFullReadsByBulk(ConformanceSuite):
    """The same with Bulk API 2.0 behind full reads, person accounts, an SMS field, one for reasons, and JWT
    log-in."""

    plugin = PLUGIN
    facts = Facts(
        options={
            "opted_out_share": 0.3,
            "person_accounts": True,
            "sms_field": "smagicinteract__SMSOptOut__c",
            "reason_field": "DNC_Reason__c",
            "auth": "jwt",
            "bulk_page_size": 90,
            "page_size": 60,
        },
        config={"bulk_threshold": 40},
    )


class TestEverythingUnconfirmedTheOtherWay(ConformanceSuite):
    """What the vendor sheet does not know for certain, turned round."""

    plugin = PLUGIN
    facts = Facts(
        options={
            "opted_out_share": 0.3,
            "visibility_delay": (0.0, 5.0),
            "sosl_match": "words",
            "bulk": False,
            "page_size": 60,
            "unknown_field_fails": "record",
            "failed_ids": "null",
            "duplicate_result": False,
            "history": False,
            "field_permissions": False,
            "tooling": False,
            "limits_readable": False,
            "per_app_usage": False,
            "instance_url": "https://na139.salesforce.com",
        },
        config={"bulk_threshold": 40},
    )
