"""What the caller gets: responses made from stored entries, and what a response from the origin says about the cache.

`answers` makes responses from entries, of the user's ``response_class`` if there is one. `describe` gives responses
from the origin the attributes that a hit has, and keeps them true while it turns out whether the response is stored.
May import `response` and what is below it.
"""
