//! Car names and typos for the demo.
