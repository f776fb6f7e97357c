//! Typo synthesis: typos that are never made, typos that always are, and learning of rates.

mod epoch_dataset;
mod rates;
mod real_lists;
mod synthesizer;

use autovalidate::evaluate::{Catalog, HoldOut};
use autovalidate::synthesis::{SlipRates, SynthesisSettings, Synthesizer};
use autovalidate_fakes::demo::catalog;

fn cars() -> Catalog {
    Catalog::new(catalog().into_iter().map(|entry| (entry.domain, entry.name)))
}

fn synthesizer(catalog: Catalog, rates: SlipRates, settings: SynthesisSettings) -> Synthesizer {
    Synthesizer::new(catalog, rates, settings, HoldOut::default())
}
