#include "benchmarks/worker/cases.h"

#include <functional>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/clip/model.h"
#include "attune/images/decode.h"
#include "attune/methods/registry.h"

namespace attune {
namespace {

double total(const Tensor& tensor) {
  return tensor.abs().sum().item<double>();
}

std::vector<std::string> names_beside(const Inputs& inputs, const char* file) {
  std::vector<std::string> names = read_lines(inputs.file.parent_path() / file);
  std::erase(names, "");
  return names;
}

std::shared_ptr<const ClipModel> text_side(const Inputs& inputs) {
  return std::make_shared<const ClipModel>(load_model(inputs.model, {.text = true, .image = false}));
}

/// The same batch again and again.
class OneBatch final : public BatchSource {
 public:
  explicit OneBatch(Batch batch) : batch_(std::move(batch)) {}
  Batch next() override { return batch_; }

 private:
  Batch batch_;
};

/// What a method's steps are measured with.
struct StepSetup {
  const char* method;
  /// For each tensor of the method's state the input that it begins with.
  std::map<std::string, std::string> start;
  std::vector<std::string> settings;
  std::int64_t batch;
  std::size_t classes = 100;
  bool image = false;  // does it run the image tower?
};

/// Steps of a method at a constant learning rate, from a given start.
class TrainingSteps final : public Case {
 public:
  TrainingSteps(const Inputs& inputs, const StepSetup& setup) : data_(load_tensors(inputs.file)), start_(setup.start) {
    const Method& found = find_method(setup.method);
    Config config(found.schema);
    for (const std::string& one : setup.settings) config.set(one, setup.method);
    config.set("optim.warmup=none", setup.method);
    config.set("optim.schedule=constant", setup.method);
    std::vector<std::string> names = names_beside(inputs, "classes.txt");
    names.resize(setup.classes);
    const LoadOptions towers{.text = true, .image = setup.image};
    learner_ = found.make(std::make_shared<const ClipModel>(load_model(inputs.model, towers)), {names}, config, 1);
    TensorMap state;
    for (const auto& [role, name] : start_) state[role] = data_.at(name);
    learner_->load_state(state);
    const auto some = [&](const char* name) { return data_.at(name).narrow(0, 0, setup.batch); };
    Batch batch{some("image_features"), some("labels") % static_cast<std::int64_t>(setup.classes), {}};
    if (setup.image) batch.pixels = some("pixels");
    batch_.emplace(batch);
    stages_ = learner_->stages({setup.batch, 1});
    stages_.front()->begin_epoch(0);
  }

  double round() override { return stages_.front()->step(*batch_).front().second; }
  TensorMap results() const override {
    const TensorMap state = learner_->state();
    TensorMap results;
    for (const auto& [role, name] : start_) results[name == "cocoop_context" ? "context" : name] = state.at(role);
    return results;
  }

 private:
  TensorMap data_;
  std::map<std::string, std::string> start_;
  std::optional<OneBatch> batch_;
  std::unique_ptr<Classifier> learner_;
  std::vector<std::unique_ptr<Stage>> stages_;
};

std::unique_ptr<Case> gdpl_steps(const Inputs& inputs, std::size_t classes) {
  StepSetup setup{"gdpl", {}, {"noise.train=false", "optim.lr=0.0035"}, 4, classes, true};
  const std::string prefix = "gdpl.";
  for (const auto& [name, tensor] : load_tensors(inputs.file)) {
    if (name.starts_with(prefix)) setup.start[name.substr(prefix.size())] = name;
  }
  return std::make_unique<TrainingSteps>(inputs, setup);
}

/// Class features of one prompt an image, and the logits of these images.
class GeneratedPrompts final : public Case {
 public:
  explicit GeneratedPrompts(const Inputs& inputs)
      : model_(text_side(inputs)), data_(load_tensors(inputs.file)), names_(names_beside(inputs, "classes65.txt")) {}

  double round() override {
    const at::NoGradGuard no_gradients;
    std::vector<std::string> endings;
    for (const std::string& name : names_) endings.push_back(name + ".");
    Prompts prompts = sentence_prompts(*model_, endings);
    const Tensor& words = data_.at("prompts");
    prompts.prefix = at::cat({prompts.prefix.expand({words.size(0), -1, -1}), words}, 1);
    logits_ =
        cosine_logits_per_image(data_.at("spg_image_features"), model_->text->encode(prompts), model_->logit_scale);
    return total(logits_);
  }
  TensorMap results() const override { return {{"logits", logits_}}; }

 private:
  std::shared_ptr<const ClipModel> model_;
  TensorMap data_;
  std::vector<std::string> names_;
  Tensor logits_;
};

/// The class matrix of an ensemble of templates.
class TextMatrix final : public Case {
 public:
  explicit TextMatrix(const Inputs& inputs)
      : model_(text_side(inputs)),
        names_(names_beside(inputs, "classes.txt")),
        templates_(names_beside(inputs, "templates80.txt")) {
    names_.resize(50);
  }

