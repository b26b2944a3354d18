#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/tensors/tensor.h"

namespace attune {

struct Parameter {
  std::string name;
  Tensor value;  // a leaf that requires a gradient
};

/// Tensors as parameters, in the order of their names.
std::vector<Parameter> parameters_of(const TensorMap& tensors);

/// Parameters that share settings.
struct ParameterGroup {
  std::vector<Parameter> parameters;
  double learning_rate_factor = 1.0;
  double weight_decay = 0.0;
  double clip_each = 0.0;  // limit of every tensor's own gradient norm; 0: none
};

/// Updates parameters from their gradients, with the arithmetic of PyTorch's optimiser of the same name.
class Optimiser {
 public:
  virtual ~Optimiser() = default;
  virtual void step(double learning_rate) = 0;
  void zero_gradients();
  /// Momenta and counters, named "<parameter>.<role>", for checkpoints.
  virtual TensorMap state() const = 0;
  virtual void load_state(const TensorMap& state) = 0;
  const std::vector<ParameterGroup>& groups() const { return groups_; }

 protected:
  explicit Optimiser(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {}
  std::vector<ParameterGroup> groups_;
};

struct SgdOptions {
  double momentum = 0.9, dampening = 0.0;
  bool nesterov = false;
};
struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  bool decoupled = true;  // AdamW; false: Adam, with the weight decay added to the gradient
};
std::unique_ptr<Optimiser> make_sgd(std::vector<ParameterGroup> groups, const SgdOptions& options);
std::unique_ptr<Optimiser> make_adam(std::vector<ParameterGroup> groups, const AdamOptions& options);

/// Scales all gradients so that their joint norm is at most `limit`; returns the norm before.
double clip_gradient_norm(const std::vector<ParameterGroup>& groups, double limit);

/// Scales the gradient of each tensor, by itself, to at most its group's `clip_each`, as PyTorch's clip_grad_norm_
/// scales it; gradients at or under the limit stay as they are.
void clip_each_gradient(const std::vector<ParameterGroup>& groups);

/// Throws Error that names the first parameter whose gradient or value is not finite, and `step`.
void check_finite(const std::vector<ParameterGroup>& groups, std::int64_t step);

/// The learning rate of an epoch as Dassl computes it: warm-up (constant, linear or none), then cosine, step or
/// constant.
struct Schedule {
  enum class Kind { kCosine, kConstant } kind = Kind::kCosine;
  enum class Warmup { kNone, kConstant, kLinear } warmup = Warmup::kConstant;
  double base = 0.002;
  double warmup_rate = 1e-5;
  int warmup_epochs = 1;
  int epochs = 50;
  double last = 0.0;  // where the cosine ends

  double at(int epoch) const;
};

}  // namespace attune
