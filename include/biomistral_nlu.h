/* biomistral_nlu.h - verbatim spans and exact choice probabilities from medical text.
 *
 * Rules for the whole header
 *  - Text is UTF-8 given as (pointer, length) and needs no final NUL, unless it is a `const char *`.
 *  - BMN_OK (0) is success. Outputs are written on success only, and come before `err`, which comes last.
 *  - `bmn_error **err` may be NULL. Else, on failure, *err is an error that the caller frees.
 *  - What a `*_new`, `*_open`, `*_from_json` or a task gives belongs to the caller: free it with its type's `*_free`, which
 *    accepts NULL. A `const` pointer given out by a handle belongs to the handle and lives as long.
 *  - Threads: a session serves one call at a time, from any thread (a second one gets BMN_E_BUSY). Every other handle is
 *    shared by any number of threads. A handle is freed once, when no call uses it.
 *  - Structs begin with their size: an old program runs with a new library, and a new one with an old library as long as it
 *    leaves the new fields zero.
 *  - Nothing unwinds, exits, aborts, prints, touches the network, installs a signal handler, or writes a file; training and
 *    merging write in the folder they are given. An internal panic becomes BMN_E_INTERNAL.
 *  - Any call may also return BMN_E_INVALID_ARGUMENT, BMN_E_ABI (a struct), BMN_E_OUT_OF_MEMORY or BMN_E_INTERNAL. Memory that
 *    the system refuses comes from a reserve of 32 MiB, and work under way ends with BMN_E_OUT_OF_MEMORY (docs/library.md).
 *  - No log line and no error message holds text of a document.
 *  - The library stays loaded once used: do not dlclose it.
 */

#ifndef BIOMISTRAL_NLU_H
#define BIOMISTRAL_NLU_H

#include <stddef.h>
#include <stdint.h>
#if defined(__GNUC__) || defined(__clang__)
#define BMN_API __attribute__((visibility("default")))
#define BMN_NODISCARD __attribute__((warn_unused_result))
#else
#define BMN_API
#define BMN_NODISCARD
#endif

/**
 * Something failed.
 */
#define BMN_LOG_ERROR 1

/**
 * Something to look at.
 */
#define BMN_LOG_WARN 2

/**
 * What was loaded, swapped, closed.
 */
#define BMN_LOG_INFO 3

/**
 * Every run, with its duration.
 */
#define BMN_LOG_DEBUG 4

/**
 * A source that is a fine-tuned model of the base's shape: folder or `.gguf` file.
 */
#define BMN_MERGE_MODEL 0

/**
 * A source that is a PEFT LoRA folder.
 */
#define BMN_MERGE_ADAPTER 1

/**
 * Differences that are not dropped stay as they are, instead of being divided by `1 - drop`.
 */
#define BMN_MERGE_NO_RESCALE 1

/**
 * The result is one adapter; all sources must be adapters.
 */
#define BMN_MERGE_AS_ADAPTER 2

/**
 * The template that the adapter's or model's `bmn.json` names, else the Zephyr-style one of BioMistral-NLU.
 */
#define BMN_TEMPLATE_DEFAULT 0

/**
 * The Zephyr-style template of BioMistral-NLU.
 */
#define BMN_TEMPLATE_ZEPHYR 1

/**
 * The chat template that comes with the model.
 */
#define BMN_TEMPLATE_MODEL 2

/**
 * Offsets count bytes of UTF-8.
 */
#define BMN_UNIT_BYTE 0

/**
 * Offsets count code points, as Python's strings do.
 */
#define BMN_UNIT_CODE_POINT 1

/**
 * Offsets count UTF-16 units, as strings of Java, C# and JavaScript do.
 */
#define BMN_UNIT_UTF16 2

/**
 * A pair of related entities.
 */
#define BMN_LINK_RELATION 0

/**
 * From the trigger of an event to an argument; the label is the argument's role.
 */
#define BMN_LINK_ARGUMENT 1

/**
 * From the trigger of an event to no span; the label is the attribute's name, `value` its value.
 */
#define BMN_LINK_ATTRIBUTE 2

/**
 * No span, no link.
 */
#define BMN_NO_ID UINT32_MAX

/**
 * Spans carry no log-probability and no kept mass, which is faster.
 */
#define BMN_RUN_NO_SCORES 1

/**
 * Results' JSON holds the prompts, token ids and candidates' ids. They hold the document.
 */
#define BMN_RUN_SHOW_PROMPT 2

/**
 * A text that does not fit is read in windows with global offsets (`bmn_extract`, `bmn_events`); else it is `BMN_E_TOO_LONG`.
 */
#define BMN_RUN_WINDOW 4

/**
 * Any number of classes may apply, each asked on its own (`bmn_classify`).
 */
#define BMN_RUN_MULTI 8

/**
 * Spans may begin and end inside words.
 */
#define BMN_RUN_INSIDE_WORDS 16

/**
 * Spans of one label do not overlap.
 */
#define BMN_RUN_NO_OVERLAP 32

/**
 * Every occurrence of an extracted span is a mention (`bmn_events`, `bmn_relate`); else the first one is.
 */
#define BMN_RUN_ALL_MENTIONS 64

/**
 * Only pairs within a sentence are asked about (`bmn_relate`).
 */
#define BMN_RUN_SAME_SENTENCE 128

/**
 * Options are answered by their letter instead of their text.
 */
#define BMN_RUN_LETTERS 256

/**
 * Option probabilities are divided by those given without the document, and normalised.
 */
