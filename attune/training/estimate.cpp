#include "attune/training/estimate.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

namespace attune {
namespace {

constexpr double kBytes = 4.0;
/// Floats that a block keeps for its backward, in widths a row: normalised inputs, q, k, v, attention output, the
/// hidden layer before and after its activation.
constexpr double kKeptWidths = 16.0;
/// Elementwise work, attention and memory traffic take about as long again as the matrix products.
constexpr double kOverhead = 2.0;

double block_weights(double width, double hidden) {
  return 4 * width * width + 2 * width * hidden;
}

double image_weights(const VisionConfig& vision) {
  return static_cast<double>(vision.layers) *
         block_weights(static_cast<double>(vision.width), static_cast<double>(vision.hidden));
}

/// Rows a picture brings into the image tower: its patches and the class token.
double image_rows(const VisionConfig& vision) {
  const auto side = static_cast<double>(vision.image_size / std::max<std::int64_t>(vision.patch, 1));
  return side * side + 1;
}

}  // namespace

double measured_rate() {
  const at::NoGradGuard no_gradients;
  const Tensor left = at::ones({512, 512}), right = at::ones({512, 512});
  at::matmul(left, right);
  const auto begin = std::chrono::steady_clock::now();
  std::int64_t products = 0;
  double seconds = 0;
  while (seconds < 0.05) {
    at::matmul(left, right);
    ++products;
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return static_cast<double>(products) * 512 * 512 * 512 / seconds;
}

double kept_bytes(double rows, double width, double layers) {
  return rows * width * kKeptWidths * layers * kBytes;
}

double forward_seconds(double products, double rate) {
  return products * kOverhead / rate;
}

Estimate estimate_training(const ClipModel& model, const ClassNames& classes, const Stages& stages,
                           const SampleCount& samples, const ViewPlan& views) {
  const TextConfig& text = model.config.text;
  const VisionConfig& vision = model.config.vision;
  const auto width = static_cast<double>(text.width);
  const double text_weights = static_cast<double>(text.layers) * block_weights(width, static_cast<double>(text.hidden));
  double rows = 0;
  for (const std::string& name : classes.names) rows += static_cast<double>(model.tokenizer->encode(name).size()) + 2;
  rows += static_cast<double>(text.context_length) / 2;

  Estimate estimate;
  const double embeddings = static_cast<double>(text.vocabulary) * width;
  estimate.model_mb = (text_weights + image_weights(vision) + embeddings) * kBytes / 1e6;
  estimate.training_mb = kept_bytes(rows, width, static_cast<double>(text.layers)) / 1e6;
  const double rate = measured_rate();
  std::int64_t epochs = 0;
  for (const auto& stage : stages) {
    const double steps = static_cast<double>(stage->epochs()) *
                         static_cast<double>(std::max<std::int64_t>(1, samples(stage->domain()) / stage->batch_size()));
    // Forward, and backward for the inputs only: the weights are frozen.
    estimate.training_seconds += forward_seconds(steps * 2 * rows * text_weights, rate);
    epochs = std::max<std::int64_t>(epochs, stage->epochs());
  }
  if (epochs > 0) {
    estimate.feature_seconds = forward_seconds(
        static_cast<double>(samples(-1) * views.views(epochs)) * image_rows(vision) * image_weights(vision), rate);
  }
  return estimate;
}

std::string describe(const Estimate& estimate) {
  return fmt::format(
      "needs about {:.0f} MB for the model and {:.0f} MB for training; about {:.0f} s for image features "
      "(less where they are cached) and {:.0f} s for training",
      estimate.model_mb, estimate.training_mb, estimate.feature_seconds, estimate.training_seconds);
}

}  // namespace attune
