//! Typo synthesis: what is never made, what always is, and whether rates are learned.

mod lessons;
mod rates;
mod synthesiser;

use autovalidate::evaluate::{Catalogue, HoldOut};
use autovalidate::synthesis::{SlipRates, SynthesisSettings, Synthesiser};
use autovalidate_fakes::demo::catalogue;

fn cars() -> Catalogue {
    Catalogue::new(catalogue().into_iter().map(|entry| (entry.domain, entry.name)))
}

fn synthesiser(catalogue: Catalogue, rates: SlipRates, settings: SynthesisSettings) -> Synthesiser {
    Synthesiser::new(catalogue, rates, settings, HoldOut::default())
}
