"""Speed of this machine, stage by stage and compared with other runtimes (`glpn bench`)."""