  double round() override {
    std::vector<std::string> sentences;
    for (const std::string& name : names_) {
      for (const std::string& one : templates_) {
        sentences.push_back(one);
        sentences.back().replace(sentences.back().find("{}"), 2, name);
      }
    }
    const Tensor features = encode_sentences(*model_, sentences);
    const auto classes = static_cast<std::int64_t>(names_.size());
    matrix_ = normalise_rows(features.view({classes, -1, features.size(1)}).mean(1));
    return total(matrix_);
  }
  TensorMap results() const override { return {{"features", matrix_}}; }

 private:
  std::shared_ptr<const ClipModel> model_;
  std::vector<std::string> names_, templates_;
  Tensor matrix_;
};

class ImageEncode final : public Case {
 public:
  ImageEncode(const Inputs& inputs, std::int64_t batch)
      : model_(load_model(inputs.model, {.text = false, .image = true})),
        pixels_(load_tensors(inputs.file).at("pixels").narrow(0, 0, batch)) {}

  double round() override {
    const at::NoGradGuard no_gradients;
    features_ = model_.image->encode(pixels_).global;
    return total(features_);
  }
  TensorMap results() const override { return {{"features", features_}}; }

 private:
  ClipModel model_;
  Tensor pixels_, features_;
};

/// Photographs from their files to normalised pixels, on one thread.
class PreprocessPhotos final : public Case {
 public:
  explicit PreprocessPhotos(const Inputs& inputs) : photos_(names_beside(inputs, "photos.txt")) {
    pixels_ = at::empty({static_cast<std::int64_t>(photos_.size()), 3, preprocess_.size, preprocess_.size});
  }

  double round() override {
    for (std::size_t i = 0; i < photos_.size(); ++i) {
      const Image view = centre_view(read_image(photos_[i]), preprocess_);
      normalise(view, preprocess_, pixels_[static_cast<std::int64_t>(i)].data_ptr<float>());
    }
    return pixels_[0].abs().sum().item<double>();
  }
  TensorMap results() const override { return {{"pixels", pixels_}}; }

 private:
  std::vector<std::string> photos_;
  Preprocess preprocess_;
  Tensor pixels_;
};

/// Opens the model and answers with the features of one sentence.
class ModelLoad final : public Case {
 public:
  explicit ModelLoad(const Inputs& inputs) : folder_(inputs.model) {}

  double round() override {
    const ClipModel model = load_model(folder_);
    features_ = encode_sentences(model, {"a photo of a dog."});
    return total(features_);
  }
  TensorMap results() const override { return {{"features", features_}}; }

 private:
  std::string folder_;
  Tensor features_;
};

using Factory = std::function<std::unique_ptr<Case>(const Inputs&)>;

const std::map<std::string, Factory>& factories() {
  static const std::map<std::string, Factory> all{
      {"coop_step",
       [](const Inputs& inputs) {
         return std::make_unique<TrainingSteps>(inputs,
                                                StepSetup{"coop", {{"context", "context"}}, {"context.length=16"}, 32});
       }},
      {"cocoop_step",
       [](const Inputs& inputs) {
         std::map<std::string, std::string> start{{"context", "cocoop_context"}};
         for (const char* part : {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"}) {
           start[std::string("meta_net.") + part] = std::string("meta.") + part;
         }
         return std::make_unique<TrainingSteps>(inputs, StepSetup{"cocoop", start, {}, 1});
       }},
      {"gdpl_step_19", [](const Inputs& inputs) { return gdpl_steps(inputs, 19); }},
      {"gdpl_step_45", [](const Inputs& inputs) { return gdpl_steps(inputs, 45); }},
      {"spg_infer", [](const Inputs& inputs) { return std::make_unique<GeneratedPrompts>(inputs); }},
      {"text_matrix", [](const Inputs& inputs) { return std::make_unique<TextMatrix>(inputs); }},
      {"image_encode_1", [](const Inputs& inputs) { return std::make_unique<ImageEncode>(inputs, 1); }},
      {"image_encode_8", [](const Inputs& inputs) { return std::make_unique<ImageEncode>(inputs, 8); }},
      {"image_encode_32", [](const Inputs& inputs) { return std::make_unique<ImageEncode>(inputs, 32); }},
      {"preprocess", [](const Inputs& inputs) { return std::make_unique<PreprocessPhotos>(inputs); }},
      {"model_load", [](const Inputs& inputs) { return std::make_unique<ModelLoad>(inputs); }},
  };
  return all;
}

}  // namespace

std::unique_ptr<Case> make_case(const std::string& name, const Inputs& inputs) {
  const auto found = factories().find(name);
  if (found != factories().end()) return found->second(inputs);
  std::string known;
  for (const auto& [one, factory] : factories()) known += (known.empty() ? "" : ", ") + one;
  throw UsageError(fmt::format("--case: expected one of {}, found \"{}\"", known, name));
}

}  // namespace attune
