"""The package as a whole: cheap to import, and documented for an admin."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import dncsync_salesforce
from dncsync_salesforce.settings import SalesforceSettings

PACKAGE = Path(dncsync_salesforce.__file__).parent
README = (PACKAGE / "README.md").read_text()


def test_importing_the_plugin_imports_no_sdk() -> None:
    code = (
        "import sys, dncsync_salesforce; dncsync_salesforce.PLUGIN\n"
        "sdks = {'simple_salesforce', 'requests', 'httpx', 'werkzeug', 'jwt'}\n"
        "heavy = sdks & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_readme_explains_every_setting() -> None:
    missing = [
        name for name in SalesforceSettings.model_fields if name != "vendor" and f"`{name}`" not in README
    ]
    assert not missing
    for step in ("External Client App", "Run As", "Modify All", "Read and Edit", "dncsync doctor"):
        assert step in README


def test_the_readmes_configuration_is_valid() -> None:
    block = README.split("```toml")[1].split("```")[0]
    (table,) = tomllib.loads(block)["systems"].values()
    SalesforceSettings.model_validate({**table, "client_secret": "made-up"})


def test_the_readme_says_how_to_remove_the_connector() -> None:
    removal = README.split("## 5. Remove it")[1]
    assert "Delete the External Client App" in removal
    assert "stay, on purpose" in removal
