"""Decide about the origin's response, or about its failure.

`response` decides whether to store it, `not_modified` what a 304 confirms, `failure` what to answer if the origin does
not respond, and `variants` where a response is stored among those of its URL. May import all other parts of the
policy.
"""
