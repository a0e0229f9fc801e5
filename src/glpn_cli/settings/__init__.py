"""Every choice a user has and every default, each written once.

Standard library only: the command line reads this before it knows whether any work will be done.
"""
