//! Offsets of an answer in all three units.

use engine::task::{
    ChoiceAnswer, ClassifyAnswer, EventsAnswer, ExtractAnswer, OffsetUnit, RelateAnswer, SimilarAnswer, Span,
};
use engine::text::OffsetMap;
use std::collections::BTreeMap;

/// An answer of any task, offsets in bytes.
#[derive(Clone, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Extract(ExtractAnswer),
    Events(EventsAnswer),
    Classify(ClassifyAnswer),
    Relate(RelateAnswer),
    Choice(ChoiceAnswer),
    Similar(SimilarAnswer),
}

/// `byte offset -> [bytes, code points, UTF-16 units]` for every offset of an answer.
pub(crate) type Offsets = BTreeMap<usize, [usize; 3]>;

/// The index of a unit in [`Offsets`].
pub(crate) fn index(unit: OffsetUnit) -> usize {
    match unit {
        OffsetUnit::Byte => 0,
        OffsetUnit::CodePoint => 1,
        OffsetUnit::Utf16 => 2,
    }
}

impl Answer {
    fn spans_mut(&mut self) -> (Vec<&mut Span>, Option<&mut OffsetUnit>) {
        match self {
            Answer::Extract(answer) => (answer.spans.iter_mut().collect(), Some(&mut answer.unit)),
            Answer::Relate(answer) => (answer.entities.iter_mut().collect(), Some(&mut answer.unit)),
            Answer::Events(answer) => {
                let spans = answer
                    .events
                    .iter_mut()
                    .flat_map(|event| std::iter::once(&mut event.trigger).chain(event.arguments.iter_mut()));
                (spans.collect(), Some(&mut answer.unit))
            }
            Answer::Classify(_) | Answer::Choice(_) | Answer::Similar(_) => (Vec::new(), None),
        }
    }

    /// Every offset of the answer to `text`, in all units.
    pub fn offsets(&mut self, text: &str) -> Option<Offsets> {
        let map = OffsetMap::new(text);
        let mut offsets = Offsets::new();
        for span in self.spans_mut().0 {
            let occurrences = span.occurrences.iter().flat_map(|o| [o.start, o.end]);
            for byte in [span.start, span.end].into_iter().chain(occurrences) {
                let in_unit = |unit| map.offset(unit, byte);
                offsets.insert(byte, [byte, in_unit(OffsetUnit::CodePoint)?, in_unit(OffsetUnit::Utf16)?]);
            }
        }
        Some(offsets)
    }

    /// The answer as JSON with offsets in `unit`.
    pub fn json(&self, offsets: &Offsets, unit: OffsetUnit) -> serde_json::Result<String> {
        let mut answer = self.clone();
        let (spans, place) = answer.spans_mut();
        let convert = |offset: &mut usize| *offset = offsets.get(offset).map_or(*offset, |all| all[index(unit)]);
        for span in spans {
            convert(&mut span.start);
            convert(&mut span.end);
            for occurrence in &mut span.occurrences {
                convert(&mut occurrence.start);
                convert(&mut occurrence.end);
            }
        }
        if let Some(place) = place {
            *place = unit;
        }
        serde_json::to_string(&answer)
    }
}
