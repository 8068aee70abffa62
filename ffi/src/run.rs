//! How a batch is run.

use crate::cancel::bmn_cancel;
use crate::error::Failure;
use crate::memory::{self, Sized32};
use crate::model::{self, BMN_TEMPLATE_DEFAULT};
use engine::task::{Boundary, Cancel, ChoiceRules, ChoiceStyle, Mentions, SpanPolicy, Template, Window};
use std::ffi::{c_char, c_void};

/// Called after each batch of documents, from the thread of the call, with the number done and of all; non-zero stops the
/// run, and the documents not done get `BMN_E_CANCELLED`. It must not use the session, and must not throw or unwind.
pub type bmn_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, done: u64, of: u64) -> i32>;

/// Spans carry no log-probability and no kept mass, which is faster.
pub const BMN_RUN_NO_SCORES: u32 = 1;
/// Results' JSON holds the prompts, token ids and candidates' ids. They hold the document.
pub const BMN_RUN_SHOW_PROMPT: u32 = 2;
/// A text that does not fit is read in windows with global offsets (`bmn_extract`, `bmn_events`); else it is `BMN_E_TOO_LONG`.
pub const BMN_RUN_WINDOW: u32 = 4;
/// Any number of classes may apply, each asked on its own (`bmn_classify`).
pub const BMN_RUN_MULTI: u32 = 8;
/// Spans may begin and end inside words.
pub const BMN_RUN_INSIDE_WORDS: u32 = 16;
/// Spans of one label do not overlap.
pub const BMN_RUN_NO_OVERLAP: u32 = 32;
/// Every occurrence of an extracted span is a mention (`bmn_events`, `bmn_relate`); else the first one is.
pub const BMN_RUN_ALL_MENTIONS: u32 = 64;
/// Only pairs within a sentence are asked about (`bmn_relate`).
pub const BMN_RUN_SAME_SENTENCE: u32 = 128;
/// Options are answered by their letter instead of their text.
pub const BMN_RUN_LETTERS: u32 = 256;
/// Option probabilities are divided by those given without the document, and normalised.
pub const BMN_RUN_CALIBRATE: u32 = 512;
const ALL_FLAGS: u32 = 1023;

/// Settings of a run; `bmn_run_options_init` sets the defaults, and a NULL pointer means them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bmn_run_options {
    /// `sizeof(bmn_run_options)`.
    pub struct_size: u32,
    /// `BMN_RUN_*`, added up.
    pub flags: u32,
    /// Milliseconds after which documents not done get `BMN_E_TIMEOUT`; 0: no limit.
    pub timeout_ms: u32,
    /// Documents decoded together; does not change an answer. 0: 32.
    pub batch: u32,
    /// Name of the adapter to answer with; NULL: none.
    pub adapter: *const c_char,
    /// Flag that stops the run; NULL: none. It must live until the call returns.
    pub cancel: *const bmn_cancel,
    /// Called after each batch; NULL: not.
    pub progress: bmn_progress_fn,
    /// Handed to `progress`.
    pub progress_user_data: *mut c_void,
    /// One of `BMN_TEMPLATE_*`.
    pub chat_template: u32,
    /// Most tokens of one window's text; 0: what the context leaves.
    pub window_tokens: u32,
    /// Most tokens that a window shares with the one before; default 64.
    pub window_overlap: u32,
    /// Most spans per label; 0: the engine's limit.
    pub max_spans: u32,
    /// Most words per span; 0: the engine's limit.
    pub max_words: u32,
    /// Orders of the options over which a choice is averaged; 0 or 1: the given one.
    pub permute: u32,
    /// Lowest score of `bmn_similar`; default 0.
    pub scale_low: i32,
    /// Highest score of `bmn_similar`; default 5.
    pub scale_high: i32,
}

// SAFETY: plain data; every bit pattern of its fields is valid. First field is the size.
unsafe impl Sized32 for bmn_run_options {
    fn fresh() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            flags: 0,
            timeout_ms: 0,
            batch: 0,
            adapter: std::ptr::null(),
            cancel: std::ptr::null(),
            progress: None,
            progress_user_data: std::ptr::null_mut(),
            chat_template: BMN_TEMPLATE_DEFAULT,
            window_tokens: 0,
            window_overlap: 64,
            max_spans: 0,
            max_words: 0,
            permute: 0,
            scale_low: 0,
            scale_high: 5,
        }
    }
}

/// Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_run_options)` of the caller's header. NULL is ignored.
///
/// Threads: any. Since 0.1.
///
/// # Safety
/// `options` is NULL or points to `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bmn_run_options_init(options: *mut bmn_run_options, struct_size: usize) {
    // SAFETY: the caller's promise.
    unsafe { memory::init(options, struct_size) }
}

/// Run options, read and checked.
pub(crate) struct Run {
    pub raw: bmn_run_options,
    pub adapter: Option<String>,
    pub cancel: Option<Cancel>,
    pub template: Option<Template>,
}

impl Run {
    /// # Safety
    /// `options` is NULL or as large as it says, with pointers as the header asks.
    pub unsafe fn read(options: *const bmn_run_options) -> Result<Self, Failure> {
        // SAFETY: the caller's promise, three times.
        unsafe {
            let raw: bmn_run_options = memory::options(options, "options")?;
            if raw.flags & !ALL_FLAGS != 0 {
                let found = raw.flags & !ALL_FLAGS;
                return Err(Failure::invalid(format!("options.flags: expected BMN_RUN_*, found {found:#x} too")));
            }
            let adapter = match raw.adapter.is_null() {
                true => None,
                false => Some(memory::string(raw.adapter, "options.adapter")?.to_owned()),
            };
            let cancel = memory::optional(raw.cancel, "options.cancel")?.cloned();
            Ok(Self { raw, adapter, cancel, template: model::template(raw.chat_template, "options.chat_template")? })
        }
    }

    pub fn has(&self, flag: u32) -> bool {
        self.raw.flags & flag != 0
    }

    pub fn policy(&self) -> SpanPolicy {
        let default = SpanPolicy::default();
        let limit = |given: u32, default| if given == 0 { default } else { Some(given as usize) };
        SpanPolicy {
            boundary: if self.has(BMN_RUN_INSIDE_WORDS) { Boundary::Char } else { Boundary::Word },
            max_words: limit(self.raw.max_words, default.max_words),
            max_spans: limit(self.raw.max_spans, default.max_spans),
            no_overlap: self.has(BMN_RUN_NO_OVERLAP),
            ..default
        }
    }

    pub fn choice(&self) -> ChoiceRules {
        ChoiceRules {
            style: if self.has(BMN_RUN_LETTERS) { ChoiceStyle::Letter } else { ChoiceStyle::Full },
            permute: self.raw.permute.max(1) as usize,
            calibrate: self.has(BMN_RUN_CALIBRATE),
        }
    }

    pub fn mentions(&self) -> Mentions {
        if self.has(BMN_RUN_ALL_MENTIONS) { Mentions::All } else { Mentions::First }
    }

    pub fn window(&self) -> Option<Window> {
        let tokens = (self.raw.window_tokens > 0).then_some(self.raw.window_tokens as usize);
        self.has(BMN_RUN_WINDOW).then_some(Window { tokens, overlap: self.raw.window_overlap as usize })
    }
}
