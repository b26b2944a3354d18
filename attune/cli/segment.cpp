#include <chrono>

#include <fmt/format.h>

#include "attune/base/files.h"
#include "attune/cli/detection_training.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/segmentation_run.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

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
  Json results = search_results(options, "segmentation", data, search.training, search.config.text("method"),
                                found.segmenter->name(), found.segmenter->weight_hash());
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
  DetectionSearch search = open_search(options, segmentation_schema(), /*masks=*/true);
  if (options.dry_run) return;
  const auto progress = make_progress(options.common, "searching");
  search.progress = progress.get();
  const auto begin = Clock::now();
  const FoundConditions found = search_conditions(search);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (!options.no_test && !search.data.test.empty()) measure_search(options, search, found, seconds);
}

}  // namespace attune
