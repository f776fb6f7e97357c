//! Tests of a worker that sleeps, is woken, and starts trainers.

mod idle;
mod launcher;
mod signals;
mod tick;
