//! A sentence-transformers folder. Knows no network.
