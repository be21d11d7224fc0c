"""The ledger: what was known, asked and done, appended only, and proved."""
