#include "attune/cli/detect.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/checks.h"
#include "attune/cli/detection_training.h"
#include "attune/cli/picture_list.h"
#include "attune/cli/verbs.h"
#include "attune/evaluation/detection_floors.h"
#include "attune/evaluation/detection_report.h"
#include "attune/evaluation/detection_run.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/segmentation_run.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Measures on the test part what was found and what the names alone find; writes results, detections and the report.
void measure_search(const DetectionTraining& options, const DetectionSearch& search, const FoundConcepts& found,
                    double seconds) {
  const BoxDataset& data = search.data;
  const auto progress = make_progress(options.common, "measuring");
  const Concepts named =
      concepts_by_name(search.model, search.options, data.category_names(), search.config.text("sentence"));
  const FindSettings settings(search.config);
  const auto detections = find_in_pictures(*found.detector, data.root, data.test,
                                           {found.learned.queries, named.queries}, settings, progress.get());
  const std::size_t count = data.categories.size();
  std::vector<MeasuredDetections> measured = {{"by name", measure_detections(data.test, count, detections[1])},
                                              {"searched", measure_detections(data.test, count, detections[0])}};
  const auto all = static_cast<std::int64_t>(count);
  const DetectionFloors floors = detection_floors(*found.detector, data.root, data.test,
                                                  commonest_category(search.training, all), all, settings, search.seed);
  const DetectionMetrics random_floor = measure_detections(data.test, count, floors.at_random);
  const DetectionMetrics commonest_floor = measure_detections(data.test, count, floors.commonest);
  std::vector<Detection> shown = detections[0];
  if (found.tuned) {
    auto tuned = find_in_pictures(*found.tuned->detector, data.root, data.test,
                                  {found.tuned->concepts.queries, named.queries}, settings, progress.get());
    measured.push_back({"second stage", measure_detections(data.test, count, tuned[0])});
    measured.push_back({"its names", measure_detections(data.test, count, tuned[1])});
    shown = std::move(tuned[0]);
  }
  Json results = search_results(options, "detection", data, search.training, search.config.text("method"),
                                found.detector->name(), found.detector->weight_hash());
  results["zero_shot"] = measured[0].metrics.to_json(data.categories);
  results["searched"] = measured[1].metrics.to_json(data.categories);
  results["metrics"] = measured[found.tuned ? 2 : 1].metrics.to_json(data.categories);
  if (found.tuned) results["zero_shot_tuned"] = measured[3].metrics.to_json(data.categories);
  results["floors"] = {{"at_random", random_floor.to_json(data.categories)},
                       {"commonest", commonest_floor.to_json(data.categories)}};
  measured.push_back({"at random", random_floor});
  measured.push_back({"commonest", commonest_floor});
  results["search_seconds"] = seconds;
  results["search_memory_mb"] = found.memory_mb;
  results["peak_memory_mb"] = peak_memory_mb();
  results["config"] = search.config.to_json();
  write_json(search.folder / "results.json", results);
  write_json(search.folder / "detections.json", coco_results(shown, data.categories));
  const auto pictures = draw_pictures(search.folder / "pictures", data, data.test, shown, settings.threshold);
  write_file(search.folder / "report.html", detection_page(results, data.categories, measured, pictures));
  if (options.common.json) print_json(results);
  say(options.common, fmt::format("\nTest pictures: {}, in per cent\n{}\nadapter: {}\nreport:  {}", data.test.size(),
                                  metrics_table(measured), (search.folder / "adapter").string(),
                                  (search.folder / "report.html").string()));
}

struct DetectOptions {
  Common common;
  std::string model, adapter, classes, sentence = "a photo of a {}", data, part = "test", out;
  std::vector<std::string> images;
  double threshold = 0.1, overlap = 0.5;
  std::string segment, segment_adapter;
  SegmentSettings masks;
};

/// The detector without its text tower, with the concepts to look for.
LoadedConcepts wanted_concepts(const DetectOptions& options, const BoxDataset& data) {
  const LoadOptions load = load_options(options.common);
  if (!options.adapter.empty()) return load_concepts(options.adapter, options.model, load);
  std::vector<std::string> names = split_list(options.classes);
  if (names.empty()) names = data.category_names();
  if (names.empty()) throw UsageError("detect: expected --adapter, --classes or --data, found none of them");
  LoadOptions image_only = load;
  image_only.text = false;
  auto detector = std::make_shared<const OwlVit>(OwlVit::load(options.model, image_only));
  return {std::move(detector), concepts_by_name(options.model, load, names, options.sentence)};
}

