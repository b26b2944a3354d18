#include "attune/training/estimate.h"

#include <algorithm>
#include <chrono>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "attune/clip/text_tower.h"
#include "attune/clip/vit.h"
#include "attune/domains/domain_model.h"

namespace attune {
namespace {

constexpr double kBytes = 4.0;
/// Floats that a block keeps for its backward, in widths a row: normalised inputs, q, k, v, attention output, the
/// hidden layer before and after its activation.
constexpr double kKeptWidths = 16.0;
/// Elementwise work, attention and memory traffic take about as long again as the matrix products.
constexpr double kOverhead = 2.0;
/// Of the frozen towers, whose products are packed and whose attention shares the prefix.
constexpr double kFrozenOverhead = 1.3;
/// What an update reads and writes of a learned number, and how fast a core does that.
constexpr double kUpdateBytes = 100.0, kBytesASecond = 1e10;
/// Rows of start token and context; methods have 5 to 30.
constexpr double kPrefixRows = 17.0;
/// Rows of a part take about as much again while it is at work: what is between the layers, and gradients.
constexpr double kAtWork = 2.0;

double block_weights(double width, double hidden) {
  return 4 * width * width + 2 * width * hidden;
}

template <class TowerConfig>
double tower_weights(const TowerConfig& config) {
  return static_cast<double>(config.layers) *
         block_weights(static_cast<double>(config.width), static_cast<double>(config.hidden));
}

/// Multiply-adds of a frozen tower's blocks, forward: `rows` enter, `finished` come out of the last block.
template <class TowerConfig>
double tower_products(const TowerConfig& config, double rows, double finished) {
  const auto width = static_cast<double>(config.width);
  const double block = block_weights(width, static_cast<double>(config.hidden));
  return rows * (static_cast<double>(config.layers - 1) * block + 3 * width * width) +
         finished * (block - 3 * width * width);
}

/// Rows a picture brings into the image tower: its patches and the class token.
double image_rows(const VisionConfig& vision) {
  const auto side = static_cast<double>(vision.image_size / std::max<std::int64_t>(vision.patch, 1));
  return side * side + 1;
}

bool is_vit(const VisionConfig& vision) {
  return vision.kind == VisionConfig::Kind::kViT;
}

/// Multiply-adds of a picture, forward.
double picture_products(const VisionConfig& vision) {
  const double rows = image_rows(vision), width = static_cast<double>(vision.width);
  const double patches = 3 * static_cast<double>(vision.patch * vision.patch) * width * rows;
  const double attention = 2 * rows * rows * width * static_cast<double>(vision.layers);
  return tower_products(vision, rows, 1) + patches + attention;
}

/// A call of a frozen tower with gradients: `rows` of which at most some keep their graphs; the rest is computed twice.
StepEstimate with_graphs(const GraphLimits& limits, double rows, double forward_products) {
  const double kept = std::min(rows, static_cast<double>(limits.kept_rows));
  const double part = std::min(rows, static_cast<double>(limits.part_rows * at::get_num_threads()));
  StepEstimate call;
  call.products = forward_products * (3 - kept / rows);
  call.bytes = static_cast<double>(limits.row_bytes) * (kept + kAtWork * (rows > kept ? part : part / 4));
  return call;
}

/// Rows of the classes' suffixes: name, full stop and end token.
double suffix_rows(const ClipModel& model, const ClassNames& classes, double& longest) {
  double rows = 0;
  longest = 0;
  for (const std::string& name : classes.names) {
    const double own = static_cast<double>(model.tokenizer->encode(name).size()) + 2;
    rows += own;
    longest = std::max(longest, own);
  }
  return rows;
}

/// Packed weights of a tower, for the forward and for the backward.
template <class TowerConfig>
double packed_bytes(const TowerConfig& config, bool gradients) {
  return (gradients ? 2 : 1) * tower_weights(config) * kBytes;
}

/// Seconds in which a domain model encodes a picture; 0 where its features are given.
double seconds_a_picture(const std::shared_ptr<const DomainModel>& domain) {
  const auto encoder = std::dynamic_pointer_cast<const DomainEncoder>(domain);
  if (encoder == nullptr) return 0;
  const int side = encoder->preprocess().size;
  const Tensor pixels = at::zeros({1, 3, side, side}, at::TensorOptions(encoder->device()));
  encoder->encode(pixels);  // packs the weights
  const auto begin = std::chrono::steady_clock::now();
  encoder->encode(pixels);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
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

StepEstimate estimate_step(const ClipModel& model, const ClassNames& classes, const StepCost& cost,
                           std::int64_t batch_size) {
  const TextConfig& text = model.config.text;
  const VisionConfig& vision = model.config.vision;
  StepEstimate step;
  const auto add = [&](const StepEstimate& call) {
    step.products += call.products;
    step.bytes += call.bytes;
  };
  if (cost.contexts > 0) {
    double longest = 0;
    const auto contexts = static_cast<double>(cost.contexts), count = static_cast<double>(classes.names.size());
    const double rows = contexts * (suffix_rows(model, classes, longest) + kPrefixRows);
    add(with_graphs(text_graph_limits(text), rows, tower_products(text, rows, contexts * count)));
    // The classes' embeddings stay, and every part copies its own.
    step.bytes += packed_bytes(text, true) + 2 * count * longest * static_cast<double>(text.width) * kBytes;
  }
  if (cost.pictures > 0 && is_vit(vision)) {
    const auto pictures = static_cast<double>(cost.pictures);
    const auto rows = static_cast<std::int64_t>(image_rows(vision));
    add(with_graphs(vit_graph_limits(vision, rows), pictures * static_cast<double>(rows),
                    pictures * picture_products(vision)));
    step.bytes += packed_bytes(vision, true);
  }
  const auto weights = static_cast<double>(cost.weights);
  step.products += cost.passes * weights * static_cast<double>(batch_size);
  step.bytes += 3 * weights * kBytes;
  return step;
}

Estimate estimate_training(const ClipModel& model, const ClassNames& classes, const Needs& needs, const Stages& stages,
                           const SampleCount& samples, const ViewPlan& views) {
  const TextConfig& text = model.config.text;
  const VisionConfig& vision = model.config.vision;
  Estimate estimate;
  const double embeddings = static_cast<double>(text.vocabulary * text.width);
  estimate.model_mb = (tower_weights(text) + tower_weights(vision) + embeddings) * kBytes / 1e6;
  const double rate = measured_rate() / kFrozenOverhead;
  std::int64_t epochs = 0;
  double largest = 0;
  for (const auto& stage : stages) {
    const double steps = static_cast<double>(stage->epochs()) *
                         static_cast<double>(std::max<std::int64_t>(1, samples(stage->domain()) / stage->batch_size()));
    const StepCost cost = stage->cost();
    const StepEstimate step = estimate_step(model, classes, cost, std::min(stage->batch_size(), samples(-1)));
    const double update = static_cast<double>(cost.weights) * kUpdateBytes / kBytesASecond;
    estimate.training_seconds += steps * (step.products / rate + update);
    largest = std::max(largest, step.bytes);
    epochs = std::max<std::int64_t>(epochs, stage->epochs());
  }
  if (epochs == 0) return estimate;
  const auto pictures = static_cast<double>(samples(-1) * views.views(epochs));
  double features = 0;  // bytes
  if (needs.features || needs.local_features) {
    estimate.feature_seconds += pictures * picture_products(vision) / rate;
    features += pictures * static_cast<double>(model.config.joint_width) * kBytes;
    if (is_vit(vision)) largest += packed_bytes(vision, false);
  }
  if (needs.domain != nullptr) {
    estimate.feature_seconds += pictures * seconds_a_picture(needs.domain);
    features += pictures * static_cast<double>(needs.domain->width()) * kBytes;
  }
  estimate.training_mb = (largest + features) / 1e6;
  return estimate;
}

std::string describe(const Estimate& estimate) {
  return fmt::format(
      "needs about {:.0f} MB for the model and {:.0f} MB for training; about {:.0f} s for image features "
      "(less where they are cached) and {:.0f} s for training",
      estimate.model_mb, estimate.training_mb, estimate.feature_seconds, estimate.training_seconds);
}

}  // namespace attune
