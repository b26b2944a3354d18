#include "attune/evaluation/detection_run.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/evaluation/concept_run.h"
#include "attune/evaluation/memory.h"
#include "attune/tasks/detector_tuning.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

/// Where the search begins: [categories, d], or [categories, n, d] where a category has several.
Tensor start_of(const DetectionSearch& search, const OwlVit& detector) {
  const std::int64_t n = search.config.integer("cones.embeddings", 1, 1000);
  const Tensor one = concept_start(search, detector.width(), 1.0, [&](const std::vector<std::string>& names) {
    return concepts_by_name(search.model, search.options, names, search.config.text("sentence")).queries;
  });
  if (n == 1) return one;
  if (search.config.text("cones.start") != "random") return several_concepts(one, n, search.seed);
  return random_concepts(one.size(0) * n, one.size(1), search.seed).view({one.size(0), n, one.size(1)});
}

SearchedModel searched_model(const OwlVit& detector) {
  return {"detection", detector.name(), detector.weight_hash(), detector.width()};
}

}  // namespace

Concepts concepts_by_name(const fs::path& folder, const LoadOptions& options, const std::vector<std::string>& names,
                          const std::string& sentence) {
  LoadOptions text_only = options;
  text_only.image = false;
  const std::vector<std::string> sentences = sentences_of_names(sentence, names);
  return {names, OwlVit::load(folder, text_only).queries(sentences).to(at::kCPU)};
}

LoadedConcepts load_concepts(const fs::path& adapter, const fs::path& model, const LoadOptions& options) {
  LoadOptions image_only = options, neither = options;
  image_only.text = neither.text = neither.image = false;
  const AdapterInfo info = read_concept_info(adapter, searched_model(OwlVit::load(model, neither)));
  const TensorMap tensors = read_adapter_tensors(adapter);
  auto detector = std::make_shared<const OwlVit>(OwlVit::load(model, image_only, tensors));
  Concepts concepts = concepts_of(adapter, info, tensors, detector->width(), /*several=*/true);
  return {std::move(detector), std::move(concepts)};
}

Schema detection_schema() {
  Schema schema = concept_schema();
  schema.front().meaning = "cones, or text_offset: an offset on the frozen text encoder's output is learned";
  schema.push_back({"cones.embeddings", 1, "embeddings a category, of which the best counts; OWL-ViT is made for 1"});
  for (const Schema& part : {MatchSettings::schema(), FindSettings::schema(), TuningSettings::schema()}) {
    schema.insert(schema.end(), part.begin(), part.end());
  }
  return schema;
}

FoundConcepts search_concepts(const DetectionSearch& search) {
  const std::string method = search.config.text("method");
  if (method != "cones" && method != "text_offset") {
    throw UsageError(fmt::format("method: expected cones or text_offset for detection, found {}", method));
  }
  const bool offset = method == "text_offset";
  if (offset && search.config.text("cones.start") == "random") {
    throw UsageError("cones.start: expected text or concept for text_offset, which needs the text encoder's output");
  }
  const auto second = second_stage(search);
  if (search.training.empty()) throw Error(search.data.name + ": expected training pictures with boxes, found none");
  LoadOptions image_only = search.options;
  image_only.text = false;
  const auto detector = std::make_shared<const OwlVit>(OwlVit::load(search.model, image_only));
  DetectionTask task(detector, search.data.root, search.training, MatchSettings(search.config));
  ConceptSearch concepts(start_of(search, *detector), OptimSettings(search.config), &task,
                         offset ? ConceptSearch::Form::kOffset : ConceptSearch::Form::kEmbeddings);
  const Tensor searched =
      search_and_tune(search, searched_model(*detector), concepts, task.samples(), second,
                      [&](const TuningSettings& how) { return tuned_detector(*detector, task, how, search.seed); });
  FoundConcepts found{detector, {search.data.category_names(), searched}, resident_mb(), std::nullopt};
  if (second) found.tuned = load_concepts(search.folder / "adapter", search.model, search.options);
  return found;
}

std::vector<std::vector<Detection>> find_in_pictures(const OwlVit& detector, const fs::path& root,
                                                     const std::vector<BoxPicture>& pictures,
                                                     const std::vector<Tensor>& queries, FindSettings settings,
                                                     Progress* progress) {
  settings.threshold = 0;
  std::vector<std::vector<Detection>> found(queries.size());
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    if (stop_requested()) throw Stopped{"nothing was written of the measurement; run the command again"};
    const Sight sight = look_at(detector, read_box_picture(root, pictures[i]));
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const std::vector<Detection> own = find_objects(sight, queries[q], pictures[i], settings);
      found[q].insert(found[q].end(), own.begin(), own.end());
    }
    if (progress != nullptr) {
      progress->update(static_cast<std::int64_t>(i) + 1, static_cast<std::int64_t>(pictures.size()), "");
    }
  }
  if (progress != nullptr) progress->finish();
  return found;
}

}  // namespace attune
