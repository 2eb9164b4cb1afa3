"""One request's way, from the question to the answer: the one place where policy meets network and store."""
