// biomistral_nlu.hpp - C++11 over biomistral_nlu.h: handles that free themselves, spans as a range, errors as exceptions.
//
//   bmn::model model("model.gguf");
//   bmn::session session(model);
//   for (const bmn::span &s : session.extract(bmn::schema(R"({"labels": ["drug"]})"), note))
//     std::cout << s.label << ' ' << s.text << ' ' << s.start << '-' << s.end << '\n';
//
// Offsets are bytes of UTF-8, so note.substr(s.start, s.end - s.start) == s.text. Handles move and do not copy. With
// BMN_NO_EXCEPTIONS defined nothing throws: a function returns bmn::expected<T>, which holds the value or the error.
#ifndef BIOMISTRAL_NLU_HPP
#define BIOMISTRAL_NLU_HPP

#include "biomistral_nlu.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>
#if __cplusplus >= 201703L
#include <string_view>
#endif
#ifndef BMN_NO_EXCEPTIONS
#include <stdexcept>
#endif

namespace bmn {

#if __cplusplus >= 201703L
using text_view = std::string_view;
#else
/// The part of std::string_view that this header needs.
class text_view {
public:
  text_view() noexcept : data_(nullptr), size_(0) {}
  text_view(const char *text) : data_(text), size_(std::char_traits<char>::length(text)) {}
  text_view(const char *data, std::size_t size) noexcept : data_(data), size_(size) {}
  text_view(const std::string &text) noexcept : data_(text.data()), size_(text.size()) {}
  const char *data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  explicit operator std::string() const { return std::string(data_, size_); }

private:
  const char *data_;
  std::size_t size_;
};
inline bool operator==(text_view a, text_view b) {
  return a.size() == b.size() && std::char_traits<char>::compare(a.data(), b.data(), a.size()) == 0;
}
#endif

/// A failed call: a status and one sentence that never holds document text.
#ifndef BMN_NO_EXCEPTIONS
class error : public std::runtime_error {
public:
  error(bmn_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
  bmn_status status() const noexcept { return static_cast<bmn_status>(status_); }

private:
  std::int64_t status_; // no padding
};
template <class T> using result_of = T;
#else
class error {
public:
  error(bmn_status status, std::string message) : message_(std::move(message)), status_(status) {}
  const char *what() const noexcept { return message_.c_str(); }
  bmn_status status() const noexcept { return static_cast<bmn_status>(status_); }

private:
  std::string message_;
  std::int64_t status_; // no padding
};

/// A value or an error.
template <class T> class expected {
public:
  expected(T value) : value_(new T(std::move(value))) {}
  expected(error failure) : error_(new error(std::move(failure))) {}
  explicit operator bool() const noexcept { return static_cast<bool>(value_); }
  T &operator*() noexcept { return *value_; }
  T *operator->() noexcept { return value_.get(); }
  const bmn::error &failure() const noexcept { return *error_; }

private:
  std::unique_ptr<T> value_;
  std::unique_ptr<bmn::error> error_;
};
template <class T> using result_of = expected<T>;
#endif

namespace detail {

template <class T, void (*Free)(T *)> struct freed {
  void operator()(T *handle) const noexcept { Free(handle); }
};
template <class T, void (*Free)(T *)> using handle = std::unique_ptr<T, freed<T, Free>>;

/// Takes the error object of a call that failed.
class trap {
public:
  trap() noexcept : error_(nullptr) {}
  ~trap() { bmn_error_free(error_); }
  trap(const trap &) = delete;
  trap &operator=(const trap &) = delete;
  bmn_error **out() noexcept { return &error_; }
  bmn::error take(bmn_status status) const {
    return bmn::error(status, error_ ? bmn_error_message(error_) : bmn_status_name(status));
  }

private:
  bmn_error *error_;
};

inline bmn_str str(text_view text) noexcept {
  bmn_str s;
  s.ptr = text.data();
  s.len = text.size();
  return s;
}

} // namespace detail

#ifndef BMN_NO_EXCEPTIONS
#define BMN_CALL_(T, status, trap, make)                                                                               \
  if ((status) != BMN_OK)                                                                                              \
    throw(trap).take(status);                                                                                          \
  return make
#else
#define BMN_CALL_(T, status, trap, make)                                                                               \
  if ((status) != BMN_OK)                                                                                              \
    return bmn::expected<T>((trap).take(status));                                                                      \
  return bmn::expected<T>(make)
#endif

/// Run options with the library's defaults; the fields are those of bmn_run_options.
struct run_options : bmn_run_options {
  run_options() noexcept { bmn_run_options_init(this, sizeof(bmn_run_options)); }
};

/// Stops runs from any thread.
class cancel {
public:
  cancel() : handle_(bmn_cancel_new()) {}
  void trigger() const noexcept { bmn_cancel_trigger(handle_.get()); }
  void reset() const noexcept { bmn_cancel_reset(handle_.get()); }
  const bmn_cancel *get() const noexcept { return handle_.get(); }

private:
  detail::handle<bmn_cancel, bmn_cancel_free> handle_;
};

/// Device, threads and log of models.
class runtime {
public:
  static result_of<runtime> make(const bmn_runtime_options *options = nullptr) {
    bmn_runtime *made = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_runtime_new(options, &made, trap.out());
    BMN_CALL_(runtime, status, trap, runtime(made));
  }
  const bmn_runtime *get() const noexcept { return handle_.get(); }

private:
  explicit runtime(bmn_runtime *made) : handle_(made) {}
  detail::handle<bmn_runtime, bmn_runtime_free> handle_;
};

/// What is asked for.
class schema {
public:
  static result_of<schema> from_json(text_view json) {
    bmn_schema *made = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_schema_from_json(json.data(), json.size(), &made, trap.out());
    BMN_CALL_(schema, status, trap, schema(made));
  }
#ifndef BMN_NO_EXCEPTIONS
  explicit schema(text_view json) : schema(from_json(json)) {}
#endif
  const bmn_schema *get() const noexcept { return handle_.get(); }

private:
  explicit schema(bmn_schema *made) : handle_(made) {}
  detail::handle<bmn_schema, bmn_schema_free> handle_;
};

/// A LoRA adapter, read.
class adapter {
public:
  const bmn_adapter *get() const noexcept { return handle_.get(); }

private:
  friend class model;
  explicit adapter(bmn_adapter *made) : handle_(made) {}
  detail::handle<bmn_adapter, bmn_adapter_free> handle_;
};

/// Weights, tokenizer, adapters.
class model {
public:
  static result_of<model> open(const runtime &where, const std::string &path,
                               const bmn_model_options *options = nullptr) {
    bmn_model *made = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_model_open(where.get(), path.c_str(), options, &made, trap.out());
    BMN_CALL_(model, status, trap, model(made));
  }
#ifndef BMN_NO_EXCEPTIONS
  explicit model(const std::string &path) : model(open(runtime::make(), path)) {}
#endif
  result_of<adapter> open_adapter(const std::string &path) const {
    bmn_adapter *made = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_adapter_open(handle_.get(), path.c_str(), &made, trap.out());
    BMN_CALL_(adapter, status, trap, adapter(made));
  }
  /// The generation: runs that start from now on with this name use the adapter.
  result_of<std::uint64_t> set_adapter(const std::string &name, const adapter &with) const {
    std::uint64_t generation = 0;
    detail::trap trap;
    const bmn_status status = bmn_model_set_adapter(handle_.get(), name.c_str(), with.get(), &generation, trap.out());
    BMN_CALL_(std::uint64_t, status, trap, generation);
  }
  std::string info_json() const { return bmn_model_info_json(handle_.get()); }
  const bmn_model *get() const noexcept { return handle_.get(); }

private:
  explicit model(bmn_model *made) : handle_(made) {}
  detail::handle<bmn_model, bmn_model_free> handle_;
};

/// Training options with the library's defaults; the fields are those of bmn_train_options.
struct train_options : bmn_train_options {
  train_options() noexcept { bmn_train_options_init(this, sizeof(bmn_train_options)); }
};

/// A training run.
class trainer {
public:
  /// `config`: the path of a TOML file, or with BMN_TRAIN_TEXT the text itself; `flags`: BMN_TRAIN_*.
  static result_of<trainer> open(const runtime &where, const std::string &config, std::uint32_t flags = 0) {
    bmn_trainer *made = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_trainer_open(where.get(), config.c_str(), flags, &made, trap.out());
    BMN_CALL_(trainer, status, trap, trainer(made));
  }
#ifndef BMN_NO_EXCEPTIONS
  explicit trainer(const std::string &config, std::uint32_t flags = 0) : trainer(open(runtime::make(), config, flags)) {}
#endif
  std::string plan_json() const { return bmn_trainer_plan_json(handle_.get()); }
  /// Runs to the end: the folder of the adapter or model. A run that was stopped fails with BMN_E_CANCELLED and can go on.
  result_of<std::string> run(const bmn_train_options *options = nullptr) const {
    detail::trap trap;
    const bmn_status status = bmn_trainer_run(handle_.get(), options, trap.out());
    BMN_CALL_(std::string, status, trap, std::string(bmn_trainer_output(handle_.get())));
  }

private:
  explicit trainer(bmn_trainer *made) : handle_(made) {}
  detail::handle<bmn_trainer, bmn_trainer_free> handle_;
};

/// Merge options with the library's defaults; the fields are those of bmn_merge_options.
struct merge_options : bmn_merge_options {
  merge_options() noexcept { bmn_merge_options_init(this, sizeof(bmn_merge_options)); }
};

/// A source of a merge; `kind`: BMN_MERGE_MODEL or BMN_MERGE_ADAPTER. It does not keep `path`.
inline bmn_merge_source merge_source(const char *path, double weight = 1, std::uint32_t kind = BMN_MERGE_ADAPTER) {
  bmn_merge_source source = bmn_merge_source();
  source.path = path;
  source.weight = weight;
  source.kind = kind;
  return source;
}

/// Writes `base` plus the weighted differences of `sources` as the new folder `folder`, which it returns.
inline result_of<std::string> merge(const std::string &base, const std::vector<bmn_merge_source> &sources,
                                    const std::string &folder, const bmn_merge_options *options = nullptr) {
  detail::trap trap;
  const bmn_status status =
      bmn_merge(base.c_str(), sources.data(), sources.size(), options, folder.c_str(), trap.out());
  BMN_CALL_(std::string, status, trap, folder);
}

/// text[start, end) of the document in the unit asked for; the views live as long as the result.
struct span {
  std::size_t id, start, end;
  text_view label, text;
  double logprob, kept_mass;
};

/// A relation, an event's argument, or an event's attribute.
struct link {
  std::uint32_t id, kind, from_id, to_id;
  text_view label, value;
  double probability;
};

/// An option with its probability.
struct score {
  std::size_t link_id;
  text_view label;
  double probability, logprob;
};

/// The outcome of one document: a range of spans, with links and scores.
class result {
public:
  class iterator {
  public:
    typedef std::input_iterator_tag iterator_category;
    typedef span value_type;
    typedef std::ptrdiff_t difference_type;
    typedef const span *pointer;
    typedef span reference;
    iterator(const result *of, std::size_t i) noexcept : of_(of), i_(i) {}
    span operator*() const { return of_->at(i_); }
    iterator &operator++() noexcept {
      ++i_;
      return *this;
    }
    iterator operator++(int) noexcept {
      iterator before(*this);
      ++i_;
      return before;
    }
    bool operator==(const iterator &other) const noexcept { return i_ == other.i_; }
    bool operator!=(const iterator &other) const noexcept { return i_ != other.i_; }

