//! Names similar to a correction, from which hard negatives are drawn.
//!
//! The similarity of two names is the ratio of their spellings, the same ratio that the serving
//! side's string metric uses. The neighbors of a name are searched when a pair first needs them,
//! and cached.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::correction::normalize;
use crate::evaluate::{Catalog, FuzzyName, FuzzyQuery, FuzzyRule};
use crate::templates::Templates;
use autovalidate_finetune::train::ranges::MOST_HARD_NEGATIVES;

/// Number of nearest names from which the negatives of a name are drawn. It is more than most
/// recipes need, so that epochs differ, and it is the maximum a recipe may ask for.
const NEAREST: usize = MOST_HARD_NEGATIVES;

/// Names of a catalog, with the nearest neighbors of each.
pub struct Neighbors {
    /// Rendered names, by domain.
    domains: Vec<Vec<Name>>,
    /// Domain and position of each name. The key is rendered and normalized, because a pair may
    /// spell the name differently than the catalog.
    places: HashMap<String, (usize, usize)>,
    /// Positions of the nearest names, for each name that was searched.
    nearest: Mutex<HashMap<(usize, usize), Vec<usize>>>,
}

struct Name {
    compared: FuzzyName,
    spelled: String,
    rendered: String,
}

impl Neighbors {
    /// Prepares the names of a catalog, rendered with `templates`. A name for which `is_left_out` returns
    /// true, given its domain, is never drawn.
    pub fn new(catalog: &Catalog, templates: &Templates, is_left_out: impl Fn(&str, &str) -> bool) -> Self {
        let of_domain = |(domain, names): (&str, &[String])| {
            let name = |spelled: &String| Name {
                compared: FuzzyName::new(spelled, FuzzyRule::default()),
                spelled: spelled.clone(),
                rendered: templates.render(domain, spelled),
            };
            names.iter().filter(|name| !is_left_out(domain, name)).map(name).collect::<Vec<_>>()
        };
        let domains: Vec<Vec<Name>> = catalog.domains().map(of_domain).collect();
        let mut places = HashMap::new();
        for (domain, names) in domains.iter().enumerate() {
            for (place, name) in names.iter().enumerate() {
                places.entry(normalize(&name.rendered)).or_insert((domain, place));
            }
        }
        Self { domains, places, nearest: Mutex::default() }
    }

    /// Draws `count` of the names nearest to a rendered name, and returns them rendered. Returns
    /// fewer names when fewer exist, and none when `rendered` is not a name. The same `random`
    /// draws the same names.
    pub fn draw(&self, rendered: &str, count: usize, random: &mut ChaCha8Rng) -> Vec<String> {
        let Some(at @ (domain, _)) = self.places.get(&normalize(rendered)).copied() else {
            return Vec::new();
        };
        let mut known = self.nearest.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = known.entry(at).or_insert_with(|| self.search(at));
        let drawn = nearest.sample(random, count);
        drawn.map(|place| self.domains[domain][*place].rendered.clone()).collect()
    }

    /// Finds the positions of the names nearest to one name, nearest first. Names with equal ratios
    /// come in catalog order.
    fn search(&self, (domain, place): (usize, usize)) -> Vec<usize> {
        let names = &self.domains[domain];
        let asked = &names[place];
        let scorer = FuzzyQuery::new(&asked.spelled, FuzzyRule::default());
        let mut nearest: Vec<(f64, usize)> = Vec::with_capacity(NEAREST + 1);
        for (other, name) in names.iter().enumerate() {
            if other == place || name.rendered == asked.rendered {
                continue;
            }
            let ratio = scorer.ratio(&name.compared);
            nearest.insert(nearest.partition_point(|(nearer, _)| *nearer >= ratio), (ratio, other));
            nearest.truncate(NEAREST);
        }
        nearest.into_iter().map(|(_, other)| other).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::evaluate::fuzzy_ratio;
    use autovalidate_fakes::demo::catalog;

    fn draw(neighbors: &Neighbors, name: &str, count: usize, seed: u64) -> Vec<String> {
        neighbors.draw(name, count, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn cars(more: usize) -> Neighbors {
        let models = ["Golf", "Golf Plus", "Gold", "Passat"].map(str::to_owned).into_iter();
        let models = models.chain((0..more).map(|number| format!("Zafira {number}")));
        let names = models.map(|name| ("car model", name)).chain([("car brand", "Gulf".to_owned())]);
        Neighbors::new(&Catalog::new(names), &Templates::default(), |_, _| false)
    }

    #[test]
    fn the_nearest_of_its_own_domain_are_drawn_and_never_itself() {
        let neighbors = cars(20);
        let all = draw(&neighbors, "car model: Golf", 100, 1);
        assert_eq!(all.len(), NEAREST);
        assert!(
            all.contains(&"car model: Gold".to_owned()) && all.contains(&"car model: Golf Plus".to_owned())
        );
        assert!(!all.iter().any(|name| name == "car model: Golf" || name.contains("Gulf")));
        assert!(draw(&neighbors, "car model: golff", 3, 1).is_empty(), "a typo is not a name");
        assert!(draw(&neighbors, "car brand: Gulf", 3, 1).is_empty(), "the only name of its domain");
    }

    #[test]
    fn a_seed_says_which_and_an_epoch_has_others() {
        let (one, other) = (cars(20), cars(20));
        let names: Vec<String> = (0..20).map(|number| format!("car model: Zafira {number}")).collect();
        // The result must not depend on earlier searches.
        let drawn = |neighbors: &Neighbors, seed| {
            names.iter().map(|name| draw(neighbors, name, 2, seed)).collect::<Vec<_>>()
        };
        draw(&other, "car model: Passat", 2, 9);
        assert_eq!(drawn(&one, 1), drawn(&other, 1));
        assert_ne!(drawn(&one, 1), drawn(&one, 2));
    }

    #[test]
    fn they_are_the_nearest_of_all_names_by_the_backends_ratio() {
        let mut names: Vec<String> = catalog().into_iter().map(|entry| entry.name.to_owned()).collect();
        names.sort_unstable();
        names.dedup_by_key(|name| normalize(name));
        let all = Catalog::new(names.iter().map(|name| ("car model", name.as_str())));
        let neighbors = Neighbors::new(&all, &Templates::default(), |_, _| false);
        for name in &names {
            let rendered = format!("car model: {name}");
            let mut ratios: Vec<f64> =
                names.iter().filter(|other| *other != name).map(|other| fuzzy_ratio(name, other)).collect();
            ratios.sort_by(|one, other| other.total_cmp(one));
            let drawn = draw(&neighbors, &rendered, NEAREST, 1);
            let mut ours: Vec<f64> =
                drawn.iter().map(|other| fuzzy_ratio(name, &other["car model: ".len()..])).collect();
            ours.sort_by(|one, other| other.total_cmp(one));
            assert_eq!(ours, ratios[..NEAREST], "{name}");
        }
    }

    #[test]
    fn a_pair_that_spells_its_correction_otherwise_has_the_same() {
        let neighbors = cars(20);
        let of = |text| draw(&neighbors, text, NEAREST, 1);
        assert_eq!(of("car model: GOLF"), of("car model: Golf"));
        assert!(!of("car model: GOLF").contains(&"car model: Golf".to_owned()));
    }
}
