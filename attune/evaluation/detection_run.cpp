#include "attune/evaluation/detection_run.h"

#include <fstream>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/tasks/concept_search.h"
#include "attune/text/templates.h"
#include "attune/training/search_run.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

/// Where the search begins, [categories, d].
Tensor start_of(const DetectionSearch& search, const OwlVit& detector) {
  const std::string start = search.config.text("cones.start"), sentence = search.config.text("sentence");
  const std::vector<std::string> names = search.data.category_names();
  const auto count = static_cast<std::int64_t>(names.size());
  if (start == "random") return random_concepts(count, detector.width(), search.seed);
  if (start == "text") return concepts_by_name(search.model, search.options, names, sentence).queries;
  if (start != "concept") {
    throw UsageError(fmt::format("cones.start: expected text, concept or random, found \"{}\"", start));
  }
  const std::string name = search.config.text("cones.concept");
  if (name.empty()) throw UsageError("cones.concept: expected a name to start from, found none");
  return concepts_by_name(search.model, search.options, {name}, sentence).queries.repeat({count, 1});
}

std::string fingerprint_of(const DetectionSearch& search, const OwlVit& detector) {
  return sha256(search.config.to_yaml() + hash_of_boxes(search.training) + detector.weight_hash() +
                std::to_string(search.seed) + Json(search.data.category_names()).dump());
}

/// The task stands in an adapter's configuration, so that a classifier is not made of it.
Json recorded_config(const Config& config) {
  Json recorded = config.to_json();
  recorded["task"] = "detection";
  return recorded;
}

/// What of the process lies in memory now.
double resident_mb() {
  std::ifstream file("/proc/self/statm");
  double whole = 0, resident = 0;
  file >> whole >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace

Concepts concepts_by_name(const fs::path& folder, const LoadOptions& options, const std::vector<std::string>& names,
                          const std::string& sentence) {
  if (sentence.find("{}") == std::string::npos) {
    throw UsageError(fmt::format("sentence: expected {{}} in the place of the name, found \"{}\"", sentence));
  }
  LoadOptions text_only = options;
  text_only.image = false;
  std::vector<std::string> sentences;
  for (const std::string& name : names) sentences.push_back(fill(sentence, name));
  return {names, OwlVit::load(folder, text_only).queries(sentences).to(at::kCPU)};
}

Concepts load_concepts(const fs::path& adapter, const OwlVit& detector) {
  const AdapterInfo info = read_adapter_info(adapter);
  const std::string where = adapter.string();
  const auto task = json_or<std::string>(info.config, "task", "classification", where);
  if (task != "detection") throw Error(fmt::format("adapter {}: expected one for detection, found {}", where, task));
  if (info.weight_hash != detector.weight_hash()) {
    throw Error(fmt::format("adapter {}: expected the detector {} with weights {}, found {} with weights {}", where,
                            info.base_model, info.weight_hash, detector.name(), detector.weight_hash()));
  }
  const auto count = static_cast<std::int64_t>(info.classes.names.size());
  Concepts concepts{info.classes.names, at::zeros({count, detector.width()})};
  copy_state(read_adapter_tensors(adapter), {{"embeddings", concepts.queries}}, "adapter " + where);
  return concepts;
}

Schema detection_schema() {
  Schema schema = {
      {"method", "cones", "the method: cones"},
      {"shots", 10, "training pictures that show a category, for each; 0: all pictures"},
      {"cones.start", "text", "where the search begins: text (the names), concept (one name for all) or random"},
      {"cones.concept", "", "the name that all categories begin with, for cones.start=concept"},
      {"sentence", "a photo of a {}", "in which a name stands for the text tower"},
  };
  const Schema optim = OptimSettings::schema({{"optim.name", "adamw"},
                                              {"optim.weight_decay", 0.0},
                                              {"optim.warmup", "none"},
                                              {"epochs", 50},
                                              {"batch_size", 4}});
  for (const Schema& part : {MatchSettings::schema(), FindSettings::schema(), optim}) {
    schema.insert(schema.end(), part.begin(), part.end());
  }
  return schema;
}

FoundConcepts search_concepts(const DetectionSearch& search) {
  if (search.config.text("method") != "cones") {
    throw UsageError(fmt::format("method: expected cones for detection, found {}", search.config.text("method")));
  }
  if (search.training.empty()) throw Error(search.data.name + ": expected training pictures with boxes, found none");
  LoadOptions image_only = search.options;
  image_only.text = false;
  const auto detector = std::make_shared<const OwlVit>(OwlVit::load(search.model, image_only));
  DetectionTask task(detector, search.data.root, search.training, MatchSettings(search.config));
  ConceptSearch concepts(start_of(search, *detector), OptimSettings(search.config), &task);
  TrainRun run;
  run.folder = search.folder;
  run.resume = search.resume;
  run.seed = search.seed;
  run.fingerprint = fingerprint_of(search, *detector);
  run.progress = search.progress;
  write_file(search.folder / "config.yaml", search.config.to_yaml());
  const Stages stages = concepts.stages({task.samples(), search.seed});
  if (run_search(concepts, stages, task.samples(), run) == TrainOutcome::kStopped) {
    throw Stopped{fmt::format("continue with the same command and --resume (folder {})", search.folder.string())};
  }
  const ClassNames names{search.data.category_names(), search.config.text("sentence")};
  save_adapter(search.folder / "adapter",
               {"cones", recorded_config(search.config), detector->name(), detector->weight_hash(), names,
                search.data.name, hash_of_boxes(search.training), search.seed, nullptr, search.version},
               concepts);
  return {detector, {names.names, concepts.embeddings().clone()}, resident_mb()};
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
