"""Drift: a vendor's answer stops meaning what it meant, with no error (design section 7)."""
