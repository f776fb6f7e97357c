//! Retrieval metrics, hold-out, baselines and the gate. Knows no network.
