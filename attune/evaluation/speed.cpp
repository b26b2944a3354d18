#include "attune/evaluation/speed.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/domains/domain_model.h"
#include "attune/methods/registry.h"
#include "attune/tensors/linear.h"

namespace attune {
namespace {

using Report = std::function<void(const SpeedFigure&)>;

/// Uniform numbers of mean 0 and variance 1.
Tensor random_tensor(at::IntArrayRef shape, std::uint64_t seed) {
  KeyedRandom random(seed, "speed");
  return uniform(shape, -1.732, 1.732, random);
}

/// Forward and backward of a frozen layer for `rows` rows, apart.
void measure_layer(const std::string& name, std::int64_t out, std::int64_t in, at::ScalarType products,
                   const SpeedQuestion& question, const Report& report) {
  constexpr std::int64_t kRows = 512;  // about those of 100 classes on one of two threads
  const FrozenLinear layer(random_tensor({out, in}, question.seed), at::zeros({out}), products);
  const Tensor input = random_tensor({kRows, in}, question.seed + 1);
  const Tensor gradient = random_tensor({kRows, out}, question.seed + 2);
  report({"frozen_linear", name + " forward", time_rounds(question.budget, [&] {
            const at::NoGradGuard no_gradients;
            layer(input);
          })});
  if (products == at::kChar) return;  // no gradients
  const Tensor leaf = input.clone().requires_grad_(true);
  Tensor output;
  report({"frozen_linear", name + " backward",
          time_rounds(
              question.budget, [&] { torch::autograd::grad({output}, {leaf}, {gradient}); },
              [&] { output = layer(leaf); })});
}

void measure_layers(const ClipModel& model, const SpeedQuestion& question, const Report& report) {
  const TextConfig& text = model.config.text;
  measure_layer("qkv", 3 * text.width, text.width, model.products, question, report);
  measure_layer("out", text.width, text.width, model.products, question, report);
  measure_layer("fc1", text.hidden, text.width, model.products, question, report);
  measure_layer("fc2", text.width, text.hidden, model.products, question, report);
}

void measure_image_tower(const ClipModel& model, const SpeedQuestion& question, const Report& report) {
  const at::NoGradGuard no_gradients;
  const std::int64_t side = model.config.vision.image_size;
  const Tensor pixels = random_tensor({32, 3, side, side}, question.seed).to(model.device);
  for (const std::int64_t batch : {1, 8, 32}) {
    SpeedFigure figure{"image_tower", fmt::format("batch {}", batch)};
    figure.timing = time_rounds(question.budget, [&] { model.image->encode(pixels.narrow(0, 0, batch)); });
    figure.items = static_cast<double>(batch);
    figure.counts = model.config.vision.kind == VisionConfig::Kind::kViT;
    report(figure);
  }
}

void measure_text_tower(const ClipModel& model, const SpeedQuestion& question, const Report& report) {
  const at::NoGradGuard no_gradients;
  std::vector<std::string> sentences;
  for (const std::string& name : speed_class_names(question.classes)) sentences.push_back("a photo of a " + name + ".");
  const Prompts prompts = sentence_prompts(model, sentences);
  SpeedFigure figure{"text_tower", fmt::format("{} prompts", sentences.size())};
  figure.timing = time_rounds(question.budget, [&] { model.text->encode(prompts); });
  figure.items = static_cast<double>(sentences.size());
  report(figure);
}

/// The same random batch, of all that a method needs, again and again.
class RandomBatches final : public BatchSource {
 public:
  RandomBatches(const ClipModel& model, const Needs& needs, std::int64_t size, std::int64_t classes,
                std::uint64_t seed) {
    const std::int64_t width = model.config.joint_width, side = model.config.vision.image_size;
    batch_.image_features = random_tensor({size, width}, seed).to(model.device);
    if (needs.local_features) {
      batch_.local_features = random_tensor({size, model.image->rows() - 1, width}, seed).to(model.device);
    }
    if (needs.pixels) batch_.pixels = random_tensor({size, 3, side, side}, seed).to(model.device);
    if (needs.domain) batch_.domain_features = random_tensor({size, needs.domain->width()}, seed).to(model.device);
    KeyedRandom random(seed, "speed.labels");
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < size; ++i) {
      labels.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(classes))));
      batch_.samples.push_back(i);
      batch_.content.push_back(static_cast<std::uint64_t>(i));
    }
    batch_.labels = at::tensor(labels, at::kLong).to(model.device);
  }
  Batch next() override { return batch_; }

 private:
  Batch batch_;
};

constexpr std::int64_t kShots = 16;  // for methods that see all samples at once

/// A method before its first step.
struct Start {
  std::unique_ptr<Classifier> learner;
  Stages stages;
};

Start start(const std::shared_ptr<const ClipModel>& model, const MethodChoice& choice, const SpeedQuestion& question) {
  const Method& method = find_method(choice.name);
  Config config(method.schema);
  for (const std::string& assignment : choice.assignments) config.set(assignment, "--method");
  Start made;
  made.learner = method.make(model, {speed_class_names(question.classes)}, config, question.seed);
  TrainingData data;
  data.samples = kShots * question.classes;
  data.seed = question.seed;
  made.stages = made.learner->stages(data);
  return made;
}

