//! The figures: pure functions of counts, sums and pairs of numbers.
//!
//! | file | what it settles |
//! |---|---|
//! | `f1` | counts of labels and places: precision, recall, F1 in every form, accuracy |
//! | `correlation` | Pearson and Spearman |
//! | `bootstrap` | intervals by drawing documents, paired differences |
//! | `calibration` | whether probabilities are shares: ECE, Brier, reliability; what abstaining buys |

mod bootstrap;
mod calibration;
mod correlation;
mod f1;

pub use bootstrap::{Paired, RESAMPLES, bootstrap, paired, summed};
pub use calibration::{Bin, Calibration, Curve, abstention, brier, calibration};
pub use correlation::{pearson_of_sums, pearson_sums, spearman};
pub use f1::{Counts, bag_overlap, example, example_f1, macro_f1, micro_f1, ratio, word_counts};
