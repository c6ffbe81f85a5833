"""Pure rules of reports: a file for each kind of thing."""
