"""dncsync: a consumer says stop in one system; every other system stops, and the ledger proves it."""

__version__ = "0.1.0"
