//! Verbs whose answers are posteriors over given options: classify, answer, entail, similar.

use super::{Answers, Definition, Task, choice_rules};
use crate::args::{Answer, Classify, Entail, Similar};
use crate::input::Document as Line;
use crate::stop::{Result, Stop};
use biomistral_nlu::task::{
    AnswerRequest, ChoiceAnswer, ClassifyAnswer, ClassifyRequest, Document, EntailRequest, Inference, Question,
    RunOptions, Session, SimilarAnswer, SimilarRequest, TextPair,
};

/// `bmn classify`
pub struct ClassifyTask {
    definition: Definition,
    base: ClassifyRequest,
}

impl ClassifyTask {
    /// From flags.
    pub fn new(args: &Classify) -> Result<Self> {
        let definition = Definition::new(args.run.schema.as_deref(), &[], &args.options, &[])?;
        let base = ClassifyRequest {
            question: args.question.clone(),
            classes: Vec::new(),
            multi: args.multi,
            choice: choice_rules(&args.choice),
        };
        Ok(ClassifyTask { definition, base })
    }

    fn of(&self, definition: &Definition, question: Option<&str>) -> Option<ClassifyRequest> {
        let classes = definition.schema.classes.clone();
        let question = question.map(str::to_owned).or_else(|| self.base.question.clone());
        (!classes.is_empty()).then(|| ClassifyRequest { classes, question, ..self.base.clone() })
    }
}

impl Task for ClassifyTask {
    type Request = ClassifyRequest;
    type Item = Document;
    type Answer = ClassifyAnswer;

    fn request(&self) -> Option<ClassifyRequest> {
        self.of(&self.definition, None)
    }

    fn own_request(&self, line: &Line) -> std::result::Result<Option<ClassifyRequest>, String> {
        let question = line.string("question")?;
        Ok(match (self.definition.with(line)?, question) {
            (None, None) => None,
            (own, question) => self.of(own.as_ref().unwrap_or(&self.definition), question),
        })
    }

    fn item(&self, line: &Line) -> std::result::Result<Document, String> {
        Ok(Document { id: String::new(), text: line.required("text")?.to_owned() })
    }

    fn ask(
        session: &mut Session,
        items: &[Document],
        request: &ClassifyRequest,
        run: &RunOptions<'_>,
    ) -> Answers<ClassifyAnswer> {
        session.classify(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no options: expected --options, --schema with \"classes\", or \"options\" in the line"
    }
}

/// `bmn answer`
pub struct AnswerTask {
    base: AnswerRequest,
}

impl AnswerTask {
    /// From flags.
    pub fn new(args: &Answer) -> Self {
        let choice = choice_rules(&args.choice);
        AnswerTask { base: AnswerRequest { question: args.question.clone(), options: args.options.clone(), choice } }
    }
}

impl Task for AnswerTask {
    type Request = AnswerRequest;
    type Item = Question;
    type Answer = ChoiceAnswer;

    fn request(&self) -> Option<AnswerRequest> {
        Some(self.base.clone())
    }

    fn own_request(&self, _: &Line) -> std::result::Result<Option<AnswerRequest>, String> {
        Ok(None)
    }

    fn item(&self, line: &Line) -> std::result::Result<Question, String> {
        let question = line.string("question")?.map(str::to_owned);
        let options = line.strings("options")?.unwrap_or_default();
        if question.is_none() && self.base.question.is_none() {
            return Err("no question: expected --question or \"question\" in the line".to_owned());
        }
        if options.is_empty() && self.base.options.is_empty() {
            return Err("no options: expected --options or \"options\" in the line".to_owned());
        }
        Ok(Question { id: String::new(), question, context: line.string("text")?.map(str::to_owned), options })
    }

    fn ask(
        session: &mut Session,
        items: &[Question],
        request: &AnswerRequest,
        run: &RunOptions<'_>,
    ) -> Answers<ChoiceAnswer> {
        session.answer(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no question"
    }
}

/// `bmn entail`
pub struct EntailTask {
    base: EntailRequest,
}

impl EntailTask {
    /// From flags.
    pub fn new(args: &Entail) -> Self {
        EntailTask { base: EntailRequest { options: args.options.clone(), choice: choice_rules(&args.choice) } }
    }
}

impl Task for EntailTask {
    type Request = EntailRequest;
    type Item = Inference;
    type Answer = ChoiceAnswer;

    fn request(&self) -> Option<EntailRequest> {
        Some(self.base.clone())
    }

    fn own_request(&self, line: &Line) -> std::result::Result<Option<EntailRequest>, String> {
        Ok(line.strings("options")?.map(|options| EntailRequest { options, ..self.base.clone() }))
    }

    fn item(&self, line: &Line) -> std::result::Result<Inference, String> {
        let text = |name: &str| line.required(name).map(str::to_owned);
        Ok(Inference { id: String::new(), premise: text("premise")?, hypothesis: text("hypothesis")? })
    }

    fn ask(
        session: &mut Session,
        items: &[Inference],
        request: &EntailRequest,
        run: &RunOptions<'_>,
    ) -> Answers<ChoiceAnswer> {
        session.entail(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no options"
    }
}

/// `bmn similar`
pub struct SimilarTask {
    base: SimilarRequest,
}

impl SimilarTask {
    /// From flags.
    pub fn new(args: &Similar) -> Result<Self> {
        let scale = args.scores.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
        let Some((low, high)) = scale else {
            return Err(Stop::usage(format!("--scores: expected LOW-HIGH such as 0-5, found {:?}", args.scores)));
        };
        Ok(SimilarTask { base: SimilarRequest { low, high, choice: choice_rules(&args.choice) } })
    }
}

impl Task for SimilarTask {
    type Request = SimilarRequest;
    type Item = TextPair;
    type Answer = SimilarAnswer;

    fn request(&self) -> Option<SimilarRequest> {
        Some(self.base.clone())
    }

    fn own_request(&self, _: &Line) -> std::result::Result<Option<SimilarRequest>, String> {
        Ok(None)
    }

    fn item(&self, line: &Line) -> std::result::Result<TextPair, String> {
        let first = if line.fields.contains_key("text1") { "text1" } else { "text" };
        let text = |name: &str| line.required(name).map(str::to_owned);
        Ok(TextPair { id: String::new(), text1: text(first)?, text2: text("text2")? })
    }

    fn ask(
        session: &mut Session,
        items: &[TextPair],
        request: &SimilarRequest,
        run: &RunOptions<'_>,
    ) -> Answers<SimilarAnswer> {
        session.similar(items, request, run)
    }

    fn missing(&self) -> &'static str {
        "no scale"
    }
}
