#include "attune/tasks/fine_tuning.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

Schema TuningSettings::schema() {
  return {
      {"second.epochs", 0, "passes of the second stage, in which the model is fine-tuned; 0: there is none"},
      {"second.batch_size", 4, "samples a step: pictures, or objects that are cut out"},
      {"second.tune", "all", "all (every weight of the image side) or lora (low-rank deltas of its tower's attention)"},
      {"second.rank", 4, "of the low-rank deltas"},
      {"second.embeddings", "learn", "learn or keep what the first stage found"},
      {"second.lr", 1e-4, "learning rate, of AdamW with a cosine"},
      {"second.weight_decay", 0.05, "of every learned tensor"},
      {"second.clip_norm", 1.0, "limit of the joint gradient norm; 0: none"},
  };
}

std::optional<TuningSettings> TuningSettings::read(const Config& config) {
  const std::int64_t epochs = config.integer("second.epochs", 0, 1'000'000);
  if (epochs == 0) return std::nullopt;
  const Config optim(OptimSettings::schema({{"optim.name", "adamw"},
                                            {"optim.warmup", "none"},
                                            {"optim.lr", config.value("second.lr")},
                                            {"optim.weight_decay", config.value("second.weight_decay")},
                                            {"optim.clip_norm", config.value("second.clip_norm")},
                                            {"epochs", epochs},
                                            {"batch_size", config.integer("second.batch_size", 1, 1'000'000)}}));
  const std::string tune = config.text("second.tune"), embeddings = config.text("second.embeddings");
  if (tune != "all" && tune != "lora") {
    throw UsageError(fmt::format("second.tune: expected all or lora, found \"{}\"", tune));
  }
  if (embeddings != "learn" && embeddings != "keep") {
    throw UsageError(fmt::format("second.embeddings: expected learn or keep, found \"{}\"", embeddings));
  }
  return TuningSettings{tune == "all" ? What::kAll : What::kLora, embeddings == "learn",
                        config.integer("second.rank", 1, 4096), OptimSettings(optim)};
}

ConceptTuning::ConceptTuning(ConceptSearch& search, TunedModel model, const TuningSettings& settings)
    : search_(search), model_(std::move(model)), settings_(settings) {}

Stages ConceptTuning::stages(const TrainingData& data) {
  Stages stages = search_.stages(data);
  ParameterGroup group{parameters_of(model_.learned)};
  if (settings_.learn_embeddings) group.parameters.push_back(search_.parameter());
  const auto objective = [this](const Batch& batch, std::int64_t) {
    if (!searched_.defined()) searched_ = search_.embeddings().clone();
    return model_.loss(settings_.learn_embeddings ? search_.current() : search_.embeddings(), batch.samples);
  };
  stages.push_back(make_descent_stage({"second", settings_.optim, {group}, objective}));
  return stages;
}

TensorMap ConceptTuning::state() const {
  TensorMap state = search_.state();
  if (!searched_.defined()) return state;
  state["searched"] = searched_;
  add_state(state, "", detached(model_.learned));
  return state;
}

void ConceptTuning::load_state(const TensorMap& state) {
  TensorMap own;
  for (const auto& [name, tensor] : search_.state()) {
    if (const auto found = state.find(name); found != state.end()) own[name] = found->second;
  }
  search_.load_state(own);
  if (!state.contains("searched")) return;
  searched_ = at::empty_like(search_.embeddings());
  TensorMap rest = state, target = detached(model_.learned);
  for (const auto& [name, tensor] : own) rest.erase(name);
  target["searched"] = searched_;
  copy_state(rest, target, "second stage");
}

}  // namespace attune
