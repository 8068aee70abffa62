//! Any document, made to fit a format, is the same after writing and reading.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use biomistral_nlu_formats::convert::{Format, Losses, fit, parse, print};
use biomistral_nlu_formats::{Argument, Document, Event, Mention, Problems, Relation, Unit, brat};
use proptest::prelude::*;

/// Characters of one to four bytes, of one and two UTF-16 units, and all that the formats give a meaning.
const TEXT: &str = "[a-c \n\r\t|;:,<>&\"'é\u{301}😀日\u{85}]{1,40}";
const NAME: &str = "[A-Ca-c:_ <&\"-]{1,6}";

prop_compose! {
    fn document()(
        text in TEXT,
        places in prop::collection::vec((0usize..40, 1usize..8, 0usize..6, 1usize..4), 0..6),
        labels in prop::collection::vec(NAME, 6),
        events in prop::collection::vec((0usize..6, prop::collection::vec((NAME, 0usize..8), 0..3)), 0..3),
        relations in prop::collection::vec((any::<bool>(), "(Arg1|head|)", 0usize..8, 0usize..8), 0..3),
        attributes in prop::collection::vec((NAME, "[a-c ,]{0,3}"), 0..3),
        class in prop::option::of(NAME),
        cut in 0usize..40,
    ) -> Document {
        let at = |n: usize| text.char_indices().map(|(i, _)| i).chain([text.len()]).nth(n.min(text.chars().count())).unwrap();
        let mut document = Document::new("d1", text.clone());
        for (i, &(start, length, gap, second)) in places.iter().enumerate() {
            let (a, b) = (at(start), at(start + length));
            let (c, d) = (at(start + length + gap), at(start + length + gap + second));
            // A mention that is white space alone has no text in some formats.
            if text[a..b].trim().is_empty() {
                continue;
            }
            let mut mention = Mention::new(format!("T{}", document.mentions.len() + 1), labels[i].clone(), a..b);
            if gap > 1 && c < d && !text[c..d].trim().is_empty() {
                mention.places.push(c..d);
            }
            if i == 0 {
                mention.attributes.clone_from(&attributes);
                mention.concepts = vec!["C1".to_owned(), "X:2".to_owned()];
            }
            document.mentions.push(mention);
        }
        let count = document.mentions.len();
        let target = |n: usize| format!("T{}", n % count.max(1) + 1);
        for (i, (trigger, arguments)) in events.into_iter().enumerate().filter(|_| count > 0) {
            let argument = |(role, n): (String, usize)| Argument { role, target: target(n) };
            document.events.push(Event {
                id: format!("E{}", i + 1), label: "x".to_owned(), trigger: target(trigger),
                arguments: arguments.into_iter().map(argument).collect(), attributes: attributes.clone(),
            });
        }
        for (i, (of_concepts, role, a, b)) in relations.into_iter().enumerate().filter(|_| count > 0) {
            let end = |n: usize| if of_concepts { format!("C{n}") } else { target(n) };
            let argument = |n: usize| Argument { role: role.clone(), target: end(n) };
            document.relations.push(Relation {
                id: format!("R{}", i + 1), label: "y".to_owned(), arguments: vec![argument(a), argument(b)],
                of_concepts, attributes: attributes.clone(),
            });
        }
        document.classes.extend(class);
        let cut = at(cut);
        document.parts = vec![0..cut, cut..text.len()];
        document
    }
}

proptest! {
    #[test]
    fn what_fits_is_kept(document in document(), unit in prop::sample::select(vec![Unit::Byte, Unit::CodePoint, Unit::Utf16])) {
        for format in Format::ALL {
            let (mut fitted, mut losses) = (document.clone(), Losses::new());
            fit(format, &mut fitted, &mut losses);
            // What fits already loses nothing more.
            let mut again = Losses::new();
            let mut twice = fitted.clone();
            fit(format, &mut twice, &mut again);
            again.remove("parts of the text");
            prop_assert!(again.is_empty(), "{format:?}: {again:?}");
            prop_assert!(losses.values().sum::<usize>() > 0 || fitted.mentions.len() == document.mentions.len());

            let mut problems = Problems::default();
            let back = if format == Format::Brat {
                let ann = brat::write(&fitted).unwrap();
                vec![brat::read(&fitted.id, &fitted.text, &[("d1.ann", &ann)], &mut problems)]
            } else {
                let printed = print(format, std::slice::from_ref(&fitted), unit).unwrap();
                parse(format, "f", &printed, &mut problems)
            };
            prop_assert!(problems.0.is_empty(), "{format:?}: {:?}", problems.0);
            prop_assert_eq!(&back, &vec![fitted], "{:?}", format);
        }
    }
}
