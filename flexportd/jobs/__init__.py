"""Background jobs: definitions, schedule, runs and their results. `expose` uses them through its `JobControl`."""
