#include "attune/training/estimate.h"

#include <algorithm>
#include <atomic>

#include <c10/core/Allocator.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "attune/clip/random_model.h"
#include "attune/evaluation/speed.h"
#include "attune/methods/registry.h"

namespace attune {
namespace {

/// Bytes of the tensors that live, and the most so far, since it was made.
class LiveBytes final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
    const std::int64_t now = live += size;
    std::int64_t before = peak.load();
    while (now > before && !peak.compare_exchange_weak(before, now)) {
    }
  }
  bool memoryProfilingEnabled() const override { return true; }

  std::atomic<std::int64_t> live{0}, peak{0};
};

/// A batch of all that a method may need, again and again.
class SameBatch final : public BatchSource {
 public:
  SameBatch(const ClipModel& model, std::int64_t size, std::int64_t classes) {
    KeyedRandom random(1, "batch");
    const std::int64_t side = model.config.vision.image_size, width = model.config.joint_width;
    batch_.image_features = normal({size, width}, 0, 1, random);
    batch_.local_features = normal({size, model.image->rows() - 1, width}, 0, 1, random);
    batch_.pixels = normal({size, 3, side, side}, 0, 1, random);
    batch_.labels = at::arange(size, at::kLong).remainder(classes);
    for (std::int64_t i = 0; i < size; ++i) {
      batch_.samples.push_back(i);
      batch_.content.push_back(static_cast<std::uint64_t>(i));
    }
  }
  Batch next() override { return batch_; }

 private:
  Batch batch_;
};

/// Large enough that the towers outweigh what is beside them, small enough for a test.
std::shared_ptr<const ClipModel> middling_model() {
  ClipConfig config = vit_b16_config();
  config.joint_width = 128;
  config.text = {.width = 256, .layers = 6, .heads = 4, .hidden = 1024, .vocabulary = 8192};
  config.vision.image_size = 96;
  config.vision.width = 256;
  config.vision.layers = 6;
  config.vision.heads = 4;
  config.vision.hidden = 1024;
  return std::make_shared<const ClipModel>(random_model(config, 1));
}

constexpr std::int64_t kManyClasses = 60;

struct Measured {
  double operations = 0, bytes = 0;
};

/// Making a method and the first step of a stage, on a fresh model, so that packing its weights is in it.
Measured first_step(const std::string& written, std::size_t stage, StepEstimate& estimated) {
  const auto model = middling_model();
  const ClassNames classes{speed_class_names(kManyClasses)};
  const MethodChoice choice = parse_method(written);
  const Method& method = find_method(choice.name);
  Config config(method.schema);
  for (const std::string& one : choice.assignments) config.set(one, "test");
  // From here on, as some pack weights when they are made.
  const auto live = std::make_shared<LiveBytes>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, live);
  const auto learner = method.make(model, classes, config, 1);
  TrainingData data;
  data.samples = 4 * kManyClasses;
  const Stages stages = learner->stages(data);
  Stage& measured = *stages.at(stage);
  estimated = estimate_step(*model, classes, measured.cost(), measured.batch_size());
  SameBatch batches(*model, measured.batch_size(), kManyClasses);
  measured.begin_epoch(0);
  const Timing timing = time_rounds({.rounds = 1, .seconds = 0}, [&] { measured.step(batches); });
  return {timing.operations, static_cast<double>(live->peak)};
}

/// Every kind of step: of the text tower under one context, several, one a picture; of both towers; of the image tower;
/// of networks beside them; in parts whose graphs are not all kept.
TEST(Estimate, OfAStepIsWithinAFactorOfTwoOfWhatItTakes) {
  const std::pair<const char*, std::size_t> steps[] = {{"coop", 0},
                                                       {"coop:context.length=4", 0},
                                                       {"kgcoop", 0},
                                                       {"cocoop:batch_size=4", 0},
                                                       {"dual_pt:prompts=3,loss.text=0", 0},
                                                       {"deep_text", 0},
                                                       {"maple", 0},
                                                       {"vpt", 0},
                                                       {"dcpl", 0},
                                                       {"gdpl", 0},
                                                       {"gdpl:batch_size=24", 0},
                                                       {"clip_lora:batch_size=8", 0},
                                                       {"visual_prompt:batch_size=8", 0},
                                                       {"dpl:dpl.width=64", 0},
                                                       {"spg", 0},
                                                       {"spg", 1}};
  for (const auto& [method, stage] : steps) {
    StepEstimate estimated;
    const Measured found = first_step(method, stage, estimated);
    SCOPED_TRACE(fmt::format("{} {}: {:.0f} MB and {:.2f} GFLOP, estimated {:.0f} and {:.2f}", method, stage,
                             found.bytes / 1e6, found.operations / 1e9, estimated.bytes / 1e6,
                             2 * estimated.products / 1e9));
    EXPECT_LE(estimated.bytes, 2 * found.bytes + 2e6);
    EXPECT_GE(estimated.bytes, found.bytes / 2 - 2e6);
    EXPECT_LE(2 * estimated.products, 1.5 * found.operations);
    EXPECT_GE(2 * estimated.products, found.operations / 1.5);
  }
}

}  // namespace
}  // namespace attune
