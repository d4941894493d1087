"""Input from strangers, made up: shared by these tests (seconds) and `benchmarks.fuzz` (minutes)."""
