"""The command line: parses, prints, exits. Nothing else in the package does."""
