// The drugs of a note: c++ first_span.cpp $(pkg-config --cflags --libs biomistral_nlu) && ./a.out model.gguf
#include <biomistral_nlu.hpp>
#include <iostream>

int main(int, char **argv) {
  const std::string note = "Started metformin 500 mg; aspirin was stopped.";
  const bmn::model model(argv[1]);
  const bmn::result spans = bmn::session(model).extract(bmn::schema(R"({"labels": ["drug"]})"), note);
  for (const bmn::span &s : spans)
    std::cout << s.label << '\t' << std::string(s.text) << '\t' << s.start << '-' << s.end << '\n';
}
