#include <chrono>

#include <fmt/format.h>

#include "attune/base/files.h"
#include "attune/cli/detection_training.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/segmentation_run.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

/// What masks under some conditions are worth.
struct MeasuredMasks {
  std::string key, name;  // in results.json and for people
  std::vector<Detection> found;
};

/// The masks of the test part within its true boxes: floors, by name, as searched, and after the second stage where
/// there is one.
std::vector<MeasuredMasks> masks_of_test(const DetectionTraining& options, const DetectionSearch& search,
                                         const FoundConditions& found) {
  const BoxDataset& data = search.data;
  const auto progress = make_progress(options.common, "measuring");
  const Concepts named =
      conditions_by_name(search.model, search.options, data.category_names(), search.config.text("sentence"));
  const SegmentSettings settings(search.config);
  auto masks = segment_true_boxes(*found.segmenter, data.root, data.test, {found.learned.queries, named.queries},
                                  settings, progress.get());
  std::vector<MeasuredMasks> all = {{"box", "box filled", std::move(masks[2])},
                                    {"ellipse", "ellipse filled", std::move(masks[3])},
                                    {"zero_shot", "by name", std::move(masks[1])},
                                    {"searched", "searched", std::move(masks[0])}};
  if (!found.tuned) return all;
  auto tuned = segment_true_boxes(*found.tuned->segmenter, data.root, data.test,
                                  {found.tuned->concepts.queries, named.queries}, settings, progress.get());
  all.push_back({"zero_shot_tuned", "its names", std::move(tuned[1])});
  all.push_back({"second_stage", "second stage", std::move(tuned[0])});
  return all;
}

/// Measures masks within the true boxes of the test part; writes results, masks and the report. What was learned last
/// is what the run is worth.
void measure_search(const DetectionTraining& options, const DetectionSearch& search, const FoundConditions& found,
                    double seconds) {
  const BoxDataset& data = search.data;
  const std::vector<MeasuredMasks> masks = masks_of_test(options, search, found);
  std::vector<MeasuredDetections> measured;
  std::string overlaps;
  Json results = search_results(options, "segmentation", data, search.training, search.config.text("method"),
                                found.segmenter->name(), found.segmenter->weight_hash());
  results["boxes"] = "true";
  for (const MeasuredMasks& one : masks) {
    measured.push_back({one.name, measure_detections(data.test, data.categories.size(), one.found, Compared::kMasks)});
    Json json = measured.back().metrics.to_json(data.categories);
    const double overlap = mean_mask_overlap(data.test, one.found);
    json["mean_iou"] = overlap;
    overlaps += fmt::format("{}{} {:.1f}", overlaps.empty() ? "" : ", ", one.name, 100 * overlap);
    const bool floor = one.key == "box" || one.key == "ellipse";
    (floor ? results["floors"] : results)[one.key] = std::move(json);
  }
  results["metrics"] = results[masks.back().key];
  results["search_seconds"] = seconds;
  results["peak_memory_mb"] = peak_memory_mb();
  results["config"] = search.config.to_json();
  const std::vector<Detection>& shown = masks.back().found;
  write_json(search.folder / "results.json", results);
  write_json(search.folder / "detections.json", coco_results(shown, data.categories));
  const auto pictures = draw_pictures(search.folder / "pictures", data, data.test, shown, 0);
  write_file(search.folder / "report.html", detection_page(results, data.categories, measured, pictures));
  if (options.common.json) print_json(results);
  say(options.common, fmt::format("\nTest pictures: {}; masks within true boxes, in per cent\n{}\nmean IoU: {}\n"
                                  "adapter: {}\nreport:  {}",
                                  data.test.size(), metrics_table(measured), overlaps,
                                  (search.folder / "adapter").string(), (search.folder / "report.html").string()));
}

}  // namespace

void train_segmentation(const DetectionTraining& options) {
  prepare(options.common);
  DetectionSearch search = open_search(options, segmentation_schema(), /*masks=*/true);
  if (options.dry_run) return;
  const auto progress = make_progress(options.common, "searching");
  search.progress = progress.get();
  const auto begin = Clock::now();
  const FoundConditions found = search_conditions(search);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (options.no_test || search.data.test.empty())
    return say_not_measured(options.common, options.no_test, search.folder);
  measure_search(options, search, found, seconds);
}

}  // namespace attune
