"""Recordings as files.

`files` reads and writes our own form, in YAML, and tells which form a file has; `yaml_data` is its loader. `foreign`
reads VCR cassettes and HAR files. `places` finds the file or archive that a recording is in, and what lies beside it;
`merging` keeps what has not changed of an old recording as it is. May import `comparing`, `bodies` and
`exchanges` beside it, and PyYAML.
"""
