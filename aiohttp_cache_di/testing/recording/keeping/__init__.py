"""Reading and writing files of recordings.

- `files` reads and writes our own format, and recognises the others; `yaml_data` loads and dumps YAML.
- `foreign` reads VCR cassettes and HAR files.
- `places` opens the file or archive that contains a recording, and the files that it refers to.
- `merging` merges a new recording into an old one, and leaves unchanged exchanges as they were written.

May import `comparing`, `bodies` and `exchanges` beside it, and PyYAML.
"""