/// What gives detections their masks: a segmenter, and a condition for each concept.
struct Masks {
  std::shared_ptr<const ClipSeg> segmenter;
  Tensor conditions;
};

Masks wanted_masks(const DetectOptions& options, const Concepts& concepts) {
  Masks masks;
  if (options.segment.empty()) {
    if (!options.segment_adapter.empty()) throw UsageError("--segment-adapter: expected --segment with it, found none");
    return masks;
  }
  const LoadOptions load = load_options(options.common);
  if (options.segment_adapter.empty()) {
    LoadOptions image_only = load;
    image_only.text = false;
    masks.segmenter = std::make_shared<const ClipSeg>(ClipSeg::load(options.segment, image_only));
    masks.conditions = conditions_by_name(options.segment, load, concepts.names, options.sentence).queries;
    return masks;
  }
  const auto [segmenter, learned] = load_conditions(options.segment_adapter, options.segment, load);
  masks.segmenter = segmenter;
  std::vector<Tensor> rows;
  for (const std::string& name : concepts.names) {
    const auto found = std::find(learned.names.begin(), learned.names.end(), name);
    if (found == learned.names.end()) {
      throw UsageError(fmt::format("--segment-adapter {}: expected an embedding of \"{}\", found none",
                                   options.segment_adapter, name));
    }
    rows.push_back(learned.queries[found - learned.names.begin()]);
  }
  masks.conditions = at::stack(rows);
  return masks;
}

/// One PNG a mask, named by its place among what was found in the picture.
void write_masks(const fs::path& folder, const BoxPicture& picture, const std::vector<Detection>& found) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string name = fmt::format("{}_{}_{}.png", picture.id, picture.path.stem().string(), i + 1);
    write_file(folder / name, encode_png(picture_of(found[i].mask)));
  }
}

/// The pictures of a part of a data set, or those of the command line, numbered from 1.
BoxDataset wanted_pictures(const DetectOptions& options) {
  BoxDataset data;
  if (options.data.empty() == options.images.empty()) {
    throw UsageError("detect: expected pictures or --data, found both or neither");
  }
  if (!options.data.empty()) {
    data = divide_boxes(open_boxes(options.data, !options.segment.empty()), options.common.seed);
    auto& part = options.part == "train" ? data.train : options.part == "val" ? data.val : data.test;
    if (part.empty()) throw UsageError(fmt::format("--part: the data set has no pictures in {}", options.part));
    data.all = std::move(part);
    return data;
  }
  for (const Sample& sample : list_pictures(options.images)) {
    data.all.push_back({static_cast<std::int64_t>(data.all.size()) + 1, sample.path, 0, 0, {}});
  }
  return data;
}

Json line_of(const fs::path& path, const std::vector<Detection>& found, const std::vector<std::string>& names) {
  Json boxes = Json::array();
  for (const Detection& one : found) {
    boxes.push_back({{"name", names[static_cast<std::size_t>(one.category)]},
                     {"score", one.score},
                     {"bbox", {one.box.x, one.box.y, one.box.width, one.box.height}}});
    if (one.mask.known()) boxes.back()["segmentation"] = json_of(one.mask);
  }
  return {{"path", path.string()}, {"boxes", boxes}};
}

/// What is written of all pictures: COCO results, with the file beside the number that only this command gave it.
Json with_files(Json results, const std::vector<BoxPicture>& pictures) {
  std::map<std::int64_t, std::string> files;
  for (const BoxPicture& one : pictures) files[one.id] = one.path.string();
  for (Json& one : results) one["file_name"] = files.at(one["image_id"].get<std::int64_t>());
  return results;
}

