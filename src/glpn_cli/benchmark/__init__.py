"""How fast this machine is, stage by stage, and beside other ways to run the same network."""
