#include "attune/training/detector_pretraining.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/clip/folder.h"
#include "attune/tasks/detection.h"
#include "attune/tensors/parallel.h"
#include "attune/training/detector_model.h"
#include "attune/training/estimate.h"
#include "attune/training/pretrain_loop.h"
#include "attune/training/scene_pretraining.h"

namespace attune {
namespace {

PretrainStage detector_stage(const Config& recipe) {
  PretrainStage stage;
  stage.name = "detector";
  stage.batch = recipe.integer("batch", 1, 4096);
  stage.samples = recipe.integer("scenes.samples", 0, 1'000'000'000) / stage.batch * stage.batch;
  stage.learning_rate = recipe.number("learning_rate");
  stage.warmup = recipe.integer("warmup", 0, 1'000'000);
  stage.fall = recipe.integer("decay", 0, 1'000'000'000) / stage.batch;
  return stage;
}

/// Numbers for the categories of one step: those of its scenes, then others drawn at random, up to `count`.
std::vector<std::int64_t> step_categories(const std::vector<Composite>& scenes, std::int64_t all, std::int64_t count,
                                          KeyedRandom& random) {
  std::vector<std::int64_t> chosen;
  std::vector<bool> taken(static_cast<std::size_t>(all));
  const auto take = [&](std::int64_t category) {
    if (taken[static_cast<std::size_t>(category)]) return;
    taken[static_cast<std::size_t>(category)] = true;
    chosen.push_back(category);
  };
  for (const Composite& scene : scenes) {
    for (const PlacedDrawing& object : scene.objects) take(object.category);
  }
  while (std::ssize(chosen) < std::min(count, all)) {
    take(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(all))));
  }
  return chosen;
}

/// The cells of a scene whose centre is in an object, for each object.
std::vector<std::vector<std::int64_t>> object_cells(const Composite& scene, std::int64_t patch) {
  const std::int64_t side = scene.image.width / patch;
  std::vector<std::vector<std::int64_t>> cells;
  for (const PlacedDrawing& object : scene.objects) {
    const std::vector<std::uint8_t> inside = pixels_of(object.mask);
    cells.emplace_back();
    for (std::int64_t cell = 0; cell < side * side; ++cell) {
      const std::int64_t x = cell % side * patch + patch / 2, y = cell / side * patch + patch / 2;
      if (inside[static_cast<std::size_t>(y * object.mask.width + x)] != 0) cells.back().push_back(cell);
    }
  }
  return cells;
}

/// The objects of a scene with the categories' places among those of the step.
Objects scene_objects(const Composite& scene, const std::map<std::int64_t, std::int64_t>& places) {
  BoxPicture picture;
  picture.width = scene.image.width;
  picture.height = scene.image.height;
  for (const PlacedDrawing& object : scene.objects) {
    picture.labels.push_back({object.box, places.at(object.category), object.box.area()});
  }
  return objects_of(picture);
}

class DetectorRun {
 public:
  DetectorRun(const DetectorPretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        stage_(detector_stage(recipe_)),
        scenes_(scene_settings(recipe_, "size")),
        matching_(recipe_),
        categories_(recipe_.integer("categories", 1, 100'000)),
        model_(recipe_.text("base"), scenes_.size, recipe_.text("name"), seed_),
        list_(read_file(recipe_.text("drawings"))),
        loop_(recipe_, settings.out, settings.resume, progress) {
    keep_drawing_list(loop_.run(), recipe_, list_, loop_.resumed());
    drawings_ = render_drawings(recipe_.text("drawings"), settings.icons, {}, kDrawingSide,
                                static_cast<int>(parallel_width()), progress);
    queries_ = model_.queries(scene_sentences(recipe_, drawings_.categories))
                   .view({-1, std::ssize(drawings_.categories), model_.config().joint_width});
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
  Tensor pixels_of(const std::vector<Composite>& batch) const {
    const std::int64_t side = scenes_.size;
    Tensor pixels = at::empty({std::ssize(batch), 3, side, side});
    for (std::size_t i = 0; i < batch.size(); ++i) {
      normalise(batch[i].image, model_.preprocess(), pixels[static_cast<std::int64_t>(i)].mutable_data_ptr<float>());
    }
    return pixels;
  }

  Tensor loss(const PretrainPosition& at) {
    const std::vector<Composite> batch =
        compose_scenes(drawings_, scenes_, seed_, static_cast<std::uint64_t>(at.step * stage_.batch), stage_.batch);
    KeyedRandom random(seed_, "detector.categories", static_cast<std::uint64_t>(at.step));
    const auto names = std::ssize(drawings_.categories);
    const std::vector<std::int64_t> chosen = step_categories(batch, names, categories_, random);
    std::map<std::int64_t, std::int64_t> places;
    std::vector<Tensor> queries;
    for (const std::int64_t category : chosen) {
      places.emplace(category, std::ssize(queries));
      const auto sentence = random.below(static_cast<std::uint64_t>(queries_.size(0)));
      queries.push_back(queries_[static_cast<std::int64_t>(sentence)][category]);
    }
    std::vector<Objects> objects;
    objects.reserve(batch.size());
    for (const Composite& scene : batch) objects.push_back(scene_objects(scene, places));
    const Sight sight = model_.see(pixels_of(batch));
    const Tensor asked = at::stack(queries);
    const Objective objective = detector_loss(sight, owl_logits(sight, asked), objects, matching_);
    const Tensor naming = naming_loss(sight, asked, batch, objects);
    for (const auto& [name, value] : objective.terms) terms_[name] = value;
    terms_["naming"] = naming.item<double>();
    return objective.loss + recipe_.number("naming.weight") * naming;
  }

  /// What is here? Every cell within an object is asked for its name among those of the step: cross-entropy of scaled
  /// cosines, each object counting once. The matching teaches one cell an object, this one all of them.
  Tensor naming_loss(const Sight& sight, const Tensor& queries, const std::vector<Composite>& batch,
                     const std::vector<Objects>& objects) const {
    std::vector<std::int64_t> rows, names;
    std::vector<float> shares;
    float count = 0;
    const std::int64_t cells = sight.boxes.size(1);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto within = object_cells(batch[i], model_.config().vision.patch);
      for (std::size_t j = 0; j < within.size(); ++j) {
        if (!within[j].empty()) ++count;
        for (const std::int64_t cell : within[j]) {
          rows.push_back(static_cast<std::int64_t>(i) * cells + cell);
          names.push_back(objects[i].categories[static_cast<std::int64_t>(j)].item<std::int64_t>());
          shares.push_back(1.0F / static_cast<float>(within[j].size()));
        }
      }
    }
    if (rows.empty()) return at::zeros({});
    const Tensor chosen = sight.embeddings.flatten(0, 1).index_select(0, at::tensor(rows, at::kLong));
    const Tensor logits = at::matmul(chosen, queries.t()) * recipe_.number("naming.scale");
    const Tensor each = at::cross_entropy_loss(logits, at::tensor(names, at::kLong), {}, at::Reduction::None);
    return (each * at::tensor(shares)).sum() / count;
  }

  void write_model(const PretrainPosition& at, const Json& line) const {
    loop_.run().replace_model([&](const std::filesystem::path& folder) {
      model_.save_folder(folder);
      write_scene_card(folder, list_, drawings_, at, line);
    });
  }

  const Config& recipe_;
  std::uint64_t seed_;
  PretrainStage stage_;
  CompositeSettings scenes_;
  MatchSettings matching_;
  std::int64_t categories_;
  DetectorModel model_;
  std::string list_;
  PretrainLoop loop_;
  Drawings drawings_;
  Tensor queries_;  // [sentences, categories, d]
  Json terms_;      // of the last step's loss
};

}  // namespace

Schema detector_pretraining_schema() {
  Schema schema = {
      {"name", "pocket-detector", "the model's name"},
      {"seed", 0, "every random choice follows from it"},
      {"base", "models/pocket", "folder of the CLIP that it begins with, from the current folder"},
      {"drawings", "models/pocket-detector/drawings.json", "list of the drawings, from the current folder"},
      {"sentences", "{},a photo of a {},a drawing of a {}", "in which names stand, with commas between them"},
      {"size", 192, "side of a scene, pixels"},
      {"scenes.least", 2, "drawings a scene, at least"},
      {"scenes.most", 8, "drawings a scene, at most"},
      {"scenes.smallest", 0.15, "smallest longer side of a drawing, as a share of the scene's"},
      {"scenes.largest", 0.5, "largest longer side"},
      {"scenes.overlap", 0.2, "most that two boxes have in common, as a share of the smaller one"},
      {"categories", 128, "names that a step asks for: those of its scenes and others at random"},
      {"optimiser.beta1", 0.9, "AdamW"},
      {"optimiser.beta2", 0.98, "AdamW"},
      {"optimiser.epsilon", 1e-8, "AdamW"},
      {"optimiser.weight_decay", 0.05, "of matrices; vectors have none"},
      {"optimiser.clip", 1.0, "largest norm of the gradient"},
      {"naming.weight", 1.0, "of the loss by which every cell within an object names it"},
      {"naming.scale", 16.0, "of the cosines in it"},
      {"scenes.samples", 40000, "scenes that are trained on"},
      {"batch", 16, "scenes a step"},
      {"learning_rate", 5e-4, "at the top of the schedule"},
      {"warmup", 100, "steps of linear warm-up"},
      {"decay", 8000, "scenes at the end over which the learning rate falls to 0"},
      {"checkpoint.minutes", 4.0, "between two checkpoints"},
  };
  const Schema matching = MatchSettings::schema();
  schema.insert(schema.end(), matching.begin(), matching.end());
  return schema;
}

std::string describe_detector_needs(const Config& recipe) {
  const PretrainStage stage = detector_stage(recipe);
  const VisionConfig vision = describe_folder(recipe.text("base")).config.vision;
  const double side = static_cast<double>(recipe.integer("size", 16, 4096)) / static_cast<double>(vision.patch);
  const double rows = side * side + 1, width = static_cast<double>(vision.width);
  const double layers = static_cast<double>(vision.layers);
  const double weights = layers * width * (4 * width + 2 * static_cast<double>(vision.hidden)) + 4 * width * width;
  // Forward, gradients of the inputs and of the weights; attention looks from every row at every other.
  const double products = 3.0 * static_cast<double>(stage.samples) * rows * (weights + 2 * layers * rows * width);
  return fmt::format("needs about {:.0f} MB for the model and {:.0f} MB for training; about {:.0f} s for {} steps",
                     4 * 4 * weights / 1e6, static_cast<double>(stage.batch) * kept_bytes(rows, width, layers) / 1e6,
                     forward_seconds(products, measured_rate()), stage.steps());
}

bool pretrain_detector(const DetectorPretraining& pretraining, Progress* progress) {
  return DetectorRun(pretraining, progress).run();
}

}  // namespace attune
