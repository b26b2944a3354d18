#include "attune/optim/settings.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

template <class T>
T chosen(const Config& config, const char* key, const std::vector<std::pair<std::string, T>>& choices) {
  const std::string text = config.text(key);
  std::string known;
  for (const auto& [name, value] : choices) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + name;
  }
  throw UsageError(fmt::format("{}: expected one of {}, found \"{}\"", key, known, text));
}

double at_least(const Config& config, const char* key, double least) {
  const double value = config.number(key);
  if (!(value >= least)) throw UsageError(fmt::format("{}: expected at least {}, found {}", key, least, value));
  return value;
}

std::unique_ptr<Optimiser> make(const OptimSettings& settings, std::vector<ParameterGroup> groups) {
  for (ParameterGroup& group : groups) group.weight_decay = settings.weight_decay;
  if (settings.kind == OptimSettings::Kind::kSgd) return make_sgd(std::move(groups), {.momentum = settings.momentum});
  return make_adam(std::move(groups),
                   {.epsilon = settings.epsilon, .decoupled = settings.kind == OptimSettings::Kind::kAdamW});
}

}  // namespace

Schema OptimSettings::schema(const std::map<std::string, Json>& defaults) {
  Schema schema = {
      {"epochs", 50, "passes over the training samples", {"OPTIM.MAX_EPOCH"}},
      {"batch_size", 32, "samples a step", {"DATALOADER.TRAIN_X.BATCH_SIZE"}},
      {"optim.name", "sgd", "sgd, adam or adamw", {"OPTIM.NAME"}},
      {"optim.lr", 0.002, "learning rate", {"OPTIM.LR", "lr"}},
      {"optim.momentum", 0.9, "of sgd", {"OPTIM.MOMENTUM"}},
      {"optim.weight_decay", 5e-4, "of every learned tensor", {"OPTIM.WEIGHT_DECAY"}},
      {"optim.schedule", "cosine", "cosine or constant", {"OPTIM.LR_SCHEDULER"}},
      {"optim.warmup", "constant", "none, constant or linear", {"OPTIM.WARMUP_TYPE"}},
      {"optim.warmup_epochs", 1, "epochs of warm-up", {"OPTIM.WARMUP_EPOCH"}},
      {"optim.warmup_lr", 1e-5, "learning rate of the warm-up, or its start", {"OPTIM.WARMUP_CONS_LR"}},
      {"optim.clip_norm", 0.0, "limit of the joint gradient norm; 0: none"},
  };
  for (Key& key : schema) {
    const auto given = defaults.find(key.name);
    if (given != defaults.end()) key.otherwise = given->second;
  }
  return schema;
}

OptimSettings::OptimSettings(const Config& config)
    : kind(chosen<Kind>(config, "optim.name", {{"sgd", Kind::kSgd}, {"adam", Kind::kAdam}, {"adamw", Kind::kAdamW}})),
      momentum(at_least(config, "optim.momentum", 0)),
      weight_decay(at_least(config, "optim.weight_decay", 0)),
      clip_norm(at_least(config, "optim.clip_norm", 0)),
      batch_size(static_cast<std::int64_t>(at_least(config, "batch_size", 1))) {
  schedule.kind = chosen<Schedule::Kind>(
      config, "optim.schedule", {{"cosine", Schedule::Kind::kCosine}, {"constant", Schedule::Kind::kConstant}});
  schedule.warmup = chosen<Schedule::Warmup>(config, "optim.warmup",
                                             {{"none", Schedule::Warmup::kNone},
                                              {"constant", Schedule::Warmup::kConstant},
                                              {"linear", Schedule::Warmup::kLinear}});
  schedule.base = at_least(config, "optim.lr", 0);
  schedule.warmup_rate = at_least(config, "optim.warmup_lr", 0);
  schedule.warmup_epochs = static_cast<int>(at_least(config, "optim.warmup_epochs", 0));
  schedule.epochs = static_cast<int>(at_least(config, "epochs", 1));
}

Descent::Descent(const OptimSettings& settings, std::vector<ParameterGroup> groups)
    : schedule_(settings.schedule), clip_norm_(settings.clip_norm), optimiser_(make(settings, std::move(groups))) {}

void Descent::step(const Tensor& loss) {
  step(loss, [&] { loss.backward(); });
}

void Descent::step(const Tensor& loss, const std::function<void()>& backward) {
  ++steps_;
  const double value = loss.item<double>();
  if (!std::isfinite(value)) throw Error(fmt::format("training: the loss is {} at step {}", value, steps_));
  optimiser_->zero_gradients();
  backward();
  clip_each_gradient(optimiser_->groups());
  if (clip_norm_ > 0) clip_gradient_norm(optimiser_->groups(), clip_norm_);
  check_finite(optimiser_->groups(), steps_);
  optimiser_->step(learning_rate_);
}

TensorMap Descent::state() const {
  TensorMap state = optimiser_->state();
  state["descent.steps"] = at::scalar_tensor(steps_, at::kLong);
  return state;
}

void Descent::load_state(const TensorMap& state) {
  const auto steps = state.find("descent.steps");
  if (steps == state.end()) throw Error("checkpoint: expected a tensor \"descent.steps\", which is missing");
  steps_ = steps->second.item<std::int64_t>();
  TensorMap rest = state;
  rest.erase("descent.steps");
  optimiser_->load_state(rest);
}

}  // namespace attune
