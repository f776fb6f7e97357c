//! The training pairs of a dataset. Their texts are made when they are asked for: of a million pairs, an
//! epoch has a sample.

use crate::correction::normalize;
use crate::row_list::RowList;
use crate::synthesis::PairTable;
use crate::templates::Templates;
use crate::text::compose;
use autovalidate_finetune::train::PairTexts;

/// Training pairs, each distinct pair once, in the order of their inserts.
#[derive(Debug, Clone, Default)]
pub struct TrainingPairs {
    rows: RowList,
    /// Places of the pairs' rows in the list.
    picked: Vec<usize>,
    templates: Templates,
}

impl TrainingPairs {
    /// Returns the pairs of these rows of a list.
    pub(super) fn new(rows: RowList, picked: Vec<usize>, templates: Templates) -> Self {
        Self { rows, picked, templates }
    }

    /// Returns typo and correction of the first pairs, at most `most`.
    pub fn slips(&self, most: usize) -> SlipTexts {
        let mut slips = SlipTexts::default();
        for place in self.picked.iter().take(most) {
            let row = self.rows.row(*place);
            slips.text += &compose(&row.typo);
            let middle = slips.text.len();
            slips.text += &compose(&row.corrected);
            slips.ends.push((middle, slips.text.len()));
        }
        slips
    }
}

/// Typos and corrections, [composed](compose), so that a letter with an accent is one letter. They lie in one
/// piece of memory.
#[derive(Debug, Clone, Default)]
pub struct SlipTexts {
    text: String,
    /// End of each typo and of its correction, in bytes.
    ends: Vec<(usize, usize)>,
}

impl SlipTexts {
    /// Returns each typo with its correction.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = [0].into_iter().chain(self.ends.iter().map(|(_, end)| *end));
        starts
            .zip(&self.ends)
            .map(|(start, (middle, end))| (&self.text[start..*middle], &self.text[*middle..*end]))
    }
}

impl PairTable for TrainingPairs {
    fn len(&self) -> usize {
        self.picked.len()
    }

    fn pair(&self, position: usize) -> PairTexts {
        let row = self.rows.row(self.picked[position]);
        let domain = normalize(&row.domain);
        PairTexts {
            negatives: Vec::new(),
            row: row.id,
            anchor: self.templates.render(&domain, &row.typo),
            positive: self.templates.render(&domain, &compose(&row.corrected)),
        }
    }
}
