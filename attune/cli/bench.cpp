#include <cstdio>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "attune/cli/checks.h"
#include "attune/cli/common.h"
#include "attune/cli/verbs.h"
#include "attune/clip/random_model.h"
#include "attune/evaluation/speed.h"
#include "attune/evaluation/speed_peak.h"
#include "attune/tensors/device.h"

namespace attune {
namespace {

struct BenchOptions {
  Common common;
  std::string model;
  SpeedQuestion question;
  bool quick = false;
  int rounds = 0;
};

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::shared_ptr<const ClipModel> open_measured(const BenchOptions& options) {
  const bool image = options.question.asks("image_tower");
  if (!options.model.empty()) return open_model(options.common, options.model, true, image);
  const at::Device device = choose_device(options.common.device);
  const LoadOptions load{
      .image = image, .device = device, .products = choose_precision(options.common.precision, device)};
  return std::make_shared<const ClipModel>(random_model(vit_b16_config(), options.common.seed, load));
}

constexpr const char* kNoInstructions = "this processor has no instructions for it";

/// Each type with its peak, as far as it was measured.
std::vector<std::pair<const char*, std::optional<PeakSpeed::Measured>>> peaks_of(const PeakSpeed& peak) {
  return {{"fp32", peak.fp32}, {"bf16", peak.bf16}, {"int8", peak.int8}};
}

/// Operations a second that products of a model's type can reach at most.
double peak_for(const PeakSpeed& peak, at::ScalarType products) {
  if (products == at::kBFloat16 && peak.bf16) return peak.bf16->operations;
  if (products == at::kChar && peak.int8) return peak.int8->operations;
  return peak.fp32.operations;
}

void print_machine(const BenchOptions& options, const PeakSpeed& peak) {
  const std::string name = options.model.empty() ? "ViT-B/16 with random weights" : options.model;
  if (options.common.json) {
    print_json({{"part", "machine"},
                {"processor", processor_name()},
                {"instructions", peak.instructions},
                {"threads", at::get_num_threads()},
                {"device", options.common.device},
                {"precision", options.common.precision},
                {"model", name},
                {"classes", options.question.classes}});
    for (const auto& [type, measured] : peaks_of(peak)) {
      Json line{{"part", "peak"}, {"name", type}};
      if (measured) {
        line.update({{"gflop_per_second", 1e-9 * measured->operations}, {"rounds", measured->rounds}});
      } else {
        line["skipped"] = kNoInstructions;
      }
      print_json(line);
    }
    return;
  }
  fmt::print("{}, {} threads, {}; {}, {}\n\n", processor_name(), at::get_num_threads(), peak.instructions, name,
             options.common.precision);
  fmt::print("{:<14} {:<22} {:>10} {:>16} {:>9} {:>8} {:>7}\n", "part", "", "ms", "speed", "GFLOP/s", "of peak",
             "rounds");
  for (const auto& [type, measured] : peaks_of(peak)) {
    if (measured) {
      fmt::print("{:<14} {:<22} {:>10} {:>16} {:>9.1f} {:>8} {:>7}\n", "peak", fmt::format("{}, in registers", type),
                 "", "", 1e-9 * measured->operations, "", measured->rounds);
    } else {
      fmt::print("{:<14} {:<22} {}\n", "peak", type, kNoInstructions);
    }
  }
}

void print_figure(const BenchOptions& options, const SpeedFigure& figure, double peak) {
  if (options.common.json) {
    print_json(to_json(figure, peak));
    return;
  }
  if (!figure.skipped.empty()) {
    fmt::print("{:<14} {:<22} not measured: {}\n", figure.part, figure.name, figure.skipped);
    return;
  }
  const Timing& timing = figure.timing;
  std::string speed, rate, share;
  if (figure.items > 0) {
    speed = fmt::format("{:.1f} {}/s", 1e3 * figure.items / timing.milliseconds,
                        figure.part == "image_tower" ? "pictures" : "prompts");
  }
  if (const double part = figure.share(peak); part > 0) {
    rate = fmt::format("{:.1f}", 1e-6 * timing.operations / timing.milliseconds);
    share = fmt::format("{:.0f} %", 100 * part);
  }
  fmt::print("{:<14} {:<22} {:>10.2f} {:>16} {:>9} {:>8} {:>7}\n", figure.part, figure.name, timing.milliseconds, speed,
             rate, share, timing.rounds);
  std::fflush(stdout);
}

void print_memory(const BenchOptions& options, double model) {
  const double peak = peak_megabytes();
  if (options.common.json) {
    print_json({{"part", "memory"}, {"model_mb", model}, {"peak_mb", peak}, {"growth_mb", peak - model}});
  } else {
    fmt::print("\nmemory: {:.0f} MB with the model loaded, {:.0f} MB at most, {:.0f} MB above the model\n", model, peak,
               peak - model);
  }
}

void run_bench(const BenchOptions& given) {
  BenchOptions options = given;
  prepare(options.common, Features::kAlone);
  options.question.seed = options.common.seed;
  if (options.quick) options.question.budget = {.rounds = 5, .seconds = 1.5};
  if (options.rounds > 0) options.question.budget = {.rounds = options.rounds, .seconds = 1e6};
  set_log_sink([](Severity severity, std::string_view text) {  // what methods tell while they train is not asked for
    if (severity == Severity::kWarning) fmt::print(stderr, "warning: {}\n", text);
  });
  options.question.check();  // before seconds go into the peak
  const PeakSpeed peak = measure_peak(options.quick ? 0.5 : 1.0);
  print_machine(options, peak);
  const auto model = open_measured(options);
  const double loaded = resident_megabytes();
  measure_speed(model, options.question,
                [&](const SpeedFigure& figure) { print_figure(options, figure, peak_for(peak, model->products)); });
  print_memory(options, loaded);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* verb = app.add_subcommand("bench", "Measures towers and training steps on this machine, against its limit");
  verb->add_flag("--quick", options->quick, "under a minute on two cores; fewer rounds");
  verb->add_option("--model", options->model,
                   "model folder, hf-hub:ORGANISATION/NAME, or pocket; default: a ViT-B/16 with random weights");
  verb->add_option("--parts", options->question.parts, "what is measured, separated by commas")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--method", options->question.methods,
                   "method whose training step is measured, NAME[:key=value,...]; again for more; default: all")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb->add_option("--classes", options->question.classes, "class names of the training steps")
      ->capture_default_str()
      ->check(within(1, 100000));
  verb->add_option("--rounds", options->rounds, "rounds of each measurement, however long they take")
      ->check(at_least(1));
  add_common(*verb, options->common);
  verb->callback([options] { run_bench(*options); });
}

}  // namespace attune
