"""A bench: encoders x tasks x label fractions x seeds, planned, estimated, run and put into one table."""
