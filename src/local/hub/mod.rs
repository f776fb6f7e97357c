//! A local Hub that speaks the wire protocol of the real one.
