//! A prompt as control tokens and plain text.

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A control token, by id.
    Control(u32),
    /// Plain text: nothing in it becomes a control token.
    Text(String),
}

/// A part of a prompt with neighbouring texts put together.
pub(super) enum Joined<'a> {
    Control(u32),
    Text(std::borrow::Cow<'a, str>),
}

/// `segments` without empty texts, texts that follow one another being one.
pub(super) fn joined(segments: &[Segment]) -> Vec<Joined<'_>> {
    let mut joined: Vec<Joined> = Vec::with_capacity(segments.len());
    for segment in segments {
        match (segment, joined.last_mut()) {
            (Segment::Control(id), _) => joined.push(Joined::Control(*id)),
            (Segment::Text(text), _) if text.is_empty() => {}
            (Segment::Text(text), Some(Joined::Text(before))) => before.to_mut().push_str(text),
            (Segment::Text(text), _) => joined.push(Joined::Text(text.into())),
        }
    }
    joined
}
