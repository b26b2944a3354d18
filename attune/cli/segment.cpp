#include <algorithm>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/detect.h"
#include "attune/evaluation/detection_report.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/segmentation_run.h"
#include "attune/images/encode.h"
#include "attune/methods/registry.h"
#include "attune/tensors/device.h"
#include "attune/training/run_files.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kShownPictures = 8;

std::map<std::int64_t, std::vector<Detection>> by_picture(const std::vector<Detection>& detections) {
  std::map<std::int64_t, std::vector<Detection>> result;
  for (const Detection& one : detections) result[one.picture].push_back(one);
  return result;
}

LoadOptions load_options(const Common& common) {
  const at::Device device = choose_device(common.device);
  return {true, true, device, choose_precision(common.precision, device), cache_folder() / "models"};
}

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

void open_training(const DetectionTraining& options, bool masks, const Config& config, BoxDataset& data,
                   std::vector<BoxPicture>& training) {
  data = divide_boxes(open_boxes(options.data, masks), options.common.seed);
  const auto shots = config.integer("shots");
  if (shots < 0) throw UsageError(fmt::format("shots: expected at least 0, found {}", shots));
  training = draw_box_shots(data.train, static_cast<int>(shots), options.common.seed);
  say(options.common, fmt::format("cones on {} ({}): {} categories, {} training, {} test pictures", data.name,
                                  data.layout, data.categories.size(), training.size(), data.test.size()));
  say(options.common, fmt::format("configuration:\n{}", config.to_yaml()));
}

Json search_results(const DetectionTraining& options, const std::string& task, const BoxDataset& data,
                    const std::vector<BoxPicture>& training, const std::string& model, const std::string& hash) {
  return {{"dataset", data.name},
          {"model", model},
          {"pretrained", hash},
          {"task", task},
          {"method", "cones"},
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

/// Measures masks within the true boxes of the test part; writes results, masks and the report.
void measure_search(const DetectionTraining& options, const DetectionSearch& search, const FoundConditions& found,
                    double seconds) {
  const BoxDataset& data = search.data;
  const auto progress = make_progress(options.common, "measuring");
  const Concepts named =
      conditions_by_name(search.model, search.options, data.category_names(), search.config.text("sentence"));
  const SegmentSettings settings(search.config);
  const auto masks = segment_true_boxes(*found.segmenter, data.root, data.test, {found.learned.queries, named.queries},
                                        settings, progress.get());
  const std::size_t count = data.categories.size();
  const auto measure = [&](std::size_t which) {
    return measure_detections(data.test, count, masks[which], Compared::kMasks);
  };
  const std::vector<MeasuredDetections> measured = {
      {"box filled", measure(2)}, {"ellipse filled", measure(3)}, {"by name", measure(1)}, {"searched", measure(0)}};
  Json results = search_results(options, "segmentation", data, search.training, found.segmenter->name(),
                                found.segmenter->weight_hash());
  const auto with_overlap = [&](std::size_t which, const DetectionMetrics& metrics) {
    Json json = metrics.to_json(data.categories);
    json["mean_iou"] = mean_mask_overlap(data.test, masks[which]);
    return json;
  };
  results["boxes"] = "true";
  results["metrics"] = with_overlap(0, measured[3].metrics);
  results["zero_shot"] = with_overlap(1, measured[2].metrics);
  results["floors"] = {{"box", with_overlap(2, measured[0].metrics)},
                       {"ellipse", with_overlap(3, measured[1].metrics)}};
  results["search_seconds"] = seconds;
  results["peak_memory_mb"] = peak_memory_mb();
  results["config"] = search.config.to_json();
  write_json(search.folder / "results.json", results);
  write_json(search.folder / "detections.json", coco_results(masks[0], data.categories));
  const auto pictures = draw_pictures(search.folder / "pictures", data, data.test, masks[0], 0);
  write_file(search.folder / "report.html", detection_page(results, data.categories, measured, pictures));
  if (options.common.json) print_json(results);
  const auto percent = [](const Json& json) { return 100 * json["mean_iou"].get<double>(); };
  say(options.common,
      fmt::format(
          "\nTest pictures: {}; masks within true boxes, in per cent\n{}\nmean IoU: box {:.1f}, ellipse {:.1f}, "
          "by name {:.1f}, searched {:.1f}\nadapter: {}\nreport:  {}",
          data.test.size(), metrics_table(measured), percent(results["floors"]["box"]),
          percent(results["floors"]["ellipse"]), percent(results["zero_shot"]), percent(results["metrics"]),
          (search.folder / "adapter").string(), (search.folder / "report.html").string()));
}

}  // namespace

void train_segmentation(const DetectionTraining& options) {
  prepare(options.common);
  DetectionSearch search;
  search.folder = options.out;
  search.model = options.model;
  search.config = searched_config(options, segmentation_schema());
  search.seed = options.common.seed;
  search.resume = options.resume;
  search.options = load_options(options.common);
  search.version = version();
  refuse_a_used_folder(search.folder, options.resume);
  open_training(options, /*masks=*/true, search.config, search.data, search.training);
  if (options.dry_run) return;
  const auto progress = make_progress(options.common, "searching");
  search.progress = progress.get();
  const auto begin = Clock::now();
  const FoundConditions found = search_conditions(search);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (!options.no_test && !search.data.test.empty()) measure_search(options, search, found, seconds);
}

}  // namespace attune
