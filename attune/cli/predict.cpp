#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/checks.h"
#include "attune/cli/classify.h"
#include "attune/cli/picture_list.h"
#include "attune/cli/verbs.h"
#include "attune/evaluation/evaluate.h"
#include "attune/methods/adapter.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

/// Pictures from which on the feature cache is used: to open it costs more than it saves for a few.
constexpr std::size_t kWorthACache = 256;

struct PredictOptions {
  Common common;
  PictureOptions pictures;
  std::string model, adapter, domain_model, classes, class_file, prompt_template = "a photo of a {}.";
  std::vector<std::string> images;
  int top = 5;
  bool csv = false;
};

std::vector<std::string> wanted_classes(const PredictOptions& options) {
  if (!options.classes.empty()) return split_list(options.classes);
  if (options.class_file.empty()) return {};
  std::vector<std::string> names = read_lines(options.class_file);
  std::erase(names, "");
  return names;
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

void run_predict(const PredictOptions& options) {
  const Common& common = options.common;
  prepare(common);
  const auto model = open_model(common, options.model);
  ClassNames classes{wanted_classes(options), options.prompt_template};
  std::unique_ptr<Classifier> classifier;
  if (options.adapter.empty()) {
    if (classes.names.empty())
      throw UsageError("predict: expected --adapter, --classes or --class-file, found none of them");
    classifier = zero_shot(model, classes);
  } else {
    classifier = load_adapter(options.adapter, model, options.domain_model);
    if (classes.names.empty()) {
      classes = read_adapter_info(options.adapter).classes;
    } else {
      classifier->set_classes(classes);
    }
  }

  Dataset pictures;
  const std::vector<Sample> samples = list_pictures(options.images);
  PictureOptions reading = options.pictures;
  if (samples.size() < kWorthACache) reading.no_cache = true;
  const auto progress = make_progress(common, "predicting");
  Inputs inputs(model, pictures, samples, input_options(common, reading, progress.get()));
  const Tensor probabilities = scores_of(*classifier, inputs).to(at::kDouble).softmax(1);
  const auto top = std::min<std::int64_t>(options.top, probabilities.size(1));
  const auto [scores, answers] = probabilities.topk(top, 1);

  if (options.csv) fmt::print("path,rank,name,score\n");
  for (std::size_t i = 0; i < inputs.samples().size(); ++i) {
    const std::string path = inputs.samples()[i].path.string();
    Json labels = Json::array();
    std::string line;
    for (std::int64_t k = 0; k < top; ++k) {
      const auto row = static_cast<std::int64_t>(i);
      const std::string& name = classes.names[static_cast<std::size_t>(answers[row][k].item<std::int64_t>())];
      const double score = scores[row][k].item<double>();
      labels.push_back({{"name", name}, {"score", score}});
      if (options.csv) {
        fmt::print("{},{},{},{:.6f}\n", quoted(path), k + 1, quoted(name), score);
      } else {
        line += fmt::format("  {:>5.1f} %  {}\n", 100 * score, name);
      }
    }
    if (common.json) {
      print_json({{"path", path}, {"labels", labels}});
    } else if (!options.csv) {
      fmt::print("{}\n{}", path, line);
    }
  }
}

}  // namespace

void add_predict(CLI::App& app) {
  auto options = std::make_shared<PredictOptions>();
  CLI::App* verb = app.add_subcommand("predict", "Names pictures with an adapter's classes, or with new ones");
  verb->add_option("--model", options->model, "model folder, hf-hub:ORGANISATION/NAME, or pocket")->required();
  verb->add_option("--adapter", options->adapter, "folder of an adapter");
  add_domain_model(*verb, options->domain_model);
  verb->add_option("--classes", options->classes, "class names, with commas between them");
  verb->add_option("--class-file", options->class_file, "text file with a class name a line")
      ->check(CLI::ExistingFile)
      ->excludes("--classes");
  verb->add_option("--template", options->prompt_template, "of zero-shot, {} for the name")->capture_default_str();
  verb->add_option("--top", options->top, "answers a picture")->capture_default_str()->check(at_least(1));
  verb->add_option("images", options->images, "files, folders, or - for a list on standard input")->required();
  add_picture_options(
      *verb, options->pictures,
      fmt::format("neither read nor write the feature cache, which is used from {} pictures on", kWorthACache));
  add_common(*verb, options->common);
  verb->add_flag("--csv", options->csv, "comma-separated values")->excludes("--json");
  verb->callback([options] { run_predict(*options); });
}

}  // namespace attune
