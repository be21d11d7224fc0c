"""The command line: one module per family of commands; heavy imports only where they are used."""