#define BMN_RUN_CALIBRATE 512

/**
 * The processor.
 */
#define BMN_DEVICE_CPU -1

/**
 * The first CUDA device where there is one that works, else the processor.
 */
#define BMN_DEVICE_AUTO -2

/**
 * Done.
 */
#define BMN_OK 0

/**
 * An argument that cannot be used: NULL where a pointer is due, a number out of range, a name that is not known.
 */
#define BMN_E_INVALID_ARGUMENT 1

/**
 * Text that is not UTF-8; the message names the byte.
 */
#define BMN_E_INVALID_UTF8 2

/**
 * A file or folder that does not exist.
 */
#define BMN_E_NOT_FOUND 3

/**
 * A file that cannot be read or written.
 */
#define BMN_E_IO 4

/**
 * A model, adapter or tokenizer file that cannot be understood.
 */
#define BMN_E_MODEL_FORMAT 5

/**
 * Weights that are not those expected.
 */
#define BMN_E_INTEGRITY 6

/**
 * Something this library does not do.
 */
#define BMN_E_UNSUPPORTED 7

/**
 * More tokens than the context holds, or a text of 2 GiB.
 */
#define BMN_E_TOO_LONG 8

/**
 * No such device, or no driver for it.
 */
#define BMN_E_NO_DEVICE 9

/**
 * Not enough memory, or more than the limit set.
 */
#define BMN_E_OUT_OF_MEMORY 10

/**
 * A device that failed.
 */
#define BMN_E_DEVICE 11

/**
 * Stopped by a cancel handle or by a progress callback.
 */
#define BMN_E_CANCELLED 12

/**
 * A session that another thread is using.
 */
#define BMN_E_BUSY 13

/**
 * A struct of a size that this library does not know.
 */
#define BMN_E_ABI 14

/**
 * Not done within `timeout_ms`.
 */
#define BMN_E_TIMEOUT 16

/**
 * A broken invariant of the library itself.
 */
#define BMN_E_INTERNAL 100

/**
 * A training run goes on from its last checkpoint, if there is one; else an output folder that has a run is refused.
 */
#define BMN_TRAIN_RESUME 1

/**
 * `config` is the configuration's text, not the path of a file with it; its relative paths are those of the process.
 */
#define BMN_TRAIN_TEXT 2

/**
 * A step is done.
 */
#define BMN_TRAIN_STEP 0

/**
 * The validation corpora have been measured.
 */
#define BMN_TRAIN_VALIDATION 1

/**
 * A checkpoint is on disk.
 */
#define BMN_TRAIN_SAVED 2

/**
 * Major version of the header.
 */
#define BMN_VERSION_MAJOR 0

/**
 * Minor version of the header.
 */
#define BMN_VERSION_MINOR 1

/**
 * Patch version of the header.
 */
#define BMN_VERSION_PATCH 0

/**
 * The number in the soname; compare it with `bmn_abi_version()`.
 */
#define BMN_ABI_VERSION 0

/**
 * A LoRA adapter read from its folder, checked against a model; immutable.
 */
typedef struct bmn_adapter bmn_adapter;

/**
 * A flag that stops the runs it was given to. Every function may be called from any thread at any time.
 */
typedef struct bmn_cancel bmn_cancel;

/**
 * Why a call failed. Freed by the caller with `bmn_error_free`.
 */
typedef struct bmn_error bmn_error;

/**
 * Weights, tokenizer and adapters. Shared by any number of threads; adapters may be changed while sessions run.
 */
typedef struct bmn_model bmn_model;

/**
 * The outcome of one document; immutable, read by any number of threads.
 */
typedef struct bmn_result bmn_result;

/**
 * Device, threads and log of the models opened with it; immutable, shared by any number of threads.
 */
typedef struct bmn_runtime bmn_runtime;

/**
 * Labels, classes, events and relations that are asked for; immutable, shared by any number of threads.
 */
typedef struct bmn_schema bmn_schema;

/**
 * Cache and scratch of one run at a time. Any thread may use it; two at once get `BMN_E_BUSY`.
 */
typedef struct bmn_session bmn_session;

/**
 * A training run. Any thread may use it; two at once get `BMN_E_BUSY`.
 */
typedef struct bmn_trainer bmn_trainer;

/**
 * Outcome of a call: `BMN_OK` or one of `BMN_E_*`. The numbers never change.
 */
typedef int32_t bmn_status;

/**
 * Called after each batch of documents, from the thread of the call, with the number done and of all; non-zero stops the
 * run, and the documents not done get `BMN_E_CANCELLED`. It must not use the session, and must not throw or unwind.
 */
typedef int32_t (*bmn_progress_fn)(void *user_data, uint64_t done, uint64_t of);

/**
 * How sources are merged; `bmn_merge_options_init` sets the defaults, and a NULL pointer means them.
 */
typedef struct bmn_merge_options {
  /**
   * `sizeof(bmn_merge_options)`.
   */
  uint32_t struct_size;
  /**
   * `BMN_MERGE_NO_RESCALE`, `BMN_MERGE_AS_ADAPTER`, added up.
   */
  uint32_t flags;
  /**
   * Share of each difference that is dropped at random (DARE); default 0.
   */
  double drop;
  /**
   * Decides what is dropped.
   */
  uint64_t seed;
  /**
   * Flag that stops the merge; NULL: none. It must live until the call returns.
   */
  const struct bmn_cancel *cancel;
  /**
   * Called after each tensor with the bytes done and of all; NULL: not. Non-zero stops the merge.
   */
  bmn_progress_fn progress;
  /**
   * Handed to `progress`.
   */
  void *progress_user_data;
} bmn_merge_options;

