#include "attune/training/segmenter_pretraining.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/tasks/segmentation.h"
#include "attune/tensors/parallel.h"
#include "attune/training/estimate.h"
#include "attune/training/pretrain_loop.h"
#include "attune/training/run_settings.h"
#include "attune/training/scene_pretraining.h"
#include "attune/training/segmenter_model.h"
#include "attune/training/segmenter_views.h"

namespace attune {
namespace {

constexpr std::int64_t kShownViews = 16;  // views of the sheet

PretrainStage segmenter_stage(const Config& recipe) {
  PretrainStage stage;
  stage.name = "segmenter";
  stage.batch = recipe.integer("batch", 1, 4096);
  stage.samples = recipe.integer("views.samples", 0, 1'000'000'000) / stage.batch * stage.batch;
  stage.learning_rate = recipe.number("learning_rate");
  stage.last_rate = recipe.number("optimiser.last_rate");
  stage.warmup = recipe.integer("warmup", 0, 1'000'000);
  return stage;
}

ViewSettings view_settings(const Config& recipe, const PretrainStage& stage) {
  const ViewSettings cuts(recipe);
  if (stage.batch % cuts.views != 0) {
    throw UsageError(fmt::format("batch: expected a multiple of views.scene {}, found {}", cuts.views, stage.batch));
  }
  return cuts;
}

SegmenterShape shape_of(const Config& recipe) {
  SegmenterShape shape;
  shape.size = recipe.integer("size", 4, 4096);
  for (const std::string& one : split_list(recipe.text("extract"))) {
    if (one.empty() || one.size() > 4 || one.find_first_not_of("0123456789") != std::string::npos) {
      throw UsageError(fmt::format("extract: expected numbers of blocks with commas between them, found \"{}\"", one));
    }
    shape.extract.push_back(std::stoll(one));
  }
  if (shape.extract.empty()) throw UsageError("extract: expected at least one block, found none");
  shape.width = recipe.integer("decoder.width", 2, 8192);
  shape.hidden = recipe.integer("decoder.hidden", 1, 65536);
  shape.heads = recipe.integer("decoder.heads", 1, 1024);
  shape.complex_head = recipe.flag("decoder.complex");
  return shape;
}

/// Views, wanted masks and found ones in three columns, two views a row.
Image mask_sheet(const SegmenterViews& views, const Tensor& logits, const Preprocess& preprocess) {
  const std::int64_t count = std::min<std::int64_t>(kShownViews, views.pixels.size(0)) / 2 * 2, side = preprocess.size;
  const auto channel = [](const std::array<float, 3>& values) {
    return at::tensor(at::ArrayRef<float>(values.data(), values.size())).view({1, 3, 1, 1});
  };
  const auto grey = [&](const Tensor& shares) {
    return shares.narrow(0, 0, count).unsqueeze(1).expand({count, 3, side, side});
  };
  const Tensor seen = views.pixels.narrow(0, 0, count) * channel(preprocess.deviation) + channel(preprocess.mean);
  const Tensor panels = at::stack({seen, grey(views.targets), grey(at::sigmoid(logits.detach()))}, 1);
  const Tensor bytes = (panels.clamp(0, 1) * 255)
                           .round()
                           .to(at::kByte)
                           .view({count / 2, 6, 3, side, side})
                           .permute({0, 3, 1, 4, 2})
                           .contiguous();
  Image image{static_cast<int>(6 * side), static_cast<int>(count / 2 * side), {}};
  image.rgb.assign(bytes.const_data_ptr<std::uint8_t>(), bytes.const_data_ptr<std::uint8_t>() + bytes.numel());
  return image;
}

class SegmenterRun {
 public:
  SegmenterRun(const SegmenterPretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        stage_(segmenter_stage(recipe_)),
        scenes_(scene_settings(recipe_, "scenes.size")),
        cuts_(view_settings(recipe_, stage_)),
        model_(recipe_.text("base"), shape_of(recipe_), seed_),
        list_(read_file(recipe_.text("drawings"))),
        loop_(recipe_, settings.out, settings.resume, progress) {
    keep_drawing_list(loop_.run(), recipe_, list_, loop_.resumed());
    drawings_ = render_drawings(recipe_.text("drawings"), settings.icons, {}, kDrawingSide,
                                static_cast<int>(parallel_width()), progress);
    conditions_ = model_.conditions(scene_sentences(recipe_, drawings_.categories))
                      .view({-1, std::ssize(drawings_.categories), model_.config().clip.joint_width});
    if (loop_.resumed()) model_.load_state(loop_.saved());
  }

  bool run() {
    return loop_.train({stage_},
                       {.parameters = [&](const PretrainStage&) { return model_.parameters(); },
                        .loss = [&](const PretrainStage&, const PretrainPosition& at) { return loss(at); },
                        .terms = [&](const PretrainStage&, const PretrainPosition&) { return terms_; },
                        .state = [&] { return model_.state(); },
                        .keep = [&](const PretrainPosition& at, const Json& line) { write_model(at, line); }});
  }

 private:
  SegmenterViews draw_views(const PretrainPosition& at) const {
    const std::int64_t count = stage_.batch / cuts_.views;
    const auto first = static_cast<std::uint64_t>(at.step * count);
    return segmenter_views(compose_scenes(drawings_, scenes_, seed_, first, count), std::ssize(drawings_.categories),
                           cuts_, model_.config().preprocess, seed_, first);
  }

  Tensor conditions_of(const SegmenterViews& views, const PretrainPosition& at) const {
    KeyedRandom random(seed_, "segmenter.sentences", static_cast<std::uint64_t>(at.step));
    std::vector<Tensor> rows;
    for (const std::int64_t category : views.categories) {
      const auto sentence = random.below(static_cast<std::uint64_t>(conditions_.size(0)));
      rows.push_back(conditions_[static_cast<std::int64_t>(sentence)][category]);
    }
    return at::stack(rows);
  }

  Tensor loss(const PretrainPosition& at) {
    views_ = draw_views(at);
    logits_ = model_.logits(views_.pixels, conditions_of(views_, at));
    const MaskLoss parts = mask_loss(logits_, views_.targets);
    const Tensor entropy = parts.entropy.mean(), dice = parts.dice.mean();
    terms_ = {{"entropy", entropy.item<double>()}, {"dice", dice.item<double>()}, {"iou", overlap()}};
    return entropy + dice;
  }

  /// Of found and wanted masks, over the views that show something of the name.
  double overlap() const {
    const Tensor found = logits_.detach().ge(0), wanted = views_.targets.ge(0.5);
    const Tensor common = (found & wanted).sum({1, 2}).to(at::kDouble);
    const Tensor either = (found | wanted).sum({1, 2}).to(at::kDouble).clamp_min(1);
    const Tensor shown = wanted.sum({1, 2}).gt(0).to(at::kDouble);
    return (common / either * shown).sum().item<double>() / std::max(1.0, shown.sum().item<double>());
  }

  void write_model(const PretrainPosition& at, const Json& line) const {
    loop_.run().replace_model([&](const std::filesystem::path& folder) {
      model_.save_folder(folder);
      write_scene_card(folder, list_, drawings_, at, line);
    });
    if (!logits_.defined()) return;
    write_file(loop_.run().folder() / "masks.png", encode_png(mask_sheet(views_, logits_, model_.config().preprocess)));
  }

  const Config& recipe_;
  std::uint64_t seed_;
  PretrainStage stage_;
  CompositeSettings scenes_;
  ViewSettings cuts_;
  SegmenterModel model_;
  std::string list_;
  PretrainLoop loop_;
  Drawings drawings_;
  Tensor conditions_;     // [sentences, categories, d]
  SegmenterViews views_;  // of the last step, with what was found
  Tensor logits_;
  Json terms_;  // of its loss
};

}  // namespace

Schema segmenter_pretraining_schema() {
  Schema schema = {
      {"seed", 0, "every random choice follows from it"},
      {"base", "models/pocket",
       "folder of the CLIP, or of the segmenter, that it begins with, from the current folder"},
      {"drawings", "models/pocket-detector/drawings.json", "list of the drawings, from the current folder"},
      {"sentences", "{},a photo of a {},a drawing of a {}", "in which names stand, with commas between them"},
      {"size", 96, "side of the input, pixels"},
      {"extract", "0,1,3", "blocks of the image tower whose activations are decoded, from 0"},
      {"decoder.width", 64, "width of the decoder"},
      {"decoder.hidden", 256, "hidden width of its perceptrons"},
      {"decoder.heads", 4, "its attention heads"},
      {"decoder.complex", true, "cells become pixels by three convolutions, for patches of 16; else by one"},
      {"scenes.size", 192, "side of a scene, pixels"},
      {"scenes.least", 2, "drawings a scene, at least"},
      {"scenes.most", 8, "drawings a scene, at most"},
      {"scenes.smallest", 0.15, "smallest longer side of a drawing, as a share of the scene's"},
      {"scenes.largest", 0.5, "largest longer side"},
      {"scenes.overlap", 0.2, "most that two boxes have in common, as a share of the smaller one"},
      {"optimiser.beta1", 0.9, "AdamW"},
      {"optimiser.beta2", 0.98, "AdamW"},
      {"optimiser.epsilon", 1e-8, "AdamW"},
      {"optimiser.weight_decay", 0.05, "of matrices; vectors have none"},
      {"optimiser.clip", 1.0, "largest norm of the gradient"},
      {"optimiser.last_rate", 0.02, "share of the learning rate at the end"},
      {"views.samples", 60000, "views that are trained on; a resumed run may be longer or shorter"},
      {"batch", 32, "views a step"},
      {"learning_rate", 5e-4, "at the top of the schedule"},
      {"warmup", 100, "steps of linear warm-up"},
      {"checkpoint.minutes", 4.0, "between two checkpoints"},
  };
  const Schema views = ViewSettings::schema();
  schema.insert(schema.end(), views.begin(), views.end());
  return schema;
}

std::string describe_segmenter_needs(const Config& recipe) {
  const PretrainStage stage = segmenter_stage(recipe);
  const SegmenterShape shape = shape_of(recipe);
  const VisionConfig vision = segmenter_base_vision(recipe.text("base"));
  const double side = static_cast<double>(shape.size) / static_cast<double>(vision.patch);
  const double rows = side * side + 1, width = static_cast<double>(vision.width);
  const double layers = static_cast<double>(shape.extract.back() + 1), own = static_cast<double>(shape.width);
  const double tower = layers * width * (4 * width + 2 * static_cast<double>(vision.hidden));
  const double decoder =
      static_cast<double>(shape.extract.size()) * own * (width + 4 * own + 2 * static_cast<double>(shape.hidden)) +
      17 * own * own;
  // Forward, gradients of the inputs and of the weights.
  const double products = 3.0 * static_cast<double>(stage.samples) * rows * (tower + decoder);
  return fmt::format(
      "needs about {:.0f} MB for the model and {:.0f} MB for training; about {:.0f} s for {} steps",
      4 * 4 * (tower + decoder) / 1e6,
      static_cast<double>(stage.batch) * (kept_bytes(rows, width, layers) + kept_bytes(rows, own, 3)) / 1e6,
      forward_seconds(products, measured_rate()), stage.steps());
}

bool pretrain_segmenter(const SegmenterPretraining& pretraining, Progress* progress) {
  return SegmenterRun(pretraining, progress).run();
}

}  // namespace attune
