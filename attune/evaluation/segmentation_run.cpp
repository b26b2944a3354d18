#include "attune/evaluation/segmentation_run.h"

#include <cmath>
#include <numbers>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/tasks/segmenter_tuning.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

SearchedModel searched(const ClipSeg& segmenter) {
  return {"segmentation", segmenter.name(), segmenter.weight_hash(), segmenter.width()};
}

bool counts(const BoxLabel& label) {
  return !label.crowd && !label.ignored;
}

Mask ellipse_in(const BoxPicture& picture, const Box& box) {
  constexpr int kCorners = 64;
  std::vector<double> points;
  for (int i = 0; i < kCorners; ++i) {
    const double angle = 2 * std::numbers::pi * i / kCorners;
    points.push_back(box.x + box.width / 2 * (1 + std::cos(angle)));
    points.push_back(box.y + box.height / 2 * (1 + std::sin(angle)));
  }
  return mask_of_polygon(picture.width, picture.height, points, picture.path.string());
}

}  // namespace

Concepts conditions_by_name(const fs::path& folder, const LoadOptions& options, const std::vector<std::string>& names,
                            const std::string& sentence) {
  const std::vector<std::string> sentences = sentences_of_names(sentence, names);
  LoadOptions text_only = options;
  text_only.image = false;
  return {names, ClipSeg::load(folder, text_only).conditions(sentences).to(at::kCPU)};
}

LoadedConditions load_conditions(const fs::path& adapter, const fs::path& model, const LoadOptions& options) {
  LoadOptions image_only = options, neither = options;
  image_only.text = neither.text = neither.image = false;
  const AdapterInfo info = read_concept_info(adapter, searched(ClipSeg::load(model, neither)));
  const TensorMap tensors = read_adapter_tensors(adapter);
  auto segmenter = std::make_shared<const ClipSeg>(ClipSeg::load(model, image_only, tensors));
  Concepts concepts = concepts_of(adapter, info, tensors, segmenter->width(), /*several=*/false);
  return {std::move(segmenter), std::move(concepts)};
}

Schema segmentation_schema() {
  Schema schema = concept_schema();
  schema.push_back({"cones.length", 10.0, "length of the embeddings of a random start: about that of text features"});
  for (const Schema& part : {SegmentSettings::schema(), TuningSettings::schema()}) {
    schema.insert(schema.end(), part.begin(), part.end());
  }
  return schema;
}

FoundConditions search_conditions(const DetectionSearch& search) {
  if (search.config.text("method") != "cones") {
    throw UsageError(fmt::format("method: expected cones for segmentation, found {}", search.config.text("method")));
  }
  const auto second = second_stage(search);
  if (search.training.empty()) throw Error(search.data.name + ": expected training pictures with masks, found none");
  LoadOptions image_only = search.options;
  image_only.text = false;
  const auto segmenter = std::make_shared<const ClipSeg>(ClipSeg::load(search.model, image_only));
  SegmentationTask task(segmenter, search.data.root, search.training, SegmentSettings(search.config));
  const double length = search.config.number("cones.length");
  const Tensor start = concept_start(search, segmenter->width(), length, [&](const std::vector<std::string>& names) {
    return conditions_by_name(search.model, search.options, names, search.config.text("sentence")).queries;
  });
  ConceptSearch concepts(start, OptimSettings(search.config), &task);
  const Tensor found =
      search_and_tune(search, searched(*segmenter), concepts, task.samples(), second,
                      [&](const TuningSettings& how) { return tuned_segmenter(*segmenter, task, how, search.seed); });
  FoundConditions both{segmenter, {search.data.category_names(), found}, std::nullopt};
  if (second) both.tuned = load_conditions(search.folder / "adapter", search.model, search.options);
  return both;
}

std::vector<std::vector<Detection>> segment_true_boxes(const ClipSeg& segmenter, const fs::path& root,
                                                       const std::vector<BoxPicture>& pictures,
                                                       const std::vector<Tensor>& conditions,
                                                       const SegmentSettings& settings, Progress* progress) {
  std::vector<std::vector<Detection>> found(conditions.size() + 2);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (stop_requested()) throw Stopped{"nothing was written of the measurement; run the command again"};
    const BoxPicture& picture = pictures[i];
    const Image image = read_box_picture(root, picture);
    std::vector<Detection> boxes;
    for (const BoxLabel& label : picture.labels) {
      if (counts(label)) boxes.push_back({picture.id, label.category, label.box, 1});
    }
    for (std::size_t c = 0; c < conditions.size(); ++c) {
      std::vector<Detection> own = boxes;
      segment_found(segmenter, image, conditions[c], settings, own);
      found[c].insert(found[c].end(), own.begin(), own.end());
    }
    for (Detection& one : boxes) {
      one.mask = mask_of_box(picture.width, picture.height, one.box);
      found[conditions.size()].push_back(one);
      one.mask = ellipse_in(picture, one.box);
      found.back().push_back(std::move(one));
    }
    if (progress != nullptr) progress->update(static_cast<std::int64_t>(i) + 1, std::ssize(pictures), "");
  }
  if (progress != nullptr) progress->finish();
  return found;
}

double mean_mask_overlap(const std::vector<BoxPicture>& pictures, const std::vector<Detection>& found) {
  double sum = 0;
  std::size_t next = 0;
  for (const BoxPicture& picture : pictures) {
    for (const BoxLabel& label : picture.labels) {
      if (counts(label)) sum += mask_overlap(found.at(next++).mask, label.mask, false);
    }
  }
  return next == 0 ? 0 : sum / static_cast<double>(next);
}

}  // namespace attune
