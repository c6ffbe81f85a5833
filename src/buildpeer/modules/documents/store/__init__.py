"""SQL of documents: a file for each kind of thing, one function for each statement."""
