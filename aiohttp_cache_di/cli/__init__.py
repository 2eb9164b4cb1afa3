"""Commands for people who run a service: thin consumers of the package."""
