#include "attune/tasks/owl_vit.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/clip/text_tower.h"
#include "attune/formats/limits.h"
#include "attune/methods/learner.h"
#include "attune/tasks/tower_lora.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShipped = "pocket-detector";

/// Pictures are resized to the square input without regard to their proportions.
Preprocess read_preprocess(const fs::path& path, std::int64_t size) {
  Preprocess preprocess;
  preprocess.size = static_cast<int>(size);
  if (!fs::exists(path)) return preprocess;
  const Json json = read_json(path, kConfigLimit);
  const std::string where = path.string();
  if (!json.is_object()) throw Error(where + ": expected an object");
  // Early folders give the size as [height, width].
  const auto listed = json.find("size");
  const bool pair = listed != json.end() && listed->is_array();
  const auto sides = pair ? json_at<std::vector<std::int64_t>>(json, "size", where) : std::vector<std::int64_t>();
  const std::int64_t side = !pair                                       ? read_side(json, "size", size, where)
                            : sides.size() == 2 && sides[0] == sides[1] ? sides[0]
                                                                        : 0;
  if (side != size) {
    throw Error(fmt::format("{}: expected the model's image size of {}, found {}", where, size,
                            pair ? listed->dump() : std::to_string(side)));
  }
  const auto filter = json_or<std::int64_t>(json, "resample", 3, where);
  if (filter != 2 && filter != 3) {
    throw Error(fmt::format("{}: expected 'resample' 2 (bilinear) or 3 (bicubic), found {}", where, filter));
  }
  preprocess.filter = filter == 2 ? Filter::kBilinear : Filter::kBicubic;
  if (json_or<bool>(json, "do_center_crop", false, where)) {
    throw Error(where + ": 'do_center_crop' would cut off objects and is not supported");
  }
  read_colours(json, "image_mean", preprocess.mean, where);
  read_colours(json, "image_std", preprocess.deviation, where);
  return preprocess;
}

/// The folder of a name: "pocket-detector", which ships, unless there is a folder of that name here.
fs::path folder_of(const fs::path& name) {
  const fs::path folder = name == kShipped && !fs::exists(name / "config.json") ? models_folder() / name : name;
  if (!fs::is_directory(folder)) {
    throw Error(fmt::format("{}: expected the folder of a detector, or {}, found none", name.string(), kShipped));
  }
  return folder;
}

}  // namespace

OwlVit OwlVit::load(const fs::path& name, const LoadOptions& options, const TensorMap& changes) {
  const fs::path folder = folder_of(name);
  OwlVit model;
  ClipModel& shared = model.text_;
  shared.folder = folder;
  shared.config = read_owl_config(folder);
  shared.device = options.device;
  shared.products = options.products;
  shared.hashes = options.hashes;
  const VisionConfig& vision = shared.config.vision;
  shared.preprocess = read_preprocess(folder / "preprocessor_config.json", vision.image_size);
  const std::int64_t side = vision.image_size / vision.patch;
  model.cells_ = side * side;
  NamedTensors source = read_owl_tensors(folder);
  shared.hash_ = hash_of_weights(source.origin, options.hashes);
  if (options.text) {
    shared.tokenizer = std::make_shared<const Tokenizer>(Tokenizer::load(folder));
    if (shared.tokenizer->size() > shared.config.text.vocabulary) {
      throw Error(fmt::format("{}: expected a tokenizer of at most {} entries, as the text tower has, found {}",
                              folder.string(), shared.config.text.vocabulary, shared.tokenizer->size()));
    }
    shared.text = make_text_tower(shared.config.text,
                                  frozen_text_weights(shared.config, source, options.device, options.products));
  }
  if (options.image) {
    for (const auto& [name, tensor] : part_of_state(changes, kChangedDetector)) source.tensors[name] = tensor;
    model.tuning_ = tower_lora(part_of_state(changes, kTowerLora), vision);
    model.weights_ = std::make_shared<const OwlWeights<FrozenLinear>>(
        frozen_owl_weights(shared.config, source, options.device, options.products));
  }
  return model;
}

Tensor OwlVit::queries(const std::vector<std::string>& sentences) const {
  if (!has_text()) throw Error(fmt::format("{}: expected a detector with its text tower, found one without", name()));
  return encode_sentences(text_, sentences);
}

const OwlWeights<FrozenLinear>& OwlVit::weights() const {
  if (!weights_) throw Error(fmt::format("{}: expected a detector with its image tower, found one without", name()));
  return *weights_;
}

Sight OwlVit::look(const Tensor& pixels) const {
  const at::NoGradGuard no_gradients;
  return see(text_.config.vision, weights(), pixels.to(text_.device), tuning_);
}

}  // namespace attune
