//! Tests of `hub`.
