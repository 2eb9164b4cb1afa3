"""What a cache tells of itself: counters and health."""
