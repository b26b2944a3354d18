#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "attune/clip/model.h"
#include "attune/tensors/tensor.h"

namespace attune {

class DomainModel;

/// What a method wants to see of a picture.
struct Needs {
  bool features = true;         // global features of the frozen image tower
  bool local_features = false;  // features of the frozen image tower's cells
  bool pixels = false;          // the preprocessed picture: the method runs the image tower itself
  bool content_keys = false;    // for noise that belongs to a picture, whatever list it stands in
  std::shared_ptr<const DomainModel> domain = nullptr;  // features of this model, beside the image tower's
};

/// What one call of a method sees: of the pictures what its needs() say, the rest is undefined.
struct Batch {
  Tensor image_features;                    // [B, d], frozen, not normalised
  Tensor labels;                            // [B] int64; undefined in prediction
  std::vector<std::int64_t> samples;        // indices of the samples
  Tensor domains = {};                      // [B] int64; undefined where the data set has none
  Tensor local_features = {};               // [B, cells, d] in the joint space, frozen, not normalised
  Tensor pixels = {};                       // [B, 3, size, size]
  std::vector<std::uint64_t> content = {};  // [B], the first bytes of the hashes of the pictures' files
  Tensor domain_features = {};              // [B, width of the domain model], frozen, raw

  std::int64_t size() const { return pixels.defined() ? pixels.size(0) : image_features.size(0); }
};

/// Draws training batches. The first call of a step is the next batch of the epoch; every further one is the next batch
/// of another pass over the same samples, in an order of its own.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual Batch next() = 0;
};

/// Named numbers that a step reports; "loss" first.
using Losses = std::vector<std::pair<std::string, double>>;

/// Names to tell apart, and the data set's own way of putting one into a sentence.
struct ClassNames {
  std::vector<std::string> names;
  std::string prompt_template = "a photo of a {}.";
};

/// A domain of the data set; without training samples it is none of those that are learned from.
struct DomainSamples {
  std::string name;
  std::int64_t samples = 0;
};

/// What a method is told before it trains.
struct TrainingData {
  std::int64_t samples = 0;
  std::uint64_t seed = 1;
  /// The features of all validation samples in their centre view; null: there are none.
  std::function<Batch()> validation = nullptr;
  std::vector<DomainSamples> domains = {};  // by index; empty where the data set has none
};

/// What a step makes the machine do, for the estimate before a run.
struct StepCost {
  std::int64_t contexts = 0;  // under which the text tower encodes every class, with gradients
  std::int64_t pictures = 0;  // that go through the image tower, with gradients
  std::int64_t weights = 0;   // learned numbers, all of the optimisers
  double passes = 3;          // through these for every sample: one forward, one backward for inputs, one for weights
};

/// One phase of training. It owns its backward and its updates: one optimiser, two, or no step at all.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual std::string name() const = 0;
  virtual int epochs() const = 0;
  virtual std::int64_t batch_size() const = 0;
  virtual StepCost cost() const { return {}; }
  /// Called before the first step of every epoch, also of the one that a resumed run continues.
  virtual void begin_epoch(int epoch) = 0;
  virtual Losses step(BatchSource& batches) = 0;
  /// Called after the last step of every epoch, before the state is measured and saved.
  virtual void end_epoch(int) {}
  /// Of the current epoch, for the log.
  virtual double learning_rate() const = 0;
  /// What a resumed run needs beyond the learner's own state: momenta, averages, counters.
  virtual TensorMap state() const = 0;
  virtual void load_state(const TensorMap& state) = 0;
  /// The domain whose samples alone the stage is trained and validated on; negative: those of all.
  virtual std::int64_t domain() const { return -1; }
  /// Logits [B, C] by which the best epoch is chosen; undefined: the classifier's.
  virtual Tensor validation_logits(const Batch&) { return {}; }
};

using Stages = std::vector<std::unique_ptr<Stage>>;

/// Anything that is learned against a frozen model.
class Learner {
 public:
  virtual ~Learner() = default;
  virtual Needs needs() const { return {}; }
  virtual Stages stages(const TrainingData& data) = 0;
  /// Exactly what an adapter stores, named by role.
  virtual TensorMap state() const = 0;
  /// Throws Error that names the tensor that is missing, unknown or of another shape.
  virtual void load_state(const TensorMap& state) = 0;
};

/// A learner that names images.
class Classifier : public Learner {
 public:
  /// Does it take class names that were not there in training?
  virtual bool open_vocabulary() const = 0;
  virtual void set_classes(const ClassNames& classes) = 0;
  /// [B, C], scaled by the model's logit scale, without gradients.
  virtual Tensor logits(const Batch& batch) = 0;
};

/// Copies `from` into `to` name by name; `where` is named in errors about missing, unknown or misshapen tensors.
void copy_state(const TensorMap& from, const TensorMap& to, const std::string& where);

/// Throws UsageError, in the name of `method`, unless `found` are the classes it was trained on, in their order.
void expect_trained_classes(const std::string& method, const std::vector<std::string>& trained,
                            const ClassNames& found);

/// The tensors without their graphs, sharing memory: what a learner's state is of the tensors that it learns.
TensorMap detached(const TensorMap& tensors);

/// Puts `part` into `all`, every name behind `prefix`; and takes it out again, without the prefix.
void add_state(TensorMap& all, const std::string& prefix, const TensorMap& part);
TensorMap part_of_state(const TensorMap& all, const std::string& prefix);

/// logit scale * cosine between image features [B, d] and class features [C, d]: [B, C].
Tensor cosine_logits(const Tensor& image_features, const Tensor& class_features, double logit_scale);

/// The same where every image has class features [B, C, d] of its own: [B, C].
Tensor cosine_logits_per_image(const Tensor& image_features, const Tensor& class_features, double logit_scale);

/// Rows divided by their length.
Tensor normalise_rows(const Tensor& features);

}  // namespace attune
