#include "attune/cli/detection_training.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/methods/registry.h"
#include "attune/tasks/detection.h"
#include "attune/tensors/device.h"
#include "attune/training/run_files.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShownPictures = 8;

std::map<std::int64_t, std::vector<Detection>> by_picture(const std::vector<Detection>& detections) {
  std::map<std::int64_t, std::vector<Detection>> result;
  for (const Detection& one : detections) result[one.picture].push_back(one);
  return result;
}

/// The configuration of a run: that of its sources, then the options that have a name of their own.
Config searched_config(const DetectionTraining& options, const Schema& schema) {
  Config config(schema);
  if (!options.recipe.empty()) config.merge_yaml_file(options.recipe);
  const MethodChoice choice = parse_method(options.method.empty() ? config.text("method") : options.method);
  config.set("method", Json(choice.name), "--method");
  for (const std::string& one : choice.assignments) config.set(one, "--method");
  for (const std::string& one : options.assignments) config.set(one, "--set");
  if (options.shots >= 0) config.set("shots", Json(options.shots), "--shots");
  return config;
}

/// The data set, divided, and the training pictures that the configuration asks for; says what they are.
void open_training(const DetectionTraining& options, bool masks, const Config& config, BoxDataset& data,
                   std::vector<BoxPicture>& training) {
  data = divide_boxes(open_boxes(options.data, masks), options.common.seed);
  const auto shots = config.integer("shots");
  if (shots < 0) throw UsageError(fmt::format("shots: expected at least 0, found {}", shots));
  training = draw_box_shots(data.train, static_cast<int>(shots), options.common.seed);
  say(options.common, fmt::format("{} on {} ({}): {} categories, {} training, {} test pictures", config.text("method"),
                                  data.name, data.layout, data.categories.size(), training.size(), data.test.size()));
  say(options.common, fmt::format("configuration:\n{}", config.to_yaml()));
}

}  // namespace

LoadOptions load_options(const Common& common) {
  const at::Device device = choose_device(common.device);
  return {true, true, device, choose_precision(common.precision, device), cache_folder() / "models"};
}

DetectionSearch open_search(const DetectionTraining& options, const Schema& schema, bool masks) {
  DetectionSearch search;
  search.folder = options.out;
  search.model = options.model;
  search.config = searched_config(options, schema);
  search.seed = options.common.seed;
  search.resume = options.resume;
  search.options = load_options(options.common);
  search.version = version();
  refuse_a_used_folder(search.folder, options.resume);
  open_training(options, masks, search.config, search.data, search.training);
  return search;
}

Json search_results(const DetectionTraining& options, const std::string& task, const BoxDataset& data,
                    const std::vector<BoxPicture>& training, const std::string& method, const std::string& model,
                    const std::string& hash) {
  return {{"dataset", data.name},
          {"model", model},
          {"pretrained", hash},
          {"task", task},
          {"method", method},
          {"seed", options.common.seed},
          {"version", version()},
          {"command", command_line()},
          {"split",
           {{"training_pictures", training.size()},
            {"test_pictures", data.test.size()},
            {"training_hash", hash_of_boxes(training)}}}};
}

std::vector<fs::path> draw_pictures(const fs::path& folder, const BoxDataset& data,
                                    const std::vector<BoxPicture>& pictures, const std::vector<Detection>& detections,
                                    double threshold) {
  const auto found = by_picture(detections);
  std::vector<fs::path> files;
  for (std::size_t i = 0; i < std::min(pictures.size(), kShownPictures); ++i) {
    const BoxPicture& picture = pictures[i];
    std::vector<DrawnBox> truth;
    for (const BoxLabel& label : picture.labels) truth.push_back({label.box, "", "#ffffff", true});
    const auto own = found.find(picture.id);
    const Image image = with_boxes(read_box_picture(data.root, picture), truth);
    const Image drawn =
        own == found.end() ? image : with_detections(image, own->second, data.category_names(), threshold);
    files.push_back(folder / fmt::format("{}.png", picture.id));
    write_file(files.back(), encode_png(drawn));
  }
  return files;
}

std::string metrics_table(const std::vector<MeasuredDetections>& measured) {
  std::string text = fmt::format("{:<16}{:>8}{:>8}{:>8}{:>10}\n", "", "AP", "AP50", "AP75", "AR of 100");
  for (const auto& [name, m] : measured) {
    text += fmt::format("{:<16}{:>8.1f}{:>8.1f}{:>8.1f}{:>10.1f}\n", name, 100 * m.ap, 100 * m.ap50, 100 * m.ap75,
                        100 * m.ar100);
  }
  return text;
}

}  // namespace attune