void run_detect(const DetectOptions& options) {
  const Common& common = options.common;
  prepare(common);
  BoxDataset data = wanted_pictures(options);
  const LoadedConcepts loaded = wanted_concepts(options, data);
  const Concepts& concepts = loaded.concepts;
  const Masks masks = wanted_masks(options, concepts);
  const bool measured = !options.data.empty();
  if (measured && concepts.names != data.category_names()) {
    throw UsageError("detect: expected the categories of --data, in their order, found other names");
  }
  FindSettings settings;
  settings.overlap = options.overlap;
  settings.threshold = measured ? 0 : options.threshold;
  std::vector<Detection> all;
  for (BoxPicture& picture : data.all) {
    const Image image = measured ? read_box_picture(data.root, picture) : read_image(picture.path);
    picture.width = image.width;
    picture.height = image.height;
    std::vector<Detection> found = find_objects(look_at(*loaded.detector, image), concepts.queries, picture, settings);
    if (masks.segmenter) segment_found(*masks.segmenter, image, masks.conditions, options.masks, found);
    all.insert(all.end(), found.begin(), found.end());
    std::erase_if(found, [&](const Detection& one) { return one.score < options.threshold; });
    if (!options.out.empty()) {
      const fs::path file =
          fs::path(options.out) / "pictures" / fmt::format("{}_{}.png", picture.id, picture.path.stem().string());
      write_file(file, encode_png(with_detections(image, found, concepts.names, options.threshold)));
      if (masks.segmenter) write_masks(fs::path(options.out) / "masks", picture, found);
    }
    const Json line = line_of(picture.path, found, concepts.names);
    if (common.json) print_json(line);
    if (common.json) continue;
    std::string text = picture.path.string() + "\n";
    for (const Detection& one : found) {
      text += fmt::format("  {:>5.1f} %  {}  {:.0f} {:.0f} {:.0f} {:.0f}\n", 100 * one.score,
                          concepts.names[static_cast<std::size_t>(one.category)], one.box.x, one.box.y, one.box.width,
                          one.box.height);
    }
    fmt::print("{}", text);
  }
  std::vector<BoxCategory> categories = data.categories;
  for (std::size_t c = categories.size(); c < concepts.names.size(); ++c) {
    categories.push_back({static_cast<std::int64_t>(c) + 1, concepts.names[c]});
  }
  if (!options.out.empty()) {
    const Json results = coco_results(all, categories);
    write_json(fs::path(options.out) / "detections.json", measured ? results : with_files(results, data.all));
  }
  if (!measured) return;
  std::vector<MeasuredDetections> metrics = {{"boxes", measure_detections(data.all, categories.size(), all)}};
  Json results = {{"dataset", data.name}, {"task", "detection"}, {"metrics", metrics[0].metrics.to_json(categories)}};
  if (masks.segmenter) {
    metrics.push_back({"masks", measure_detections(data.all, categories.size(), all, Compared::kMasks)});
    results["mask_metrics"] = metrics[1].metrics.to_json(categories);
  }
  if (common.json) print_json(results);
  say(common, metrics_table(metrics));
}

}  // namespace

void train_detection(const DetectionTraining& options) {
  prepare(options.common);
  DetectionSearch search = open_search(options, detection_schema(), /*masks=*/false);
  if (options.dry_run) return;
  const auto progress = make_progress(options.common, "searching");
  search.progress = progress.get();
  const auto begin = Clock::now();
  const FoundConcepts found = search_concepts(search);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (options.no_test || search.data.test.empty())
    return say_not_measured(options.common, options.no_test, search.folder);
  measure_search(options, search, found, seconds);
}

void add_detect(CLI::App& app) {
  auto options = std::make_shared<DetectOptions>();
  CLI::App* verb = app.add_subcommand("detect", "Finds objects in pictures, by searched concepts or by name");
  verb->add_option("--model", options->model, "folder of a detector (Hugging Face, owlvit), or pocket-detector")
      ->required();
  verb->add_option("--adapter", options->adapter, "folder of searched concepts, from attune train --task detection");
  verb->add_option("--classes", options->classes, "names, with commas between them");
  verb->add_option("--sentence", options->sentence, "in which a name stands")->capture_default_str();
  verb->add_option("images", options->images, "pictures, folders, or - for a list on standard input");
  verb->add_option("--data", options->data, "instead of pictures: a data set with boxes, which is measured");
  verb->add_option("--part", options->part, "of the data set")
      ->check(among({"train", "val", "test"}))
      ->capture_default_str();
  verb->add_option("--threshold", options->threshold, "least score that is shown")
      ->check(within(0.0, 1.0))
      ->capture_default_str();
  verb->add_option("--overlap", options->overlap, "IoU above which the lesser of two boxes of a name is dropped")
      ->check(within(0.0, 1.0))
      ->capture_default_str();
  verb->add_option("--segment", options->segment,
                   "folder of a segmenter (Hugging Face, clipseg), or pocket-segmenter: gives each object its mask");
  verb->add_option("--segment-adapter", options->segment_adapter,
                   "embeddings for the segmenter, from attune train --task segmentation; default: the names");
  verb->add_option("--segment-margin", options->masks.margin, "share of a box's sides added before it is cut out")
      ->check(within(0.0, 10.0))
      ->capture_default_str();
  verb->add_option("--segment-threshold", options->masks.threshold, "least probability of a pixel within a mask")
      ->check(within(0.0, 1.0))
      ->capture_default_str();
  verb->add_option("--out", options->out,
                   "folder for the pictures with boxes, the masks, and the detections as COCO results");
  add_common(*verb, options->common);
  verb->callback([options] { run_detect(*options); });
}

}  // namespace attune
