#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/methods/generator.h"
#include "attune/methods/learner.h"
#include "attune/optim/settings.h"

namespace attune {

/// Limits of gradient norms, each of one tensor (Bai et al. 2024, the release's configuration); 0: no limit.
struct SpgClipping {
  double judge_outer = 5;          // discriminator: weight and bias of its first and last layer
  double judge_weight = 5e-2;      // its other weights
  double judge_bias = 5e-1;        // its other biases
  double generator_weight = 5e-3;  // all weights, scales of batch normalisation included
  double generator_outer = 1;      // biases of the last batch normalisation and of the last layer
  double generator_bias = 5e-8;    // other biases

  /// "default", "pacs" (what the authors used there) or "none".
  static SpgClipping named(const std::string& name);
};

/// What one iteration sees: learned prompts [B, M, width] beside the normalised features [B, d] of their images, and
/// the features [B', d] of other images, for which prompts are generated.
struct SpgBatch {
  Tensor prompts, features, other_features;
};

/// The random numbers of one iteration: noise [B', 100] and the dropout masks of the discriminator's three passes, over
/// the learned prompts [2, B, 512], over the generated ones, and over them again in the generator's step.
struct SpgDraws {
  Tensor noise, learned_masks, generated_masks, generator_masks;
};
SpgDraws draw_iteration(std::int64_t learned, std::int64_t generated, KeyedRandom& random);

struct SpgLosses {
  double discriminator = 0, generator = 0;
  double judged_learned = 0, judged_generated = 0;  // mean answers of the discriminator before its update
};

/// The adversarial training of SPG's second stage. One iteration generates v' = G(z, f') once and uses it twice:
///   L_D = mean (D(v, f) - 1)^2 + mean D(stop(v'), f')^2, clip, update D;
///   L_G = mean (D(v', f') - 1)^2 with the updated D, clip, update G.
class SpgTraining {
 public:
  SpgTraining(PromptGenerator& generator, PromptDiscriminator& discriminator, const OptimSettings& settings,
              const SpgClipping& clipping);

  void begin_epoch(int epoch);
  StepCost cost() const;
  double learning_rate() const { return generator_descent_.learning_rate(); }
  SpgLosses step(const SpgBatch& batch, const SpgDraws& draws);

  /// The discriminator and both optimisers.
  TensorMap state() const;
  void load_state(const TensorMap& state);

 private:
  PromptGenerator& generator_;
  PromptDiscriminator& discriminator_;
  Descent generator_descent_, discriminator_descent_;
};

}  // namespace attune