  private:
    const result *of_;
    std::size_t i_;
  };

  result(bmn_result *given, bmn_status status, std::uint32_t unit) : handle_(given), status_(status), unit_(unit) {}
  bmn_status status() const noexcept { return status_; }
  std::size_t size() const noexcept { return bmn_result_span_count(handle_.get()); }
  iterator begin() const noexcept { return iterator(this, 0); }
  iterator end() const noexcept { return iterator(this, size()); }
  /// Span i < size().
  span at(std::size_t i) const {
    bmn_span s = bmn_span();
    s.struct_size = sizeof s;
    if (bmn_result_span(handle_.get(), i, unit_, &s, nullptr) != BMN_OK)
      return span();
    const span out = {s.id,      static_cast<std::size_t>(s.start), static_cast<std::size_t>(s.end), text_view(s.label),
                      text_view(s.text, static_cast<std::size_t>(s.text_len)), s.logprob, s.kept_mass};
    return out;
  }
  std::vector<link> links() const {
    std::vector<link> all;
    for (std::size_t i = 0, n = bmn_result_link_count(handle_.get()); i < n; ++i) {
      bmn_link l = bmn_link();
      l.struct_size = sizeof l;
      if (bmn_result_link(handle_.get(), i, &l, nullptr) == BMN_OK) {
        const link out = {l.id, l.kind, l.from_id, l.to_id, text_view(l.label), text_view(l.value ? l.value : ""),
                          l.probability};
        all.push_back(out);
      }
    }
    return all;
  }
  std::vector<score> scores() const {
    std::vector<score> all;
    for (std::size_t i = 0, n = bmn_result_score_count(handle_.get()); i < n; ++i) {
      bmn_score s = bmn_score();
      s.struct_size = sizeof s;
      if (bmn_result_score(handle_.get(), i, &s, nullptr) == BMN_OK) {
        const score out = {s.link_id, text_view(s.label), s.probability, s.logprob};
        all.push_back(out);
      }
    }
    return all;
  }
  /// The chosen option.
  text_view label() const noexcept { return bmn_result_label(handle_.get()); }
  /// The expected score of session::similar.
  double number() const noexcept { return bmn_result_number(handle_.get()); }
  double outside_mass() const noexcept { return bmn_result_outside_mass(handle_.get()); }
  std::string json() const { return bmn_result_json(handle_.get(), unit_); }

private:
  detail::handle<bmn_result, bmn_result_free> handle_;
  bmn_status status_;
  std::uint32_t unit_;
};

/// One thread's work at a time.
class session {
public:
  static result_of<session> make(const model &on, std::uint32_t unit = BMN_UNIT_BYTE) {
    bmn_session *made = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_session_new(on.get(), &made, trap.out());
    BMN_CALL_(session, status, trap, session(made, unit));
  }
#ifndef BMN_NO_EXCEPTIONS
  explicit session(const model &on, std::uint32_t unit = BMN_UNIT_BYTE) : session(make(on, unit)) {}
#endif

