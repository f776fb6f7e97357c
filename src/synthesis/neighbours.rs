//! Names a correction is easily taken for: what hard negatives are drawn from.
//!
//! Names are near by the ratio of their spellings, the same that the serving side's string metric uses. A name is looked up
//! when a pair first needs it, and kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::{IndexedRandom, index};
use rand_chacha::ChaCha8Rng;

use crate::correction::Templates;
use crate::evaluate::{Catalogue, fuzzy_ratio};

/// Nearest names of a name that its negatives are drawn from: more than one needs, so that epochs differ.
const NEAREST: usize = 10;
/// Names that are compared with a name; of a domain with more, so many are drawn, the same each time. Some 2 ms a name.
const COMPARED: usize = 1_000;

/// The names of a catalogue and who is near whom.
pub struct Neighbours {
    /// Names as training sees them, by domain.
    domains: Vec<Vec<Name>>,
    /// Domain and place of each rendered name.
    places: HashMap<String, (usize, usize)>,
    /// Places of the nearest names, of those names that were asked for.
    nearest: Mutex<HashMap<(usize, usize), Vec<usize>>>,
}

struct Name {
    spelled: String,
    rendered: String,
}

impl Neighbours {
    /// Of the names of a catalogue, rendered with `templates`.
    pub fn new(catalogue: &Catalogue, templates: &Templates) -> Self {
        let of_domain = |(domain, names): (&str, &[String])| {
            let name = |spelled: &String| Name {
                spelled: spelled.clone(),
                rendered: templates.render(domain, spelled),
            };
            names.iter().map(name).collect::<Vec<_>>()
        };
        let domains: Vec<Vec<Name>> = catalogue.domains().map(of_domain).collect();
        let mut places = HashMap::new();
        for (domain, names) in domains.iter().enumerate() {
            for (place, name) in names.iter().enumerate() {
                places.entry(name.rendered.clone()).or_insert((domain, place));
            }
        }
        Self { domains, places, nearest: Mutex::default() }
    }

    /// `count` of the names nearest to a rendered name, rendered, fewer where there are no more; none of a text that is no
    /// name. The same `random` gives the same names.
    pub fn draw(&self, rendered: &str, count: usize, random: &mut ChaCha8Rng) -> Vec<String> {
        let Some(at @ (domain, _)) = self.places.get(rendered).copied() else { return Vec::new() };
        let mut known = self.nearest.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = known.entry(at).or_insert_with(|| self.search(at));
        let drawn = nearest.sample(random, count);
        drawn.map(|place| self.domains[domain][*place].rendered.clone()).collect()
    }

    /// Places of the names nearest to one, the nearest first; equally near ones in the order of the catalogue.
    fn search(&self, (domain, place): (usize, usize)) -> Vec<usize> {
        let names = &self.domains[domain];
        let compared = if names.len() <= COMPARED {
            (0..names.len()).collect()
        } else {
            // Seeded by the name's place, so that who is near doesn't depend on who was asked for before.
            let mut random = ChaCha8Rng::seed_from_u64(place as u64);
            index::sample(&mut random, names.len(), COMPARED).into_vec()
        };
        let mut ratios: Vec<(f64, usize)> = compared
            .into_iter()
            .filter(|other| *other != place && names[*other].rendered != names[place].rendered)
            .map(|other| (fuzzy_ratio(&names[place].spelled, &names[other].spelled), other))
            .collect();
        ratios.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        ratios.into_iter().take(NEAREST).map(|(_, other)| other).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(neighbours: &Neighbours, name: &str, count: usize, seed: u64) -> Vec<String> {
        neighbours.draw(name, count, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn cars(more: usize) -> Neighbours {
        let models = ["Golf", "Golf Plus", "Gold", "Passat"].map(str::to_owned).into_iter();
        let models = models.chain((0..more).map(|number| format!("Zafira {number}")));
        let names = models.map(|name| ("car model", name)).chain([("car brand", "Gulf".to_owned())]);
        Neighbours::new(&Catalogue::new(names), &Templates::default())
    }

    #[test]
    fn the_nearest_of_its_own_domain_are_drawn_and_never_itself() {
        let neighbours = cars(20);
        let all = draw(&neighbours, "car model: Golf", 100, 1);
        assert_eq!(all.len(), NEAREST);
        assert!(
            all.contains(&"car model: Gold".to_owned()) && all.contains(&"car model: Golf Plus".to_owned())
        );
        assert!(!all.iter().any(|name| name == "car model: Golf" || name.contains("Gulf")));
        assert!(draw(&neighbours, "car model: golff", 3, 1).is_empty(), "a typo has no neighbours");
        assert!(draw(&neighbours, "car brand: Gulf", 3, 1).is_empty(), "it is alone in its domain");
    }

    #[test]
    fn a_seed_says_which_and_an_epoch_has_others() {
        let (one, other) = (cars(20), cars(20));
        let names: Vec<String> = (0..20).map(|number| format!("car model: Zafira {number}")).collect();
        // Whoever was asked for before.
        let drawn = |neighbours: &Neighbours, seed| {
            names.iter().map(|name| draw(neighbours, name, 2, seed)).collect::<Vec<_>>()
        };
        draw(&other, "car model: Passat", 2, 9);
        assert_eq!(drawn(&one, 1), drawn(&other, 1));
        assert_ne!(drawn(&one, 1), drawn(&one, 2));
    }

    #[test]
    fn of_a_large_domain_some_names_are_compared_always_the_same() {
        let (one, other) = (cars(3 * COMPARED), cars(3 * COMPARED));
        let names = draw(&one, "car model: Zafira 2", NEAREST, 1);
        assert_eq!(names.len(), NEAREST);
        assert_eq!(names, draw(&other, "car model: Zafira 2", NEAREST, 1));
    }
}
