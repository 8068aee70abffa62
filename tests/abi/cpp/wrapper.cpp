// The C++ header, with exceptions or (BMN_NO_EXCEPTIONS) without. Argument: the model.
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

#ifndef BMN_NO_EXCEPTIONS
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
  CHECK(argc == 2);
  run(argv[1]);
  std::puts("wrapper: ok");
  return 0;
}
