#include "attune/methods/spg_training.h"

#include <functional>
#include <map>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr const char* kDiscriminator = "discriminator.";
constexpr const char* kDiscriminatorDescent = "discriminator_descent.";
constexpr const char* kGeneratorDescent = "generator_descent.";

/// One group for every limit, so that each tensor is clipped by its own.
std::vector<ParameterGroup> grouped(const TensorMap& parameters,
                                    const std::function<double(const std::string&)>& limit_of) {
  std::map<double, ParameterGroup> groups;
  for (const auto& [name, tensor] : parameters) {
    ParameterGroup& group = groups[limit_of(name)];
    group.clip_each = limit_of(name);
    group.parameters.push_back({name, tensor});
  }
  std::vector<ParameterGroup> list;
  for (auto& [limit, group] : groups) list.push_back(std::move(group));
  return list;
}

std::vector<ParameterGroup> discriminator_groups(const PromptDiscriminator& discriminator, const SpgClipping& clip) {
  return grouped(discriminator.parameters(), [&](const std::string& name) {
    if (name.starts_with("0.") || name.starts_with("8.")) return clip.judge_outer;
    return name.ends_with("weight") ? clip.judge_weight : clip.judge_bias;
  });
}

std::vector<ParameterGroup> generator_groups(const PromptGenerator& generator, const SpgClipping& clip) {
  return grouped(generator.parameters(), [&](const std::string& name) {
    if (name.ends_with("weight")) return clip.generator_weight;
    return name == "9.bias" || name == "11.bias" ? clip.generator_outer : clip.generator_bias;
  });
}

Tensor squares(const Tensor& answers, double target) {
  return (answers - target).square().mean();
}

}  // namespace

SpgClipping SpgClipping::named(const std::string& name) {
  if (name == "default") return {};
  if (name == "pacs") return {5, 5e-1, 5e-1, 5e-2, 5, 5e-7};
  if (name == "none") return {0, 0, 0, 0, 0, 0};
  throw UsageError(fmt::format("clip: expected default, pacs or none, found \"{}\"", name));
}

SpgDraws draw_iteration(std::int64_t learned, std::int64_t generated, KeyedRandom& random) {
  SpgDraws draws;
  draws.noise = normal({generated, PromptGenerator::kNoise}, 0, 1, random);
  draws.learned_masks = dropout_masks(learned, random);
  draws.generated_masks = dropout_masks(generated, random);
  draws.generator_masks = dropout_masks(generated, random);
  return draws;
}

SpgTraining::SpgTraining(PromptGenerator& generator, PromptDiscriminator& discriminator, const OptimSettings& settings,
                         const SpgClipping& clipping)
    : generator_(generator),
      discriminator_(discriminator),
      generator_descent_(settings, generator_groups(generator, clipping)),
      discriminator_descent_(settings, discriminator_groups(discriminator, clipping)) {}

StepCost SpgTraining::cost() const {
  const auto numbers = [](const TensorMap& parameters) {
    std::int64_t count = 0;
    for (const auto& [name, tensor] : parameters) count += tensor.numel();
    return count;
  };
  const std::int64_t generator = numbers(generator_.parameters()), judge = numbers(discriminator_.parameters());
  StepCost cost{.weights = generator + judge};
  // The discriminator learns from two batches and passes the gradient of a third on.
  cost.passes = static_cast<double>(3 * generator + 8 * judge) / static_cast<double>(cost.weights);
  return cost;
}

void SpgTraining::begin_epoch(int epoch) {
  generator_descent_.begin_epoch(epoch);
  discriminator_descent_.begin_epoch(epoch);
}

SpgLosses SpgTraining::step(const SpgBatch& batch, const SpgDraws& draws) {
  const Tensor generated = generator_(draws.noise, batch.other_features, /*training=*/true);
  const Tensor on_learned = discriminator_(batch.prompts, batch.features, draws.learned_masks);
  const Tensor on_generated = discriminator_(generated.detach(), batch.other_features, draws.generated_masks);
  const Tensor discriminator_loss = squares(on_learned, 1) + squares(on_generated, 0);
  discriminator_descent_.step(discriminator_loss);

  const Tensor again = discriminator_(generated, batch.other_features, draws.generator_masks, /*frozen=*/true);
  const Tensor generator_loss = squares(again, 1);
  generator_descent_.step(generator_loss);
  return {discriminator_loss.item<double>(), generator_loss.item<double>(), on_learned.mean().item<double>(),
          on_generated.mean().item<double>()};
}

TensorMap SpgTraining::state() const {
  TensorMap state;
  for (const auto& [name, tensor] : discriminator_.parameters()) state[kDiscriminator + name] = tensor.detach();
  add_state(state, kDiscriminatorDescent, discriminator_descent_.state());
  add_state(state, kGeneratorDescent, generator_descent_.state());
  return state;
}

void SpgTraining::load_state(const TensorMap& state) {
  copy_state(part_of_state(state, kDiscriminator), discriminator_.parameters(), "spg's discriminator");
  discriminator_descent_.load_state(part_of_state(state, kDiscriminatorDescent));
  generator_descent_.load_state(part_of_state(state, kGeneratorDescent));
}

}  // namespace attune
