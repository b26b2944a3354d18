#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/clip/model.h"
#include "attune/data/dataset.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// Inputs that the pipeline must supply to a method.
struct Needs {
  bool pixels = false;          // the image tower runs inside the method
  bool image_features = true;   // frozen global features
  bool local_features = false;  // frozen local features
};

/// What one call of a method sees. Undefined tensors were not asked for.
struct Batch {
  Tensor pixels;          // [B, 3, size, size]
  Tensor image_features;  // [B, d], not normalised
  Tensor local_features;  // [B, cells, d], not normalised
  Tensor labels;          // [B] int64; undefined in prediction
  Tensor domains;         // [B] int64
  std::vector<std::int64_t> indices;  // of the samples, for keyed noise
};

/// Draws training batches; every call is the next one of the current epoch.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual Batch next() = 0;
};

/// Named numbers that a step reports; "loss" first.
using Losses = std::vector<std::pair<std::string, double>>;

struct ClassNames {
  std::vector<std::string> names;
  std::string prompt_template = "a photo of a {}.";
};

/// What training knows about its data.
struct TrainingData {
  ClassNames classes;
  std::vector<std::string> domains;
  std::int64_t samples = 0;
  std::uint64_t seed = 1;
};

/// One phase of training. It owns its backward and its updates.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual std::string name() const = 0;
  virtual int epochs() const = 0;
  virtual std::int64_t batch_size() const = 0;
  virtual void begin_epoch(int epoch) {}
  virtual Losses step(BatchSource& batches) = 0;
  virtual void end_epoch(int epoch) {}
  virtual void finish() {}
  /// Everything beyond the learner's own state that a resumed run needs: momenta, averages, counters.
  virtual TensorMap state() const = 0;
  virtual void load_state(const TensorMap& state) = 0;
  /// Learning rate of the current epoch, for the log.
  virtual double learning_rate() const = 0;
};

/// Anything that is learned against a frozen model.
class Learner {
 public:
  virtual ~Learner() = default;
  virtual Needs needs() const = 0;
  virtual std::vector<std::unique_ptr<Stage>> stages(const TrainingData& data) = 0;
  /// Exactly what an adapter stores, named by role.
  virtual TensorMap state() const = 0;
  virtual void load_state(const TensorMap& state) = 0;
};

/// A learner that names images.
class Classifier : public Learner {
 public:
  /// Does it take class names unseen in training?
  virtual bool open_vocabulary() const = 0;
  virtual void set_classes(const ClassNames& classes) = 0;
  /// [B, C], scaled by the model's logit scale. Without gradients.
  virtual Tensor logits(const Batch& batch) = 0;
};

/// A method that can be chosen by name.
struct Method {
  std::string name;
  std::string meaning;  // one line for --help
  Schema schema;        // its configuration keys
  std::function<std::unique_ptr<Classifier>(std::shared_ptr<const ClipModel>, const Config&, std::uint64_t seed)> make;
};

const std::vector<Method>& methods();
/// Throws UsageError that names the nearest known method.
const Method& find_method(std::string_view name);

}  // namespace attune
