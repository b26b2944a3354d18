#include <chrono>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/evaluation/speed_timing.h"
#include "attune/tensors/device.h"
#include "benchmarks/worker/cases.h"

namespace attune {
namespace {

void answer(const Json& line) {
  std::cout << line.dump() << std::endl;
}

int serve(Case& work) {
  answer({{"ready", true}});
  for (std::string line; std::getline(std::cin, line) && line != "end";) {
    if (line == "go") {
      const auto begin = std::chrono::steady_clock::now();
      const double value = work.round();
      const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
      answer({{"ms", time.count()}, {"value", value}});
    } else if (line.starts_with("save ")) {
      save_tensors(line.substr(5), work.results());
      answer({{"saved", line.substr(5)}});
    } else {
      throw UsageError(fmt::format("standard input: expected go, save PATH or end, found \"{}\"", line));
    }
  }
  answer({{"peak_mb", peak_megabytes()}});
  return 0;
}

int run(int count, char** arguments) {
  CLI::App app("Attune's side of benchmarks/compare");
  std::string name;
  Inputs inputs;
  int threads = 0;
  app.add_option("--case", name)->required();
  app.add_option("--model", inputs.model)->required();
  app.add_option("--inputs", inputs.file)->required();
  app.add_option("--threads", threads);
  CLI11_PARSE(app, count, arguments);
  set_threads(threads);
  flush_denormals();
  keep_freed_memory();
  return serve(*make_case(name, inputs));
}

}  // namespace
}  // namespace attune

int main(int count, char** arguments) {
  try {
    return attune::run(count, arguments);
  } catch (const std::exception& problem) {
    std::cerr << "error: " << problem.what() << '\n';
    return 1;
  }
}