/**
 * What is added to the base.
 */
typedef struct bmn_merge_source {
  /**
   * Folder or file, NUL-terminated.
   */
  const char *path;
  /**
   * Weight of its difference from the base; -1 takes a merged adapter out again, up to rounding.
   */
  double weight;
  /**
   * `BMN_MERGE_MODEL` or `BMN_MERGE_ADAPTER`.
   */
  uint32_t kind;
  /**
   * Must be 0.
   */
  uint32_t reserved;
} bmn_merge_source;

/**
 * Settings of a model; `bmn_model_options_init` sets the defaults.
 */
typedef struct bmn_model_options {
  /**
   * `sizeof(bmn_model_options)`.
   */
  uint32_t struct_size;
  /**
   * One of `BMN_TEMPLATE_*`, for every run that names none.
   */
  uint32_t chat_template;
  /**
   * Longest context in tokens; 0: the model's.
   */
  uint64_t context;
  /**
   * Folder of a LoRA adapter to add into the weights while loading; NULL: none.
   */
  const char *merge_adapter;
  /**
   * Identity that the weights must have, as `bmn_model_info_json` gives it; NULL: not checked.
   */
  const char *expected_weights;
} bmn_model_options;

/**
 * A span of the document's text: `text[start..end]`, exactly.
 */
typedef struct bmn_span {
  /**
   * `sizeof(bmn_span)`, set by the caller.
   */
  uint32_t struct_size;
  /**
   * Index of the span.
   */
  uint32_t id;
  /**
   * First offset, in the unit asked for.
   */
  uint64_t start;
  /**
   * Offset after the last, in the unit asked for.
   */
  uint64_t end;
  /**
   * Label, role or trigger type; NUL-terminated, owned by the result.
   */
  const char *label;
  /**
   * The span's text in UTF-8; owned by the result, a NUL follows it.
   */
  const char *text;
  /**
   * Bytes of `text`.
   */
  uint64_t text_len;
  /**
   * Natural log of the probability that the model gave the span where it was said; NaN without scores.
   */
  double logprob;
  /**
   * Least share of the model's probability that the constraint left at any token of the span; NaN without scores.
   */
  double kept_mass;
} bmn_span;

/**
 * A relation, an event's argument or an event's attribute.
 */
typedef struct bmn_link {
  /**
   * `sizeof(bmn_link)`, set by the caller.
   */
  uint32_t struct_size;
  /**
   * Index of the link.
   */
  uint32_t id;
  /**
   * One of `BMN_LINK_*`.
   */
  uint32_t kind;
  /**
   * Span it goes from: head or trigger.
   */
  uint32_t from_id;
  /**
   * Span it goes to: tail or argument; `BMN_NO_ID` for an attribute.
   */
  uint32_t to_id;
  /**
   * Zero.
   */
  uint32_t reserved;
  /**
   * Relation, role or attribute; NUL-terminated, owned by the result.
   */
  const char *label;
  /**
   * Value of an attribute, else NULL; NUL-terminated, owned by the result.
   */
  const char *value;
  /**
   * Probability of the answer among its options; NaN for an argument.
   */
  double probability;
} bmn_link;

/**
 * An option with its probability.
 */
typedef struct bmn_score {
  /**
   * `sizeof(bmn_score)`, set by the caller.
   */
  uint32_t struct_size;
  /**
   * The link whose options these are; `BMN_NO_ID` for the document's own.
   */
  uint32_t link_id;
  /**
   * The option; NUL-terminated, owned by the result.
   */
  const char *label;
  /**
   * Probability among the options. After `bmn_extract`: that the label has no span (the probability of "None").
   */
  double probability;
  /**
   * Natural log of the probability before normalising over the options.
   */
  double logprob;
} bmn_score;

/**
 * Settings of a run; `bmn_run_options_init` sets the defaults, and a NULL pointer means them.
 */
typedef struct bmn_run_options {
  /**
   * `sizeof(bmn_run_options)`.
   */
  uint32_t struct_size;
  /**
   * `BMN_RUN_*`, added up.
   */
  uint32_t flags;
  /**
   * Milliseconds after which documents not done get `BMN_E_TIMEOUT`; 0: no limit.
   */
  uint32_t timeout_ms;
  /**
   * Documents decoded together; does not change an answer. 0: 32.
   */
  uint32_t batch;
  /**
   * Name of the adapter to answer with; NULL: none.
   */
  const char *adapter;
  /**
   * Flag that stops the run; NULL: none. It must live until the call returns.
   */
  const struct bmn_cancel *cancel;
  /**
   * Called after each batch; NULL: not.
   */
  bmn_progress_fn progress;
  /**
   * Handed to `progress`.
   */
  void *progress_user_data;
  /**
   * One of `BMN_TEMPLATE_*`.
   */
  uint32_t chat_template;
  /**
   * Most tokens of one window's text; 0: what the context leaves.
   */
  uint32_t window_tokens;
  /**
   * Most tokens that a window shares with the one before; default 64.
   */
  uint32_t window_overlap;
  /**
   * Most spans per label; 0: the engine's limit.
   */
  uint32_t max_spans;
  /**
   * Most words per span; 0: the engine's limit.
   */
  uint32_t max_words;
  /**
   * Orders of the options over which a choice is averaged; 0 or 1: the given one.
   */
  uint32_t permute;
  /**
   * Lowest score of `bmn_similar`; default 0.
   */
  int32_t scale_low;
  /**
   * Highest score of `bmn_similar`; default 5.
   */
  int32_t scale_high;
} bmn_run_options;

