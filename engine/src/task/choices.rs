//! The tasks that are one choice per document: classes, questions, inference, similarity.

use super::answer::{ChoiceAnswer, ClassifyAnswer, MultiAnswer, OptionScore, SimilarAnswer, Status};
use super::ask_choice::{ChoiceAsk, Chosen, Content};
use super::prompts::Wording;
use super::request::{
    self, AnswerRequest, ClassifyRequest, Document, EntailRequest, Inference, Question, SimilarRequest, TextPair,
};
use super::schema::Label;
use super::session::Work;
use crate::{Error, Result};
use serde_json::json;

pub(crate) fn classify(
    work: &mut Work<'_>,
    documents: &[Document],
    request: &ClassifyRequest,
) -> Vec<Result<ClassifyAnswer>> {
    if request.multi {
        return classify_multi(work, documents, request);
    }
    let blank = Content {
        variables: json!({"question": request.question}),
        text: Some(work.engine.prompts.content_free().to_owned()),
    };
    let asks = documents.iter().map(|document| {
        Ok(ChoiceAsk {
            purpose: "classify",
            wording: Wording::Classify,
            labels: request.classes.iter().map(|class| class.name.clone()).collect(),
            texts: request.classes.iter().map(Label::option_text).collect(),
            content: Content { text: Some(document.text.clone()), ..blank.clone() },
            blank: blank.clone(),
        })
    });
    let chosen = work.choose(asks.collect(), &request.choice);
    let answers = documents.iter().zip(chosen);
    answers.map(|(document, chosen)| Ok(ClassifyAnswer::Single(single(work, &document.id, chosen?)))).collect()
}

fn classify_multi(
    work: &mut Work<'_>,
    documents: &[Document],
    request: &ClassifyRequest,
) -> Vec<Result<ClassifyAnswer>> {
    let prompts = &work.engine.prompts;
    let ask = |document: &Document, class: &Label| {
        let variables = json!({"question": request.question, "label": class});
        let yes_no = prompts.yes_no()?.map(str::to_owned).to_vec();
        Ok(ChoiceAsk {
            purpose: "classify",
            wording: Wording::ClassifyMulti,
            labels: yes_no.clone(),
            texts: yes_no,
            content: Content { variables: variables.clone(), text: Some(document.text.clone()) },
            blank: Content { variables, text: Some(prompts.content_free().to_owned()) },
        })
    };
    let asks = documents.iter().flat_map(|document| request.classes.iter().map(move |class| ask(document, class)));
    let mut chosen = work.choose(asks.collect(), &request.choice).into_iter();
    let mut answers = Vec::with_capacity(documents.len());
    for document in documents {
        // All of this document's are taken before the first error ends it.
        let chosen: Vec<Result<Chosen>> = chosen.by_ref().take(request.classes.len()).collect();
        let chosen: Result<Vec<Chosen>> = chosen.into_iter().collect();
        answers.push(chosen.map(|chosen| ClassifyAnswer::Multi(multi(work, &document.id, &request.classes, chosen))));
    }
    answers
}

fn multi(work: &Work<'_>, id: &str, classes: &[Label], chosen: Vec<Chosen>) -> MultiAnswer {
    let mut answer = MultiAnswer {
        id: id.to_owned(),
        status: Status::Ok,
        options: Vec::new(),
        answer: Vec::new(),
        outside_mass: 0.0,
        provenance: work.setting.provenance.clone(),
        prompts: Vec::new(),
    };
    for (class, (choice, prompts)) in classes.iter().zip(chosen) {
        let yes = &choice.options[0];
        if yes.probability > 0.5 {
            answer.answer.push(class.name.clone());
        }
        let label = class.name.clone();
        answer.options.push(OptionScore { label, probability: yes.probability, logprob: yes.logprob });
        answer.outside_mass = answer.outside_mass.max(choice.outside_mass);
        answer.prompts.extend(prompts);
    }
    answer
}

