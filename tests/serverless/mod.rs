//! Tests of a worker that sleeps, is woken, and starts trainers.

mod idle;
mod signals;
mod tick;
