"""What the engine needs of Python itself: threads and forks, interrupts, source lines, and other people's numbers."""
