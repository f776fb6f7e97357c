//! Training of one model. Knows no network.