/**
 * Receives log lines; may be called from any thread that calls the library, and must not call back into it.
 *
 * `target` is a short topic ("model", "adapter", "run"), `message` one line. Both are valid during the call only.
 */
typedef void (*bmn_log_fn)(void *user_data, int32_t level, const char *target, const char *message);

/**
 * Settings of a runtime; `bmn_runtime_options_init` sets the defaults.
 */
typedef struct bmn_runtime_options {
  /**
   * `sizeof(bmn_runtime_options)`.
   */
  uint32_t struct_size;
  /**
   * `BMN_DEVICE_CPU` (default), `BMN_DEVICE_AUTO`, or the ordinal of a CUDA device.
   */
  int32_t device;
  /**
   * Threads that a model computes with; 0: one per core.
   */
  uint32_t threads;
  /**
   * Most verbose level that `log` wants; default `BMN_LOG_INFO`.
   */
  int32_t log_level;
  /**
   * Bytes that weights, the cache of one session at the whole context and activations may need together; a model beyond is
   * refused with `BMN_E_OUT_OF_MEMORY`, with the figures. 0: what there is.
   */
  uint64_t memory_limit;
  /**
   * Receives log lines; NULL: none are made.
   */
  bmn_log_fn log;
  /**
   * Handed to `log`.
   */
  void *log_user_data;
} bmn_runtime_options;

/**
 * Text as the caller gives it: `len` bytes of UTF-8 at `ptr`, no final NUL needed.
 *
 * An empty text may have a NULL `ptr`.
 */
typedef struct bmn_str {
  /**
   * First byte.
   */
  const char *ptr;
  /**
   * Number of bytes.
   */
  size_t len;
} bmn_str;

/**
 * An entity that the caller brings along, for `bmn_relate`.
 */
typedef struct bmn_mention {
  /**
   * Its label; NUL-terminated.
   */
  const char *label;
  /**
   * First byte of its text in the document.
   */
  uint64_t start;
  /**
   * Byte after its text.
   */
  uint64_t end;
} bmn_mention;

/**
 * A document with the entities that the caller brings along.
 */
typedef struct bmn_relate_doc {
  /**
   * The document.
   */
  struct bmn_str text;
  /**
   * Its entities; NULL: they are extracted by the schema's labels.
   */
  const struct bmn_mention *mentions;
  /**
   * Number of `mentions`.
   */
  size_t n_mentions;
} bmn_relate_doc;

/**
 * A multiple-choice question.
 */
typedef struct bmn_question {
  /**
   * What is asked.
   */
  struct bmn_str question;
  /**
   * What it is asked about; may be empty.
   */
  struct bmn_str context;
  /**
   * The options, two at least.
   */
  const struct bmn_str *options;
  /**
   * Number of `options`.
   */
  size_t n_options;
} bmn_question;

/**
 * Two texts: premise and hypothesis, or the texts to compare.
 */
typedef struct bmn_pair {
  /**
   * Premise, or first text.
   */
  struct bmn_str a;
  /**
   * Hypothesis, or second text.
   */
  struct bmn_str b;
} bmn_pair;

/**
 * What a training run tells while it goes on.
 */
typedef struct bmn_train_event {
  /**
   * Bytes of this struct that are set.
   */
  uint32_t struct_size;
  /**
   * `BMN_TRAIN_STEP`, `BMN_TRAIN_VALIDATION` or `BMN_TRAIN_SAVED`.
   */
  uint32_t kind;
  /**
   * Steps done.
   */
  uint64_t step;
  /**
   * Steps of the whole run.
   */
  uint64_t steps;
  /**
   * Mean loss per token that counts, of the step or of the validation; NaN for a checkpoint.
   */
  double loss;
  /**
   * Learning rate of the step; NaN else.
   */
  double rate;
  /**
   * Tokens per second of the step; NaN else.
   */
  double tokens_per_second;
  /**
   * Seconds left at the mean speed so far; NaN unless for a step.
   */
  double seconds_left;
} bmn_train_event;

/**
 * Called after each step, validation and checkpoint, from the thread of the call; non-zero stops the run after the step,
 * with everything saved. It must not run or free the trainer, and must not throw or unwind.
 */
typedef int32_t (*bmn_train_progress_fn)(void *user_data, const struct bmn_train_event *event);

/**
 * How a training run is watched; `bmn_train_options_init` sets the defaults, and a NULL pointer means them.
 */
