#include "attune/evaluation/concept_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/optim/settings.h"
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

/// Runs the stages of a learner over so many samples in the run's folder; writes the adapter.
void learn(const DetectionSearch& search, const SearchedModel& model, Learner& learner, std::int64_t samples) {
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

std::optional<TuningSettings> second_stage(const DetectionSearch& search) {
  auto second = TuningSettings::read(search.config);
  if (second && search.options.device != at::kCPU) {
    throw UsageError("second.epochs: expected --device cpu for the second stage, found another one");
  }
  return second;
}

Tensor search_and_tune(const DetectionSearch& search, const SearchedModel& model, ConceptSearch& concepts,
                       std::int64_t samples, const std::optional<TuningSettings>& second,
                       const std::function<TunedModel(const TuningSettings&)>& tuned) {
  if (!second) {
    learn(search, model, concepts, samples);
    return concepts.embeddings().clone();
  }
  ConceptTuning both(concepts, tuned(*second), *second);
  learn(search, model, both, samples);
  return both.searched().clone();
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

Concepts concepts_of(const fs::path& adapter, const AdapterInfo& info, const TensorMap& tensors, std::int64_t width,
                     bool several) {
  const auto found = tensors.find("embeddings");
  const std::string where = "adapter " + adapter.string();
  if (found == tensors.end()) throw Error(where + ": expected a tensor \"embeddings\", found none");
  const Tensor& rows = found->second;
  const auto count = std::ssize(info.classes.names);
  const bool fits = rows.dim() >= 2 && rows.dim() <= (several ? 3 : 2) && rows.size(0) == count &&
                    rows.size(-1) == width && rows.numel() > 0 && rows.is_floating_point();
  if (!fits) {
    throw Error(fmt::format("{}: expected \"embeddings\" of {} concepts and width {}, found [{}]", where, count, width,
                            fmt::join(rows.sizes(), ", ")));
  }
  return {info.classes.names, rows.to(at::kFloat)};
}

}  // namespace attune
