"""Empty: the fixtures that the tests here take come with the package."""