pub(crate) fn answer(
    work: &mut Work<'_>,
    questions: &[Question],
    request: &AnswerRequest,
) -> Vec<Result<ChoiceAnswer>> {
    let prompts = &work.engine.prompts;
    let ask = |item: &Question| {
        let question = item.question.as_ref().or(request.question.as_ref());
        let question = question.ok_or_else(|| Error::invalid("question: expected one in the item or the request"))?;
        let options = if item.options.is_empty() { &request.options } else { &item.options };
        if options.is_empty() {
            return Err(Error::invalid("options: expected some in the item or the request"));
        }
        request::check_texts(options, "options")?;
        let content_free = prompts.content_free();
        Ok(ChoiceAsk {
            purpose: "answer",
            wording: Wording::Answer,
            labels: options.clone(),
            texts: options.clone(),
            content: Content { variables: json!({"question": question}), text: item.context.clone() },
            blank: Content {
                variables: json!({"question": content_free}),
                text: item.context.as_ref().map(|_| content_free.to_owned()),
            },
        })
    };
    let asks = questions.iter().map(ask).collect();
    let chosen = work.choose(asks, &request.choice);
    questions.iter().zip(chosen).map(|(question, chosen)| Ok(single(work, &question.id, chosen?))).collect()
}

pub(crate) fn entail(work: &mut Work<'_>, pairs: &[Inference], request: &EntailRequest) -> Vec<Result<ChoiceAnswer>> {
    let prompts = &work.engine.prompts;
    let options = match request.options.as_slice() {
        [] => prompts.default_options(Wording::Entail),
        given => given,
    };
    let content = |premise: &str, hypothesis: &str| {
        let text = prompts.text(Wording::Entail, json!({"premise": premise, "hypothesis": hypothesis}))?;
        Ok::<_, Error>(Content { variables: json!({"premise": premise, "hypothesis": hypothesis}), text: Some(text) })
    };
    let ask = |pair: &Inference| {
        Ok(ChoiceAsk {
            purpose: "entail",
            wording: Wording::Entail,
            labels: options.to_vec(),
            texts: options.to_vec(),
            content: content(&pair.premise, &pair.hypothesis)?,
            blank: content(prompts.content_free(), prompts.content_free())?,
        })
    };
    let asks = pairs.iter().map(ask).collect();
    let chosen = work.choose(asks, &request.choice);
    pairs.iter().zip(chosen).map(|(pair, chosen)| Ok(single(work, &pair.id, chosen?))).collect()
}

pub(crate) fn similar(work: &mut Work<'_>, pairs: &[TextPair], request: &SimilarRequest) -> Vec<Result<SimilarAnswer>> {
    let prompts = &work.engine.prompts;
    let scale: Vec<i32> = (request.low..=request.high).collect();
    let options: Vec<String> = scale.iter().map(i32::to_string).collect();
    let content = |text1: &str, text2: &str| {
        let text = prompts.text(Wording::Similar, json!({"text1": text1, "text2": text2}))?;
        let variables = json!({"text1": text1, "text2": text2, "low": request.low, "high": request.high});
        Ok::<_, Error>(Content { variables, text: Some(text) })
    };
    let ask = |pair: &TextPair| {
        Ok(ChoiceAsk {
            purpose: "similar",
            wording: Wording::Similar,
            labels: options.clone(),
            texts: options.clone(),
            content: content(&pair.text1, &pair.text2)?,
            blank: content(prompts.content_free(), prompts.content_free())?,
        })
    };
    let asks = pairs.iter().map(ask).collect();
    let chosen = work.choose(asks, &request.choice);
    let answers = pairs.iter().zip(chosen).map(|(pair, chosen)| {
        let ChoiceAnswer { id, status, choice, provenance, prompts } = single(work, &pair.id, chosen?);
        let best = choice.options.iter().position(|option| option.label == choice.answer);
        let score = best.and_then(|best| scale.get(best).copied());
        let score = score.ok_or_else(|| Error::internal("the answer is none of the options"))?;
        let expected =
            choice.options.iter().zip(&scale).map(|(option, &score)| option.probability * f64::from(score)).sum();
        Ok(SimilarAnswer { id, status, choice, score, expected, provenance, prompts })
    });
    answers.collect()
}

fn single(work: &Work<'_>, id: &str, (choice, prompts): Chosen) -> ChoiceAnswer {
    let provenance = work.setting.provenance.clone();
    ChoiceAnswer { id: id.to_owned(), status: Status::Ok, choice, provenance, prompts }
}
