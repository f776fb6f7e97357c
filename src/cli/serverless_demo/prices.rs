//! Prices of Fly.io, and the machine sizes and disks that they are for.
//!
//! US dollars, from <https://fly.io/docs/about/pricing/> as of October 2026. The numbers are those
//! of `scripts/fly-recipes`, which prints the table of costs in `docs/how-to/fly.md`; a test
//! compares them.

/// Price of one second of a shared core, with a quarter of a GB of memory, in Ashburn.
const SHARED_CORE: f64 = 0.000_000_846_5;
/// Price of one second of a performance core, with 2 GB of memory, in Ashburn.
const PERFORMANCE_CORE: f64 = 0.000_012_732;
/// Price of one second of a further GB of memory, in Ashburn.
const FURTHER_MEMORY: f64 = 0.000_002_316;
/// Prices in Frankfurt, the region of both recipes, as a multiple of those in Ashburn.
const FRANKFURT: f64 = 1.153_846_154;
/// Price of a GB of disk in a month of thirty days.
const DISK: f64 = 0.15;
/// Disk that the image of a stopped machine takes, in GB. An assumption.
const IMAGE_GB: f64 = 0.3;
/// Part of a month of thirty days that a week is.
const WEEK_OF_MONTH: f64 = 7.0 / 30.0;

/// Number of seconds in a week.
pub(super) const WEEK_SECONDS: f64 = 7.0 * 24.0 * 3600.0;

/// Kind of a machine's cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CoreKind {
    /// Cores that other machines use, too.
    Shared,
    /// Cores of its own.
    Performance,
}

/// Size of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MachineSize {
    pub(super) kind: CoreKind,
    pub(super) cores: u32,
    pub(super) memory_gb: f64,
}

impl MachineSize {
    /// Returns the name of the size, such as `performance-2x with 4 GB`.
    pub(super) fn name(self) -> String {
        let kind = match self.kind {
            CoreKind::Shared => "shared-cpu",
            CoreKind::Performance => "performance",
        };
        format!("{kind}-{}x with {} GB", self.cores, self.memory_gb)
    }

    /// Returns the price of one second in Frankfurt.
    pub(super) fn price_per_second(self) -> f64 {
        let (core, included) = match self.kind {
            CoreKind::Shared => (SHARED_CORE, 0.25),
            CoreKind::Performance => (PERFORMANCE_CORE, 2.0),
        };
        let cores = f64::from(self.cores);
        (cores * core + (self.memory_gb - cores * included) * FURTHER_MEMORY) * FRANKFURT
    }
}

/// Returns the price of a week of disk: of volumes, and of the images of stopped machines.
pub(super) fn disk_per_week(volumes_gb: u32, stopped_machines: usize) -> f64 {
    (f64::from(volumes_gb) + stopped_machines as f64 * IMAGE_GB) * DISK * WEEK_OF_MONTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prices_are_those_of_the_page_about_fly() {
        let script = include_str!("../../../scripts/fly-recipes");
        for line in [
            format!(r#""shared-cpu": ({SHARED_CORE}, 0.25), "performance": ({PERFORMANCE_CORE}, 2)"#),
            format!("\nMEMORY = {FURTHER_MEMORY}\n"),
            format!(r#""fra": {FRANKFURT},"#),
            format!("\nDISK = {DISK}\n"),
            format!("\nIMAGE_GB = {IMAGE_GB}\n"),
        ] {
            assert!(script.contains(&line), "scripts/fly-recipes lacks {line:?}");
        }
    }

    #[test]
    fn a_second_costs_as_much_as_on_the_page_about_fly() {
        let size = |kind, cores, memory_gb| MachineSize { kind, cores, memory_gb };
        let price = |size: MachineSize| format!("{:.8}", size.price_per_second());
        assert_eq!(price(size(CoreKind::Performance, 1, 2.0)), "0.00001469");
        assert_eq!(price(size(CoreKind::Performance, 2, 4.0)), "0.00002938");
        assert_eq!(price(size(CoreKind::Shared, 1, 0.25)), "0.00000098");
    }
}
