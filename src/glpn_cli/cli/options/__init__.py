"""The options of the command line, each written once, by what the user talks about; commands pick from them.

A module has the group of its options, if there is one: a dataclass that a command takes whole.
"""