  result_of<result> extract(const schema &of, text_view document, const bmn_run_options *options = nullptr) const {
    return one(bmn_extract, of, document, options);
  }
  result_of<result> events(const schema &of, text_view document, const bmn_run_options *options = nullptr) const {
    return one(bmn_events, of, document, options);
  }
  result_of<result> classify(const schema &of, text_view document, const bmn_run_options *options = nullptr) const {
    return one(bmn_classify, of, document, options);
  }
  result_of<result> relate(const schema &of, text_view document, const bmn_run_options *options = nullptr) const {
    bmn_relate_doc doc = bmn_relate_doc();
    doc.text = detail::str(document);
    bmn_result *out = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_relate(handle_.get(), of.get(), &doc, 1, options, &out, nullptr, trap.out());
    BMN_CALL_(result, status, trap, result(out, BMN_OK, unit()));
  }
  result_of<result> answer(text_view question, text_view context, const std::vector<text_view> &choices,
                           const bmn_run_options *options = nullptr) const {
    std::vector<bmn_str> texts;
    for (std::size_t i = 0; i < choices.size(); ++i)
      texts.push_back(detail::str(choices[i]));
    bmn_question asked = bmn_question();
    asked.question = detail::str(question);
    asked.context = detail::str(context);
    asked.options = texts.data();
    asked.n_options = texts.size();
    bmn_result *out = nullptr;
    detail::trap trap;
    const bmn_status status = bmn_answer(handle_.get(), &asked, 1, options, &out, nullptr, trap.out());
    BMN_CALL_(result, status, trap, result(out, BMN_OK, unit()));
  }
  result_of<result> entail(text_view premise, text_view hypothesis, const bmn_run_options *options = nullptr) const {
    return pair(bmn_entail, premise, hypothesis, options);
  }
  result_of<result> similar(text_view first, text_view second, const bmn_run_options *options = nullptr) const {
    return pair(bmn_similar, first, second, options);
  }
  /// Spans of many documents; a document that fails has its status and no spans.
  result_of<std::vector<result>> extract(const schema &of, const std::vector<text_view> &documents,
                                         const bmn_run_options *options = nullptr) const {
    std::vector<bmn_str> texts;
    for (std::size_t i = 0; i < documents.size(); ++i)
      texts.push_back(detail::str(documents[i]));
    std::vector<bmn_result *> out(texts.size(), nullptr);
    std::vector<bmn_status> statuses(texts.size(), BMN_OK);
    detail::trap trap;
    const bmn_status status = bmn_extract(handle_.get(), of.get(), texts.data(), texts.size(), options, out.data(),
                                          statuses.data(), trap.out());
    std::vector<result> all;
    for (std::size_t i = 0; status == BMN_OK && i < out.size(); ++i)
      all.push_back(result(out[i], statuses[i], unit()));
    BMN_CALL_(std::vector<result>, status, trap, std::vector<result>(std::move(all)));
  }
  bmn_session *get() const noexcept { return handle_.get(); }

private:
  session(bmn_session *made, std::uint32_t unit) : handle_(made), unit_(unit) {}
  std::uint32_t unit() const noexcept { return static_cast<std::uint32_t>(unit_); }

  template <class Task>
  result_of<result> one(Task task, const schema &of, text_view document, const bmn_run_options *options) const {
    const bmn_str text = detail::str(document);
    bmn_result *out = nullptr;
    detail::trap trap;
    const bmn_status status = task(handle_.get(), of.get(), &text, 1, options, &out, nullptr, trap.out());
    BMN_CALL_(result, status, trap, result(out, BMN_OK, unit()));
  }
  template <class Task>
  result_of<result> pair(Task task, text_view a, text_view b, const bmn_run_options *options) const {
    bmn_pair texts = bmn_pair();
    texts.a = detail::str(a);
    texts.b = detail::str(b);
    bmn_result *out = nullptr;
    detail::trap trap;
    const bmn_status status = task(handle_.get(), &texts, 1, options, &out, nullptr, trap.out());
    BMN_CALL_(result, status, trap, result(out, BMN_OK, unit()));
  }

  detail::handle<bmn_session, bmn_session_free> handle_;
  std::uint64_t unit_; // no padding
};

#undef BMN_CALL_

} // namespace bmn
#endif
