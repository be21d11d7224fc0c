"""The work: taking in what systems say, deciding what they should say, and making it so."""
