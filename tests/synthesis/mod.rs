//! Typo synthesis: what is never made, what always is, and whether rates are learned.

mod epoch_dataset;
mod rates;
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
