"""Kits for building and checking connectors, for us and for third parties."""
