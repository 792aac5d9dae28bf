"""Tables in, statistics and figures out: knows arrays and tables only, never a network."""
