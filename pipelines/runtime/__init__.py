"""The runtime of jobs: engines, locks, progress."""