typedef struct bmn_train_options {
  /**
   * `sizeof(bmn_train_options)`.
   */
  uint32_t struct_size;
  /**
   * Must be 0.
   */
  uint32_t flags;
  /**
   * Flag that stops the run after the step; NULL: none. It must live until the call returns.
   */
  const struct bmn_cancel *cancel;
  /**
   * Called after each step; NULL: not.
   */
  bmn_train_progress_fn progress;
  /**
   * Handed to `progress`.
   */
  void *progress_user_data;
} bmn_train_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Reads a PEFT adapter folder and checks it against `model`. It answers nothing until `bmn_model_set_adapter` names it.
 *
 * On success `*out` is an adapter to free with `bmn_adapter_free`. Errors: `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT`,
 * `BMN_E_INVALID_ARGUMENT` (a tensor that does not fit the model's shape), `BMN_E_UNSUPPORTED`. Whether it was made for these
 * weights is asked when it is set. Threads: any. Since 0.1.
 *
 * `model` is live; `path` is NUL-terminated; `out` points to a place; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_adapter_open(const struct bmn_model *model,
                            const char *path,
                            struct bmn_adapter **out,
                            struct bmn_error **err);

/**
 * Makes `adapter` the one that runs choose by `name`. Where the name was taken, runs under way keep the adapter they began
 * with and later ones get this one; every result's provenance names the adapter that gave it.
 *
 * `*generation` (may be NULL) gets a number higher than that of any change before. The adapter handle may be freed
 * afterwards. Errors: `BMN_E_MODEL_FORMAT` (made for another base model, or a model file that has changed its size),
 * `BMN_E_UNSUPPORTED` (tuned with other prompts), `BMN_E_IO`, `BMN_E_OUT_OF_MEMORY`, `BMN_E_DEVICE`; the name then stands for
 * what it stood for.
 * Threads: any, while sessions run. Since 0.1.
 *
 * `model` and `adapter` are live; `name` is NUL-terminated; `generation` points to a place or is NULL; so does `err`.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_model_set_adapter(const struct bmn_model *model,
                                 const char *name,
                                 const struct bmn_adapter *adapter,
                                 uint64_t *generation,
                                 struct bmn_error **err);

/**
 * Takes a name away; runs under way with its adapter finish. A name that is not there is `BMN_E_INVALID_ARGUMENT`.
 *
 * Threads: any, while sessions run. Since 0.1.
 *
 * `model` is live; `name` is NUL-terminated; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_model_remove_adapter(const struct bmn_model *model,
                                    const char *name,
                                    struct bmn_error **err);

/**
 * Frees an adapter handle; names that stand for the adapter keep it. NULL is allowed.
 *
 * Threads: any, once. Since 0.1.
 *
 * `adapter` is NULL or live, and ends here.
 */
BMN_API void bmn_adapter_free(struct bmn_adapter *adapter);

/**
 * An untriggered flag.
 *
 * Returns a handle to free with `bmn_cancel_free`, NULL where there is no memory. Threads: any. Since 0.1.
 */
BMN_API struct bmn_cancel *bmn_cancel_new(void);

/**
 * Stops the runs that hold the flag: one atomic store, safe in a signal handler. NULL is ignored.
 *
 * Documents not done get `BMN_E_CANCELLED`. Threads: any. Since 0.1.
 *
 * `cancel` is NULL or live.
 */
BMN_API void bmn_cancel_trigger(const struct bmn_cancel *cancel);

/**
 * Makes a triggered flag usable again. NULL is ignored.
 *
 * Threads: any. Since 0.1.
 *
 * `cancel` is NULL or live.
 */
BMN_API void bmn_cancel_reset(const struct bmn_cancel *cancel);

/**
 * Frees a flag; runs that hold it go on as if it were never triggered. NULL is allowed.
 *
 * Threads: any, once. Since 0.1.
 *
 * `cancel` is NULL or live, and ends here.
 */
BMN_API void bmn_cancel_free(struct bmn_cancel *cancel);

/**
 * The status that the failed call returned.
 *
 * Returns `BMN_E_INVALID_ARGUMENT` for NULL. Threads: any. Since 0.1.
 *
 * `error` is NULL or a live error.
 */
BMN_API bmn_status bmn_error_status(const struct bmn_error *error);

/**
 * One sentence that names the thing, what was expected and what was found; never document text.
 *
 * Returns a string that lives as long as the error, or NULL for NULL. Threads: any. Since 0.1.
 *
 * `error` is NULL or a live error.
 */
BMN_API const char *bmn_error_message(const struct bmn_error *error);

/**
 * Frees an error; NULL is allowed.
 *
 * Threads: any, once. Since 0.1.
 *
 * `error` is NULL or a live error, which ends here.
 */
BMN_API void bmn_error_free(struct bmn_error *error);

/**
 * Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_merge_options)` of the caller's header. NULL is ignored.
 *
 * Threads: any. Since 0.1.
 *
 * `options` is NULL or points to `struct_size` bytes.
 */
BMN_API
void bmn_merge_options_init(struct bmn_merge_options *options,
                            size_t struct_size);

/**
 * Writes `base` plus the weighted differences of `n` sources as the new folder `folder`, tensor by tensor; `options` may be NULL.
 *
 * The folder appears whole or not at all, with `merge.json`, which says what it was made of. A base that is a `.gguf` file has
 * no tokenizer that could be copied; that of a folder is.
 * Errors: `BMN_E_INVALID_ARGUMENT` (a folder that exists, a misshaped tensor, weights or shares that make no sense),
 * `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT` (a source that is made for another model, by tensor),
 * `BMN_E_UNSUPPORTED`, `BMN_E_OUT_OF_MEMORY`, `BMN_E_CANCELLED`. Threads: any. Since 0.1.
 *
 * `base`, `folder` and the sources' paths are NUL-terminated; `sources` points to `n` items; `options` is NULL or as large as it
 * says; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_merge(const char *base,
                     const struct bmn_merge_source *sources,
                     size_t n,
                     const struct bmn_merge_options *options,
                     const char *folder,
                     struct bmn_error **err);

/**
 * Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_model_options)` of the caller's header. NULL is ignored.
 *
 * Threads: any. Since 0.1.
 *
 * `options` is NULL or points to `struct_size` bytes.
 */
BMN_API
void bmn_model_options_init(struct bmn_model_options *options,
                            size_t struct_size);

/**
 * Opens a model: a `.gguf` file, or a folder with `config.json`, safetensors and tokenizer. `options` may be NULL.
 *
 * Weights are memory-mapped: several models of one file, in any number of processes, share their pages.
 * On success `*out` is a model to free with `bmn_model_free`. Errors: `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT`
 * (a missing or extra tensor by name, or an adapter for another model), `BMN_E_INVALID_ARGUMENT` (a misshaped tensor by name, a
 * context longer than the model's), `BMN_E_UNSUPPORTED`, `BMN_E_INTEGRITY`, `BMN_E_OUT_OF_MEMORY`, `BMN_E_NO_DEVICE`,
 * `BMN_E_DEVICE`. Threads: any. Since 0.1.
 *
 * `runtime` is live; `path` is NUL-terminated; `options` is NULL or as large as it says; `out` points to a place; `err` to a
 * place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_model_open(const struct bmn_runtime *runtime,
                          const char *path,
                          const struct bmn_model_options *options,
                          struct bmn_model **out,
                          struct bmn_error **err);

/**
 * What a model would need, as a result whose JSON has `weights`, `cache` (one sequence of `context` tokens), `activations` and
 * `need`, in bytes. Only the files' headers are read.
 *
 * On success `*out` is a result to free with `bmn_result_free`. Errors as for `bmn_model_open`. Threads: any. Since 0.1.
 *
 * As for `bmn_model_open`.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_model_plan(const struct bmn_runtime *runtime,
                          const char *path,
                          const struct bmn_model_options *options,
                          struct bmn_result **out,
                          struct bmn_error **err);

/**
 * What the model is, as a JSON object: architecture, identities, fingerprint, sizes, context, memory plan.
 *
 * Returns a string that lives as long as the model, NULL for NULL. Threads: any. Since 0.1.
 *
 * `model` is NULL or live.
 */
BMN_API const char *bmn_model_info_json(const struct bmn_model *model);

/**
 * Frees a model; its sessions and adapters stay usable and keep it in memory. NULL is allowed.
 *
 * Threads: any, once. Since 0.1.
 *
 * `model` is NULL or live, and ends here.
 */
BMN_API void bmn_model_free(struct bmn_model *model);

/**
 * Number of spans: entities, or triggers and arguments. 0 for NULL.
 *
 * Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API size_t bmn_result_span_count(const struct bmn_result *result);

/**
 * Span `i` with offsets in `unit` (`BMN_UNIT_*`). The caller sets `out->struct_size` first; no more than that is written.
 *
 * Strings belong to the result. Threads: any. Since 0.1.
 *
 * `result` is live; `out` points to as many bytes as its `struct_size` says; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_result_span(const struct bmn_result *result,
                           size_t i,
                           uint32_t unit,
                           struct bmn_span *out,
                           struct bmn_error **err);

/**
 * Number of places where the text of span `i` stands in the document as a whole word; the first is the span itself.
 *
 * 0 for NULL and for an index that is none. Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API size_t bmn_result_occurrence_count(const struct bmn_result *result, size_t i);

/**
 * Place `j` of span `i`, half-open, in `unit`.
 *
 * Threads: any. Since 0.1.
 *
 * `result` is live; `start` and `end` point to places; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_result_occurrence(const struct bmn_result *result,
                                 size_t i,
                                 size_t j,
                                 uint32_t unit,
                                 uint64_t *start,
                                 uint64_t *end,
                                 struct bmn_error **err);

/**
 * Number of links: relations, event arguments and attributes. 0 for NULL.
 *
 * Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API size_t bmn_result_link_count(const struct bmn_result *result);

/**
 * Link `i`. The caller sets `out->struct_size` first; no more than that is written.
 *
 * Strings belong to the result. Threads: any. Since 0.1.
 *
 * `result` is live; `out` points to as many bytes as its `struct_size` says; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_result_link(const struct bmn_result *result,
                           size_t i,
                           struct bmn_link *out,
                           struct bmn_error **err);

/**
 * Number of scored options, the document's own and those of its links. 0 for NULL.
 *
 * Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API size_t bmn_result_score_count(const struct bmn_result *result);

/**
 * Score `i`. The caller sets `out->struct_size` first; no more than that is written.
 *
 * Strings belong to the result. Threads: any. Since 0.1.
 *
 * `result` is live; `out` points to as many bytes as its `struct_size` says; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_result_score(const struct bmn_result *result,
                            size_t i,
                            struct bmn_score *out,
                            struct bmn_error **err);

/**
 * The chosen option; after `bmn_classify` with `BMN_RUN_MULTI` the classes that apply, one per line; else empty.
 *
 * Returns a string that belongs to the result, NULL for NULL. Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API const char *bmn_result_label(const struct bmn_result *result);

/**
 * The expected score after `bmn_similar`; NaN else.
 *
 * Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API double bmn_result_number(const struct bmn_result *result);

/**
 * The model's probability of saying something that is none of the options, where options were scored; NaN else.
 *
 * Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API double bmn_result_outside_mass(const struct bmn_result *result);

/**
 * The whole result as a JSON object, offsets in `unit` (`BMN_UNIT_*`), with provenance. Made once per unit.
 *
 * Returns a string that belongs to the result; NULL for NULL and for a unit that is none. Threads: any. Since 0.1.
 *
 * `result` is NULL or live.
 */
BMN_API const char *bmn_result_json(const struct bmn_result *result, uint32_t unit);

/**
 * Frees a result with all its strings; NULL is allowed.
 *
 * Threads: any, once. Since 0.1.
 *
 * `result` is NULL or live, and ends here.
 */
BMN_API void bmn_result_free(struct bmn_result *result);

/**
 * Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_run_options)` of the caller's header. NULL is ignored.
 *
 * Threads: any. Since 0.1.
 *
 * `options` is NULL or points to `struct_size` bytes.
 */
BMN_API void bmn_run_options_init(struct bmn_run_options *options, size_t struct_size);

/**
 * Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_runtime_options)` of the caller's header. NULL is ignored.
 *
 * Threads: any. Since 0.1.
 *
 * `options` is NULL or points to `struct_size` bytes.
 */
BMN_API
void bmn_runtime_options_init(struct bmn_runtime_options *options,
                              size_t struct_size);

/**
 * Makes a runtime. `options` may be NULL for the defaults.
 *
 * On success `*out` is a runtime to free with `bmn_runtime_free`; models keep what they need of it.
 * Errors: `BMN_E_INVALID_ARGUMENT`, `BMN_E_ABI`. Whether the device is there is seen when a model is opened. Threads: any. Since 0.1.
 *
 * `options` is NULL or as large as it says; `out` points to a place; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_runtime_new(const struct bmn_runtime_options *options,
                           struct bmn_runtime **out,
                           struct bmn_error **err);

/**
 * Frees a runtime; models opened with it stay usable and keep its log. NULL is allowed.
 *
 * Threads: any, once. Since 0.1.
 *
 * `runtime` is NULL or live, and ends here.
 */
BMN_API void bmn_runtime_free(struct bmn_runtime *runtime);

/**
 * Reads a schema: `{"labels": [...], "classes": [...], "events": [...], "relations": [...]}`, each optional.
 *
 * A label is a string or `{"name", "description"}`; an event has `arguments` and `attributes` besides; a relation has
 * `head` and `tail`, lists of labels. An unknown key is an error that names it.
 * On success `*out` is a schema to free with `bmn_schema_free`. Threads: any. Since 0.1.
 *
 * `json` points to `len` bytes; `out` to a place; `err` to a place or NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_schema_from_json(const char *json,
                                size_t len,
                                struct bmn_schema **out,
                                struct bmn_error **err);

/**
 * Frees a schema; NULL is allowed. Runs that were started with it are not touched.
 *
 * Threads: any, once. Since 0.1.
 *
 * `schema` is NULL or live, and ends here.
 */
BMN_API void bmn_schema_free(struct bmn_schema *schema);

/**
 * Opens a session on `model`.
 *
 * On success `*out` is a session to free with `bmn_session_free`. Threads: any. Since 0.1.
 *
 * `model` is live; `out` points to a place; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_session_new(const struct bmn_model *model,
                           struct bmn_session **out,
                           struct bmn_error **err);

/**
 * Frees a session; NULL is allowed. No call may be using it.
 *
 * Threads: any, once. Since 0.1.
 *
 * `session` is NULL or live and unused, and ends here.
 */
BMN_API void bmn_session_free(struct bmn_session *session);

/**
 * Entities of `n` documents by the labels of `schema`: spans, each `text[start..end]` exactly.
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_extract(const struct bmn_session *session,
                       const struct bmn_schema *schema,
                       const struct bmn_str *docs,
                       size_t n,
                       const struct bmn_run_options *options,
                       struct bmn_result **results,
                       bmn_status *statuses,
                       struct bmn_error **err);

/**
 * Events of `n` documents by the events of `schema`: triggers and arguments as spans, arguments and attributes as links.
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_events(const struct bmn_session *session,
                      const struct bmn_schema *schema,
                      const struct bmn_str *docs,
                      size_t n,
                      const struct bmn_run_options *options,
                      struct bmn_result **results,
                      bmn_status *statuses,
                      struct bmn_error **err);

/**
 * The class of `n` documents among the classes of `schema`, or with `BMN_RUN_MULTI` those that apply, with probabilities.
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_classify(const struct bmn_session *session,
                        const struct bmn_schema *schema,
                        const struct bmn_str *docs,
                        size_t n,
                        const struct bmn_run_options *options,
                        struct bmn_result **results,
                        bmn_status *statuses,
                        struct bmn_error **err);

/**
 * Relations of `schema` between the entities of `n` documents, given or extracted: entities as spans, pairs as links with
 * the probabilities of all relations.
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` and `schema` are live; `docs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_relate(const struct bmn_session *session,
                      const struct bmn_schema *schema,
                      const struct bmn_relate_doc *docs,
                      size_t n,
                      const struct bmn_run_options *options,
                      struct bmn_result **results,
                      bmn_status *statuses,
                      struct bmn_error **err);

/**
 * `n` multiple-choice questions: every option with its probability.
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` is live; `questions` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_answer(const struct bmn_session *session,
                      const struct bmn_question *questions,
                      size_t n,
                      const struct bmn_run_options *options,
                      struct bmn_result **results,
                      bmn_status *statuses,
                      struct bmn_error **err);

/**
 * Whether the hypothesis (`b`) follows from the premise (`a`), for `n` pairs: entailment, neutral, contradiction.
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` is live; `pairs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_entail(const struct bmn_session *session,
                      const struct bmn_pair *pairs,
                      size_t n,
                      const struct bmn_run_options *options,
                      struct bmn_result **results,
                      bmn_status *statuses,
                      struct bmn_error **err);

/**
 * How similar two texts are, for `n` pairs: a probability per whole score from `scale_low` to `scale_high`, and the expected
 * score (`bmn_result_number`).
 *
 * `results` and `statuses` have `n` places. A document that fails has its status and a result whose JSON says why; the others
 * are not touched. With `statuses` NULL the first failing document fails the call, and nothing is written.
 * Results are to be freed with `bmn_result_free`. Threads: one at a time per session. Since 0.1.
 *
 * `session` is live; `pairs` points to `n` items with the memory they name; `options` is NULL or as large as it says;
 * `results` has `n` places, so has `statuses` unless NULL; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_similar(const struct bmn_session *session,
                       const struct bmn_pair *pairs,
                       size_t n,
                       const struct bmn_run_options *options,
                       struct bmn_result **results,
                       bmn_status *statuses,
                       struct bmn_error **err);

/**
 * Sets `*options` to the defaults; `struct_size` is `sizeof(bmn_train_options)` of the caller's header. NULL is ignored.
 *
 * Threads: any. Since 0.1.
 *
 * `options` is NULL or points to `struct_size` bytes.
 */
BMN_API
void bmn_train_options_init(struct bmn_train_options *options,
                            size_t struct_size);

/**
 * Reads a run's configuration (TOML, docs/training.md), its examples and its model. `flags`: `BMN_TRAIN_*`, added up.
 *
 * `config` is the path of a file, whose relative paths are those of its folder, or with `BMN_TRAIN_TEXT` the text itself. The
 * run computes on the runtime's device, whatever `run.device` says, and with the runtime's threads unless `run.threads` is set.
 * The folder `output` is created; the run writes there and nowhere else.
 * On success `*out` is a trainer to free with `bmn_trainer_free`. Errors: `BMN_E_NOT_FOUND`, `BMN_E_IO`, `BMN_E_MODEL_FORMAT`
 * (configuration, record or model, by file and line), `BMN_E_INVALID_ARGUMENT` (a folder with a run; a run that began with
 * something else), `BMN_E_OUT_OF_MEMORY` (beyond the runtime's limit), those of the device. Threads: any. Since 0.1.
 *
 * `runtime` is live; `config` is NUL-terminated; `out` points to a place; `err` to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_trainer_open(const struct bmn_runtime *runtime,
                            const char *config,
                            uint32_t flags,
                            struct bmn_trainer **out,
                            struct bmn_error **err);

/**
 * What the run needs, as a JSON object: `examples`, `left_out`, `tokens`, `tokens_that_count`, `step` (done before), `steps`,
 * `parameters`, `parameters_tuned`, `need` (bytes).
 *
 * Returns a string that lives as long as the trainer, NULL for NULL. Threads: any. Since 0.1.
 *
 * `trainer` is NULL or live.
 */
BMN_API
const char *bmn_trainer_plan_json(const struct bmn_trainer *trainer);

/**
 * Runs to the end, or returns at once where it is there; `options` may be NULL. The result is then in the folder that
 * `bmn_trainer_output` names, a PEFT adapter for `bmn_adapter_open` or a model for `bmn_model_open`.
 *
 * Errors: `BMN_E_CANCELLED` where it was stopped: everything is saved, and another call goes on, or another trainer opened with
 * `BMN_TRAIN_RESUME`, to the same bits. `BMN_E_INVALID_ARGUMENT` (a loss that is no number or jumps), `BMN_E_IO`,
 * `BMN_E_OUT_OF_MEMORY`, `BMN_E_DEVICE`: the trainer is then of no more use; its checkpoints are. `BMN_E_BUSY`. Threads: one at a time. Since 0.1.
 *
 * `trainer` is live; `options` is NULL or as large as it says; `err` points to a place or is NULL.
 */
BMN_API
BMN_NODISCARD
bmn_status bmn_trainer_run(const struct bmn_trainer *trainer,
                           const struct bmn_train_options *options,
                           struct bmn_error **err);

/**
 * The folder of the adapter or model once the run is done; NULL before, and for NULL.
 *
 * Returns a string that lives as long as the trainer. Threads: any. Since 0.1.
 *
 * `trainer` is NULL or live.
 */
BMN_API const char *bmn_trainer_output(const struct bmn_trainer *trainer);

/**
 * Frees a trainer; what it saved stays. NULL is allowed. No call may be using it.
 *
 * Threads: any, once. Since 0.1.
 *
 * `trainer` is NULL or live and unused, and ends here.
 */
BMN_API void bmn_trainer_free(struct bmn_trainer *trainer);

/**
 * The ABI of the library at hand, to compare with `BMN_ABI_VERSION` of the header compiled with.
 *
 * Threads: any. Since 0.1.
 */
BMN_API uint32_t bmn_abi_version(void);

/**
 * The version of the library at hand, as "0.1.0".
 *
 * Returns a static string. Threads: any. Since 0.1.
 */
BMN_API const char *bmn_version_string(void);

/**
 * How the library was built, as a JSON object: version, commit, target, licence.
 *
 * Returns a static string. Threads: any. Since 0.1.
 */
BMN_API const char *bmn_build_info(void);

/**
 * The name of a status, as "BMN_E_IO"; "BMN_E_UNKNOWN" for a number that is none.
 *
 * Returns a static string. Threads: any. Since 0.1.
 */
BMN_API const char *bmn_status_name(bmn_status status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BIOMISTRAL_NLU_H */
