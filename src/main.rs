//! Boots the program.
fn main() {}
