// The C++ header, with exceptions or (BMN_NO_EXCEPTIONS) without. Arguments: the model, a folder of tests/abi/tiny.py, the folder
// to train and merge in.
#include "biomistral_nlu.hpp"
#include <cstdio>
#include <cstdlib>
#include <string>
#include <type_traits>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                             \
      std::exit(1);                                                                                                    \
    }                                                                                                                  \
  } while (0)

static_assert(!std::is_copy_constructible<bmn::session>::value, "handles do not copy");
static_assert(std::is_nothrow_move_constructible<bmn::model>::value, "handles move");

static const std::string note = "Sj\xc3\xb6gren's syndrome, treated with hydroxychloroquine.";

static std::string config(const std::string &tiny, const std::string &out) {
  return "model = '" + tiny + "/model'\noutput = '" + out + "/run'\nmax_tokens = 128\ntrain = [{file = '" + tiny +
         "/train.jsonl'}]\ntuning = {method = 'lora', rank = 2}\nrun = {epochs = 1, batch = 6, pass_tokens = 256}\n";
}

static std::int32_t count(void *user_data, const bmn_train_event *event) {
  *static_cast<std::uint64_t *>(user_data) += event->kind == BMN_TRAIN_STEP;
  return 0;
}

#ifndef BMN_NO_EXCEPTIONS
static void train(const std::string &tiny, const std::string &out) {
  bmn::trainer trainer(config(tiny, out), BMN_TRAIN_TEXT);
  CHECK(trainer.plan_json().find("\"steps\":2") != std::string::npos);
  std::uint64_t steps = 0;
  bmn::train_options options;
  options.progress = count;
  options.progress_user_data = &steps;
  const std::string adapter = trainer.run(&options);
  CHECK(steps == 2);
  const std::string merged = bmn::merge(tiny + "/model", {bmn::merge_source(adapter.c_str())}, out + "/merged");
  bmn::model model(tiny + "/model");
  CHECK(model.set_adapter("tuned", model.open_adapter(adapter)) == 1);
  bmn::model whole(merged); // other weights than the adapter was made for
  try {
    whole.set_adapter("again", whole.open_adapter(adapter));
    CHECK(false);
  } catch (const bmn::error &e) {
    CHECK(e.status() == BMN_E_MODEL_FORMAT);
  }
  try {
    bmn::trainer again(config(tiny, out), BMN_TRAIN_TEXT);
    CHECK(false);
  } catch (const bmn::error &e) {
    CHECK(e.status() == BMN_E_INVALID_ARGUMENT);
  }
}

static void run(const char *path) {
  bmn::model model(path);
  bmn::session session(model);
  bmn::schema labels(R"({"labels": ["problem", "drug"], "classes": ["a", "b"]})");
  const bmn::result found = session.extract(labels, note);
  std::size_t spans = 0;
  for (const bmn::span &s : found) {
    CHECK(note.substr(s.start, s.end - s.start) == std::string(s.text));
    CHECK(s.id == spans++);
  }
  CHECK(spans == found.size());
  bmn::session moved(std::move(session));
  CHECK(moved.classify(labels, note).scores().size() == 2);
  CHECK(moved.answer("Which?", note, {"one", "two"}).scores().size() == 2);
  CHECK(moved.entail(note, "A drug was given.").scores().size() == 3);
  const double similar = moved.similar(note, note).number();
  CHECK(similar >= 0 && similar <= 5);
  const std::vector<bmn::result> many = moved.extract(labels, {note, "\xff", note});
  CHECK(many.size() == 3 && many[1].status() == BMN_E_INVALID_UTF8 && many[1].size() == 0);
  CHECK(many[0].json() == many[2].json() && many[0].status() == BMN_OK);
  try {
    bmn::schema wrong(R"({"lables": []})");
    CHECK(false);
  } catch (const bmn::error &e) {
    CHECK(e.status() == BMN_E_INVALID_ARGUMENT && std::string(e.what()).find("lables") != std::string::npos);
  }
  try {
    bmn::model none("/nowhere");
    CHECK(false);
  } catch (const bmn::error &e) {
    CHECK(e.status() == BMN_E_NOT_FOUND);
  }
  bmn::cancel cancel;
  cancel.trigger();
  bmn::run_options options;
  options.cancel = cancel.get();
  try {
    moved.extract(labels, note, &options);
    CHECK(false);
  } catch (const bmn::error &e) {
    CHECK(e.status() == BMN_E_CANCELLED);
  }
}
#else
static void train(const std::string &tiny, const std::string &out) {
  auto where = bmn::runtime::make();
  auto trainer = bmn::trainer::open(*where, config(tiny, out), BMN_TRAIN_TEXT);
  CHECK(trainer);
  std::uint64_t steps = 0;
  bmn::train_options options;
  options.progress = count;
  options.progress_user_data = &steps;
  auto adapter = trainer->run(&options);
  CHECK(adapter && steps == 2);
  bmn::merge_options how;
  how.drop = 2;
  auto merged = bmn::merge(tiny + "/model", {bmn::merge_source(adapter->c_str())}, out + "/merged", &how);
  CHECK(!merged && merged.failure().status() == BMN_E_INVALID_ARGUMENT);
}

static void run(const char *path) {
  auto where = bmn::runtime::make();
  CHECK(where);
  auto model = bmn::model::open(*where, path);
  CHECK(model);
  auto session = bmn::session::make(*model);
  auto labels = bmn::schema::from_json(R"({"labels": ["drug"]})");
  CHECK(session && labels);
  auto found = session->extract(*labels, note);
  CHECK(found);
  for (const bmn::span &s : *found)
    CHECK(note.substr(s.start, s.end - s.start) == std::string(s.text));
  auto none = bmn::model::open(*where, "/nowhere");
  CHECK(!none && none.failure().status() == BMN_E_NOT_FOUND);
}
#endif

int main(int argc, char **argv) {
  CHECK(argc == 4);
  run(argv[1]);
  train(argv[2], argv[3]);
  std::puts("wrapper: ok");
  return 0;
}
