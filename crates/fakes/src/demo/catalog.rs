//! The names people mean: brands and models of cars.

/// One name of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// `brand` or `model`.
    pub domain: &'static str,
    /// The name as it is spelled, such as `Land Cruiser`.
    pub name: &'static str,
}

/// Every name, brands first; each occurs once, whatever its domain.
pub fn catalog() -> Vec<Entry> {
    include_str!("catalog.csv")
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(domain, name)| Entry { domain, name })
        .collect()
}