/// Every round is the first step of a new learner, so that all do the same work.
void measure_method(const std::shared_ptr<const ClipModel>& model, const std::string& written,
                    const SpeedQuestion& question, const Report& report) {
  const MethodChoice choice = parse_method(written);
  Start made = start(model, choice, question);
  const std::size_t count = made.stages.size();
  if (count == 0) report({.part = "training_step", .name = written, .skipped = "nothing is trained"});
  const Needs needs = made.learner->needs();
  if ((needs.pixels || needs.local_features) && model->image == nullptr) {
    report({.part = "training_step", .name = written, .skipped = "it runs the image tower: ask for image_tower too"});
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    SpeedFigure figure{"training_step", written};
    if (count > 1) figure.name += " / " + made.stages[i]->name();
    RandomBatches batches(*model, needs, made.stages[i]->batch_size(), question.classes, question.seed);
    figure.timing = time_rounds(
        question.budget, [&] { made.stages[i]->step(batches); },
        [&] {
          made.stages.clear();  // they refer to the learner
          made = start(model, choice, question);
          made.stages[i]->begin_epoch(0);
        });
    report(figure);
  }
}

void measure_methods(const std::shared_ptr<const ClipModel>& model, const SpeedQuestion& question,
                     const Report& report) {
  if (!question.methods.empty()) {
    for (const std::string& written : question.methods) measure_method(model, written, question, report);
    return;
  }
  for (const Method& method : methods()) {
    try {
      measure_method(model, method.name, question, report);
    } catch (const Error& problem) {
      report({.part = "training_step", .name = method.name, .skipped = problem.what()});
    }
  }
}

}  // namespace

double SpeedFigure::share(double peak) const {
  if (!counts || timing.operations <= 0 || timing.milliseconds <= 0) return 0;
  return timing.operations / (1e-3 * timing.milliseconds) / peak;
}

std::vector<std::string> SpeedQuestion::speed_parts() {
  return {"frozen_linear", "image_tower", "text_tower", "training_step"};
}

bool SpeedQuestion::asks(std::string_view part) const {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

void SpeedQuestion::check() const {
  const std::vector<std::string> known = speed_parts();
  for (const std::string& part : parts) {
    if (std::find(known.begin(), known.end(), part) == known.end()) {
      throw UsageError(fmt::format("speed: expected parts out of {}, found \"{}\"", fmt::join(known, ", "), part));
    }
  }
  for (const std::string& written : methods) find_method(parse_method(written).name);
}

void measure_speed(const std::shared_ptr<const ClipModel>& model, const SpeedQuestion& question,
                   const std::function<void(const SpeedFigure&)>& report) {
  question.check();
  if (question.asks("frozen_linear")) measure_layers(*model, question, report);
  if (question.asks("image_tower")) measure_image_tower(*model, question, report);
  if (question.asks("text_tower")) measure_text_tower(*model, question, report);
  if (!question.asks("training_step")) return;
  if (model->products == at::kChar) {
    report({.part = "training_step", .name = "all methods", .skipped = "int8 products have no gradients"});
  } else {
    measure_methods(model, question, report);
  }
}

std::vector<std::string> speed_class_names(std::int64_t count) {
  if (count < 1) throw UsageError(fmt::format("speed: expected at least one class, found {}", count));
  const std::filesystem::path path = models_folder() / "pocket" / "emoji_dg.json";
  const Json lists = read_json(path);
  const Json concepts = json_at<Json>(lists, "concepts", path.string());
  std::vector<std::string> names;
  for (std::int64_t copy = 1; std::ssize(names) < count; ++copy) {
    for (const Json& one : concepts) {
      if (std::ssize(names) == count) break;
      const auto name = json_at<std::string>(one, "name", path.string());
      names.push_back(copy == 1 ? name : fmt::format("{} {}", name, copy));
    }
    if (names.empty()) throw Error(path.string() + ": expected concepts, found none");
  }
  return names;
}

Json to_json(const SpeedFigure& figure, double peak) {
  Json line = {{"part", figure.part}, {"name", figure.name}};
  if (!figure.skipped.empty()) {
    line["skipped"] = figure.skipped;
    return line;
  }
  const Timing& timing = figure.timing;
  line["ms"] = timing.milliseconds;
  line["fastest_ms"] = timing.fastest;
  line["total_ms"] = timing.total_ms;
  line["rounds"] = timing.rounds;
  if (figure.items > 0) line["items_per_second"] = 1e3 * figure.items / timing.milliseconds;
  if (const double share = figure.share(peak); share > 0) {
    line["gflop"] = 1e-9 * timing.operations;
    line["gflop_per_second"] = 1e-6 * timing.operations / timing.milliseconds;
    line["share_of_peak"] = share;
  }
  return line;
}

}  // namespace attune
