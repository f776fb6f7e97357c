//! Names a correction is easily taken for: what hard negatives are drawn from.
//!
//! Names are near by the ratio of their spellings, the same that the serving side's string metric uses. A name is looked up
//! when a pair first needs it, and kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::correction::{Templates, normalize};
use crate::evaluate::{Catalog, FuzzyScorer};
use autovalidate_finetune::train::MOST_HARD_NEGATIVES;

/// Nearest names of a name that its negatives are drawn from: more than most recipes need, so that epochs differ. A recipe
/// takes at most as many.
const NEAREST: usize = MOST_HARD_NEGATIVES;

/// The names of a catalog and who is near whom.
pub struct Neighbors {
    /// Names as training sees them, by domain.
    domains: Vec<Vec<Name>>,
    /// Domain and place of each name, rendered and normalized: a pair may spell it otherwise than the catalog.
    places: HashMap<String, (usize, usize)>,
    /// Places of the nearest names, of those names that were asked for.
    nearest: Mutex<HashMap<(usize, usize), Vec<usize>>>,
}

struct Name {
    /// What ratios are taken of.
    normal: Vec<char>,
    rendered: String,
}

impl Neighbors {
    /// Of the names of a catalog, rendered with `templates`.
    pub fn new(catalog: &Catalog, templates: &Templates) -> Self {
        let of_domain = |(domain, names): (&str, &[String])| {
            let name = |spelled: &String| Name {
                normal: normalize(spelled).chars().collect(),
                rendered: templates.render(domain, spelled),
            };
            names.iter().map(name).collect::<Vec<_>>()
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

    /// `count` of the names nearest to a rendered name, rendered, fewer where there are no more; none of a text that is no
    /// name. The same `random` gives the same names.
    pub fn draw(&self, rendered: &str, count: usize, random: &mut ChaCha8Rng) -> Vec<String> {
        let Some(at @ (domain, _)) = self.places.get(&normalize(rendered)).copied() else {
            return Vec::new();
        };
        let mut known = self.nearest.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = known.entry(at).or_insert_with(|| self.search(at));
        let drawn = nearest.sample(random, count);
        drawn.map(|place| self.domains[domain][*place].rendered.clone()).collect()
    }

    /// Places of the names nearest to one, the nearest first; equally near ones in the order of the catalog.
    fn search(&self, (domain, place): (usize, usize)) -> Vec<usize> {
        let names = &self.domains[domain];
        let asked = &names[place];
        let scorer = FuzzyScorer::new(asked.normal.iter().copied());
        let mut nearest: Vec<(f64, usize)> = Vec::with_capacity(NEAREST + 1);
        for (other, name) in names.iter().enumerate() {
            if other == place || name.rendered == asked.rendered {
                continue;
            }
            let ratio = scorer.ratio(name.normal.iter().copied());
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
        Neighbors::new(&Catalog::new(names), &Templates::default())
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
        assert!(draw(&neighbors, "car model: golff", 3, 1).is_empty(), "a typo has no neighbors");
        assert!(draw(&neighbors, "car brand: Gulf", 3, 1).is_empty(), "it is alone in its domain");
    }

    #[test]
    fn a_seed_says_which_and_an_epoch_has_others() {
        let (one, other) = (cars(20), cars(20));
        let names: Vec<String> = (0..20).map(|number| format!("car model: Zafira {number}")).collect();
        // Whoever was asked for before.
        let drawn = |neighbors: &Neighbors, seed| {
            names.iter().map(|name| draw(neighbors, name, 2, seed)).collect::<Vec<_>>()
        };
        draw(&other, "car model: Passat", 2, 9);
        assert_eq!(drawn(&one, 1), drawn(&other, 1));
        assert_ne!(drawn(&one, 1), drawn(&one, 2));
    }

    #[test]
    fn they_are_the_nearest_of_all_names_by_the_serving_sides_ratio() {
        let mut names: Vec<String> = catalog().into_iter().map(|entry| entry.name.to_owned()).collect();
        names.sort_unstable();
        names.dedup_by_key(|name| normalize(name));
        let all = Catalog::new(names.iter().map(|name| ("car model", name.as_str())));
        let neighbors = Neighbors::new(&all, &Templates::default());
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
