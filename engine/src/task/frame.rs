//! A user message in its chat template: the prompt's tokens, the text before the answer, the token that ends it.

use super::prompts::sha256_hex;
use crate::text::{ChatTemplate, Message, Segment, Tokenizer};
use crate::{Error, Result};

/// A chat template as this engine uses it.
pub struct Frame {
    template: ChatTemplate,
    terminator: u32,
    hash: String,
}

/// A prompt ready for the model.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Token ids, the assistant's header included.
    pub ids: Vec<u32>,
    /// Plain text that stands before the answer in its segment; empty right after a control token.
    pub before: String,
    segments: Vec<Segment>,
}

impl Frame {
    /// Finds the token that ends an answer: the control token after the assistant's message, else the end of sequence.
    pub fn new(template: ChatTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        const PROBE: &str = "answer";
        let user = Message { role: "user", content: "question" };
        let dialogue = template.render(tokenizer, &[user, Message { role: "assistant", content: PROBE }], false)?;
        let after = dialogue.iter().rposition(|s| matches!(s, Segment::Text(text) if text.contains(PROBE)));
        let end = after.and_then(|at| match (&dialogue[at], dialogue.get(at + 1)) {
            (Segment::Text(text), Some(Segment::Control(id))) if text.ends_with(PROBE) => Some(*id),
            _ => None,
        });
        let terminator = end
            .or(tokenizer.eos())
            .ok_or_else(|| Error::unsupported("a tokenizer without an end-of-sequence token, which ends an answer"))?;
        let hash = sha256_hex(format!("{dialogue:?}").as_bytes());
        Ok(Self { template, terminator, hash })
    }

    /// The token that ends an answer.
    pub fn terminator(&self) -> u32 {
        self.terminator
    }

    /// SHA-256 of a rendered probe dialogue.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Frames one user message. Where the template does not begin with a control token, the tokenizer's own rule decides
    /// whether the sequence begins with one, as in training. The assistant's header is given, not generated. A header that ends inside a line
    /// (`[/INST]`) gets a line break, so that the answer's tokens do not merge with it.
    pub fn prompt(&self, tokenizer: &Tokenizer, message: &str) -> Result<Prompt> {
        self.conversation(tokenizer, &[Message { role: "user", content: message }])
    }

    /// Frames the messages before an answer like [`Frame::prompt`]; training writes its examples so.
    pub fn conversation(&self, tokenizer: &Tokenizer, messages: &[Message<'_>]) -> Result<Prompt> {
        let mut segments = self.template.render(tokenizer, messages, true)?;
        if let (Some(Segment::Text(_)), Some(bos), true) = (segments.first(), tokenizer.bos(), tokenizer.adds_bos()) {
            segments.insert(0, Segment::Control(bos));
        }
        let controls = segments.iter().rposition(|segment| matches!(segment, Segment::Control(_)));
        let text_from = controls.map_or(0, |at| at + 1);
        let mut before: String = segments[text_from..].iter().map(text_of).collect();
        if !before.is_empty() && !before.ends_with('\n') {
            segments.push(Segment::Text("\n".to_owned()));
            before.push('\n');
        }
        let ids = tokenizer.encode_segments(&segments)?;
        Ok(Prompt { ids, before, segments })
    }
}

impl Prompt {
    /// Canonical tokens of an answer's beginning after this prompt.
    pub fn encode_answer(&self, tokenizer: &Tokenizer, answer: &str) -> Result<Vec<u32>> {
        match self.before.as_str() {
            "" => tokenizer.encode(answer),
            before => tokenizer.encode_after(before, answer),
        }
    }

    /// The prompt with its control tokens spelled out.
    pub fn spelled(&self, tokenizer: &Tokenizer) -> String {
        let spell = |segment: &Segment| match segment {
            Segment::Text(text) => text.clone(),
            Segment::Control(id) => tokenizer.control_name(*id).unwrap_or_default().to_owned(),
        };
        self.segments.iter().map(spell).collect()
    }
}

/// Length of the common beginning of two token strings.
pub(crate) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn text_of(segment: &Segment) -> &str {
    match segment {
        Segment::Text(text) => text,
        Segment::Control(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zephyr_in_the_tokens_of_mistral() {
        let Some(path) = std::env::var_os("BMN_MISTRAL_TOKENIZER") else {
            println!("SKIPPED zephyr_in_the_tokens_of_mistral: set BMN_MISTRAL_TOKENIZER, `make test` does");
            return;
        };
        let tokenizer = Tokenizer::open(path.as_ref()).unwrap();
        let frame = Frame::new(ChatTemplate::zephyr(), &tokenizer).unwrap();
        let prompt = frame.prompt(&tokenizer, "Hi</s>").unwrap();
        let pieces: Vec<String> = prompt
            .ids
            .iter()
            .map(|&id| match tokenizer.token_bytes(id) {
                Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                None => tokenizer.control_name(id).unwrap().to_owned(),
            })
            .collect();
        // One dummy space per segment, as `tokenizers` reads Mistral's tokenizer.json; the text's `</s>` is text.
        let expected = [
            "<s>", " <", "|", "user", "|", ">", "\n", "Hi", "</", "s", ">", "</s>", " ", "\n", "<", "|", "ass",
            "istant", "|", ">", "\n",
        ];
        assert_eq!(pieces, expected);
        assert_eq!((prompt.ids[0], frame.terminator()), (1, 2));
        let answer = prompt.encode_answer(&tokenizer, "(A) smoker").unwrap();
        assert_eq!(tokenizer.token_bytes(answer[0]), Some(&b"("[..]));
    }
}
