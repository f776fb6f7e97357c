//! JetStream: streams, corrections, jobs, runs, the supervised server.
