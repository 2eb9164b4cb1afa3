"""What to do with what the origin answers, or with its failure.

`response` stores it, uses it on what is stored, or hands it on; `not_modified` says what a 304 confirms, `failure` what
to answer when the origin does not, and `variants` where a response goes among those of its URL. May import all other
parts of the policy.
"""
