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
    records().map(|[domain, name, _]| Entry { domain, name }).collect()
}

/// Returns every brand with one of its models, as the rows of an app's catalog.
pub fn cars() -> Vec<(&'static str, &'static str)> {
    records().filter(|[_, _, brand]| !brand.is_empty()).map(|[_, model, brand]| (brand, model)).collect()
}

/// Returns the catalog as an app exports it: the columns `brand` and `model`, and a row for each model and
/// for each brand without one.
pub fn cars_csv() -> String {
    let cars = cars();
    let brands = catalog().into_iter().filter(|entry| entry.domain == "brand").map(|entry| entry.name);
    let without =
        brands.filter(|brand| cars.iter().all(|(other, _)| other != brand)).map(|brand| (brand, ""));
    let rows = cars.iter().copied().chain(without).map(|(brand, model)| format!("{brand},{model}\n"));
    rows.fold("brand,model\n".to_owned(), |csv, row| csv + &row)
}

/// Returns domain, name and, for a model, brand of each line.
fn records() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = include_str!("catalog.csv").lines().skip(1);
    lines.filter_map(|line| line.split(',').collect::<Vec<_>>().try_into().ok())
}
