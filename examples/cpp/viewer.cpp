// A note in the terminal with its spans in colour: viewer MODEL LABEL[,LABEL..] < note.txt
#include <biomistral_nlu.hpp>
#include <algorithm>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>

int main(int argc, char **argv) try {
  if (argc != 3) {
    std::cerr << "usage: viewer MODEL LABEL[,LABEL..] < note.txt\n";
    return 2;
  }
  const std::string note{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  std::map<std::string, int> colours; // ANSI numbers
  std::string schema = "{\"labels\": [", label;
  for (std::istringstream labels(argv[2]); std::getline(labels, label, ',');) {
    if (label.find_first_of("\"\\") != std::string::npos) {
      std::cerr << "labels without quotes, please\n";
      return 2;
    }
    schema += (colours.empty() ? "\"" : ", \"") + label + "\"";
    colours.emplace(label, 41 + static_cast<int>(colours.size() % 6));
  }

  const bmn::model model(argv[1]);
  const bmn::result found = bmn::session(model).extract(bmn::schema(schema + "]}"), note);
  std::vector<bmn::span> spans(found.begin(), found.end());
  std::sort(spans.begin(), spans.end(), [](const bmn::span &a, const bmn::span &b) {
    return a.start != b.start ? a.start < b.start : a.end > b.end;
  });
  std::size_t at = 0;
  for (const bmn::span &s : spans) {
    if (s.start < at) // a span within another, or crossing it, is listed below only
      continue;
    std::cout << note.substr(at, s.start - at) << "\x1b[" << colours[std::string(s.label)] << ";97m"
              << note.substr(s.start, s.end - s.start) << "\x1b[0m";
    at = s.end;
  }
  std::cout << note.substr(at) << '\n';
  for (const bmn::span &s : spans)
    std::cout << s.start << '-' << s.end << '\t' << std::string(s.label) << '\t' << std::string(s.text) << '\t'
              << s.logprob << '\n';
} catch (const bmn::error &e) {
  std::cerr << e.what() << '\n';
  return 1;
}
