"""Where jobs run, and what they share: engines, locks, files."""
