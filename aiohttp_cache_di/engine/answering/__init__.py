"""What the caller gets: answers made from stored entries, and what an answer of the origin says of the cache.

`answers` makes the first (of the user's class where the session has one: `hit_classes`), `describe` keeps the second
true while it turns out whether the response is stored. May import `response` and what is below it.
"""
