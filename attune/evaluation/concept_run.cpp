#include "attune/evaluation/concept_run.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/optim/settings.h"
#include "attune/tasks/concept_search.h"
#include "attune/text/templates.h"
#include "attune/training/search_run.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

std::string fingerprint_of(const DetectionSearch& search, const SearchedModel& model) {
  return sha256(search.config.to_yaml() + hash_of_boxes(search.training) + model.weight_hash +
                std::to_string(search.seed) + Json(search.data.category_names()).dump());
}

/// The task stands in an adapter's configuration, so that a classifier is not made of it.
Json recorded_config(const Config& config, const std::string& task) {
  Json recorded = config.to_json();
  recorded["task"] = task;
  return recorded;
}

}  // namespace

Schema concept_schema() {
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
  schema.insert(schema.end(), optim.begin(), optim.end());
  return schema;
}

std::vector<std::string> sentences_of_names(const std::string& sentence, const std::vector<std::string>& names) {
  if (sentence.find("{}") == std::string::npos) {
    throw UsageError(fmt::format("sentence: expected {{}} in the place of the name, found \"{}\"", sentence));
  }
  std::vector<std::string> sentences;
  for (const std::string& name : names) sentences.push_back(fill(sentence, name));
  return sentences;
}

Tensor concept_start(const DetectionSearch& search, std::int64_t width, double random_length, const ByName& by_name) {
  const std::string start = search.config.text("cones.start");
  const std::vector<std::string> names = search.data.category_names();
  const auto count = static_cast<std::int64_t>(names.size());
  if (start == "random") return random_length * random_concepts(count, width, search.seed);
  if (start == "text") return by_name(names);
  if (start != "concept") {
    throw UsageError(fmt::format("cones.start: expected text, concept or random, found \"{}\"", start));
  }
  const std::string name = search.config.text("cones.concept");
  if (name.empty()) throw UsageError("cones.concept: expected a name to start from, found none");
  return by_name({name}).repeat({count, 1});
}

void learn_on_task(const DetectionSearch& search, const SearchedModel& model, Learner& learner, std::int64_t samples) {
  TrainRun run;
  run.folder = search.folder;
  run.resume = search.resume;
  run.seed = search.seed;
  run.fingerprint = fingerprint_of(search, model);
  run.progress = search.progress;
  write_file(search.folder / "config.yaml", search.config.to_yaml());
  const Stages stages = learner.stages({samples, search.seed});
  if (run_search(learner, stages, samples, run) == TrainOutcome::kStopped) {
    throw Stopped{fmt::format("continue with the same command and --resume (folder {})", search.folder.string())};
  }
  const ClassNames names{search.data.category_names(), search.config.text("sentence")};
  save_adapter(search.folder / "adapter",
               {search.config.text("method"), recorded_config(search.config, model.task), model.name, model.weight_hash,
                names, search.data.name, hash_of_boxes(search.training), search.seed, nullptr, search.version},
               learner);
}

Concepts search_on_task(const DetectionSearch& search, const SearchedModel& model, Task& task, const Tensor& start) {
  ConceptSearch concepts(start, OptimSettings(search.config), &task);
  learn_on_task(search, model, concepts, task.samples());
  return {search.data.category_names(), concepts.embeddings().clone()};
}

AdapterInfo read_concept_info(const fs::path& adapter, const SearchedModel& model) {
  AdapterInfo info = read_adapter_info(adapter);
  const std::string where = adapter.string();
  const auto task = json_or<std::string>(info.config, "task", "classification", where);
  if (task != model.task) {
    throw Error(fmt::format("adapter {}: expected one for {}, found {}", where, model.task, task));
  }
  if (info.weight_hash != model.weight_hash) {
    throw Error(fmt::format("adapter {}: expected the model {} with weights {}, found {} with weights {}", where,
                            info.base_model, info.weight_hash, model.name, model.weight_hash));
  }
  return info;
}

Concepts read_concepts(const fs::path& adapter, const SearchedModel& model) {
  const AdapterInfo info = read_concept_info(adapter, model);
  Concepts concepts{info.classes.names, at::zeros({std::ssize(info.classes.names), model.width})};
  copy_state(read_adapter_tensors(adapter), {{"embeddings", concepts.queries}}, "adapter " + adapter.string());
  return concepts;
}

}  // namespace attune
