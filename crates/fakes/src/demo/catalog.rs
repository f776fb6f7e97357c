//! The demo's catalog: brands and models of cars.

/// One name of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// `brand` or `model`.
    pub domain: &'static str,
    /// Correct spelling of the name, such as `Land Cruiser`.
    pub name: &'static str,
}

/// Returns every name, brands first. A name occurs only once, even across domains.
pub fn catalog() -> Vec<Entry> {
    include_str!("catalog.csv")
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(domain, name)| Entry { domain, name })
        .collect()
}
