"""For tests of event-time jobs: a driver without broker, clock or processes."""
