#include "attune/optim/optimiser.h"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

/// What PyTorch adds to a norm before it divides by it.
constexpr double kClipMargin = 1e-6;

std::string shape_text(const Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

/// Copies `state` into tensors that are made like the parameter's; every name must be known and every shape fit.
void load_role(const TensorMap& state, const std::string& name, const Tensor& like, Tensor& into, std::size_t& used) {
  const auto found = state.find(name);
  if (found == state.end()) {
    into = Tensor();
    return;
  }
  if (found->second.sizes() != like.sizes()) {
    throw Error(fmt::format("optimiser state '{}': expected shape {}, found {}", name, shape_text(like),
                            shape_text(found->second)));
  }
  into = found->second.to(like.options().requires_grad(false), /*non_blocking=*/false, /*copy=*/true);
  ++used;
}

void check_all_used(const TensorMap& state, std::size_t used) {
  if (used != state.size()) {
    throw Error(fmt::format("optimiser state: expected only tensors of the known parameters, found {} others",
                            state.size() - used));
  }
}

class Sgd final : public Optimiser {
 public:
  Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options)
      : Optimiser(std::move(groups)), options_(options) {}

  void step(double learning_rate) override {
    at::NoGradGuard no_grad;
    for (const ParameterGroup& group : groups_) {
      for (const Parameter& parameter : group.parameters) {
        update(parameter, group.weight_decay, learning_rate * group.learning_rate_factor);
      }
    }
  }

  TensorMap state() const override {
    TensorMap state;
    for (const auto& [name, buffer] : momenta_) state[name + ".momentum"] = buffer;
    return state;
  }

  void load_state(const TensorMap& state) override {
    std::size_t used = 0;
    momenta_.clear();
    for (const ParameterGroup& group : groups_) {
      for (const Parameter& parameter : group.parameters) {
        Tensor buffer;
        load_role(state, parameter.name + ".momentum", parameter.value, buffer, used);
        if (buffer.defined()) momenta_[parameter.name] = buffer;
      }
    }
    check_all_used(state, used);
  }

 private:
  void update(const Parameter& parameter, double weight_decay, double rate) {
    const Tensor& value = parameter.value;
    if (!value.grad().defined()) return;
    Tensor change = value.grad();
    if (weight_decay != 0.0) change = change.add(value, weight_decay);
    if (options_.momentum != 0.0) {
      Tensor& buffer = momenta_[parameter.name];
      if (buffer.defined()) {
        buffer.mul_(options_.momentum).add_(change, 1.0 - options_.dampening);
      } else {
        buffer = change.clone();
      }
      change = options_.nesterov ? change.add(buffer, options_.momentum) : buffer;
    }
    Tensor(value).add_(change, -rate);
  }

  SgdOptions options_;
  TensorMap momenta_;
};

/// Adam by LibTorch's fused kernels, the same that PyTorch runs with fused=True.
class Adam final : public Optimiser {
 public:
  Adam(std::vector<ParameterGroup> groups, const AdamOptions& options)
      : Optimiser(std::move(groups)), options_(options) {}

  void step(double learning_rate) override {
    at::NoGradGuard no_grad;
    for (const ParameterGroup& group : groups_) {
      update(group, learning_rate * group.learning_rate_factor);
    }
  }

  TensorMap state() const override {
    TensorMap state;
    for (const auto& [name, moments] : moments_) {
      state[name + ".exp_avg"] = moments.mean;
      state[name + ".exp_avg_sq"] = moments.square;
      state[name + ".step"] = moments.step;
    }
    return state;
  }

  void load_state(const TensorMap& state) override {
    std::size_t used = 0;
    moments_.clear();
    for (const ParameterGroup& group : groups_) {
      for (const Parameter& parameter : group.parameters) {
        Moments moments;
        load_role(state, parameter.name + ".exp_avg", parameter.value, moments.mean, used);
        load_role(state, parameter.name + ".exp_avg_sq", parameter.value, moments.square, used);
        load_role(state, parameter.name + ".step", at::zeros({}, parameter.value.options()), moments.step, used);
        if (moments.mean.defined() != moments.square.defined() || moments.mean.defined() != moments.step.defined()) {
          throw Error(fmt::format("optimiser state '{}': expected exp_avg, exp_avg_sq and step, found only some",
                                  parameter.name));
        }
        if (moments.mean.defined()) moments_[parameter.name] = moments;
      }
    }
    check_all_used(state, used);
  }

 private:
  struct Moments {
    Tensor mean, square;
    Tensor step;  // scalar
  };

  void update(const ParameterGroup& group, double rate) {
    std::vector<Tensor> values, gradients, means, squares, steps;
    for (const Parameter& parameter : group.parameters) {
      if (!parameter.value.grad().defined()) continue;
      Moments& moments = moments_[parameter.name];
      if (!moments.mean.defined()) {
        moments.mean = at::zeros_like(parameter.value);
        moments.square = at::zeros_like(moments.mean);
        moments.step = at::zeros({}, moments.mean.options());
      }
      moments.step.add_(1);
      values.push_back(parameter.value);
      gradients.push_back(parameter.value.grad());
      means.push_back(moments.mean);
      squares.push_back(moments.square);
      steps.push_back(moments.step);
    }
    if (values.empty()) return;
    if (options_.decoupled) {
      at::_fused_adamw_(values, gradients, means, squares, {}, steps, rate, options_.beta1, options_.beta2,
                        group.weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
    } else {
      at::_fused_adam_(values, gradients, means, squares, {}, steps, rate, options_.beta1, options_.beta2,
                       group.weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
    }
  }

  AdamOptions options_;
  std::map<std::string, Moments> moments_;
};

}  // namespace

std::vector<Parameter> parameters_of(const TensorMap& tensors) {
  std::vector<Parameter> parameters;
  for (const auto& [name, tensor] : tensors) parameters.push_back({name, tensor});
  return parameters;
}

void Optimiser::zero_gradients() {
  for (const ParameterGroup& group : groups_) {
    for (const Parameter& parameter : group.parameters) Tensor(parameter.value).mutable_grad() = Tensor();
  }
}

std::unique_ptr<Optimiser> make_sgd(std::vector<ParameterGroup> groups, const SgdOptions& options) {
  if (options.nesterov && (options.momentum <= 0.0 || options.dampening != 0.0)) {
    throw UsageError(fmt::format("SGD: Nesterov momentum needs momentum > 0 and dampening 0, found {} and {}",
                                 options.momentum, options.dampening));
  }
  return std::make_unique<Sgd>(std::move(groups), options);
}

std::unique_ptr<Optimiser> make_adam(std::vector<ParameterGroup> groups, const AdamOptions& options) {
  return std::make_unique<Adam>(std::move(groups), options);
}

double clip_gradient_norm(const std::vector<ParameterGroup>& groups, double limit) {
  at::NoGradGuard no_grad;
  std::vector<Tensor> gradients;
  for (const ParameterGroup& group : groups) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.value.grad().defined()) gradients.push_back(parameter.value.grad());
    }
  }
  if (gradients.empty()) return 0.0;
  const Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)), 2);
  const Tensor factor = (limit / (norm + kClipMargin)).clamp_max(1.0);
  // At or under the limit the factor is 1 up to rounding, and multiplying would only cost time.
  if (factor.item<double>() < 1.0) at::_foreach_mul_(gradients, factor);
  return norm.item<double>();
}

void clip_each_gradient(const std::vector<ParameterGroup>& groups) {
  const at::NoGradGuard no_grad;
  for (const ParameterGroup& group : groups) {
    if (group.clip_each <= 0) continue;
    for (const Parameter& parameter : group.parameters) {
      if (!parameter.value.grad().defined()) continue;
      const double norm = parameter.value.grad().norm().item<double>();
      if (norm > group.clip_each) Tensor(parameter.value).mutable_grad().mul_(group.clip_each / (norm + kClipMargin));
    }
  }
}

void check_finite(const std::vector<ParameterGroup>& groups, std::int64_t step) {
  at::NoGradGuard no_grad;
  // A sum is finite only if all entries are; the entries themselves are looked at only where it is not.
  const auto finite = [](const Tensor& values) {
    return std::isfinite(values.sum().item<double>()) || values.isfinite().all().item<bool>();
  };
  for (const ParameterGroup& group : groups) {
    for (const Parameter& parameter : group.parameters) {
      const Tensor& gradient = parameter.value.grad();
      if (gradient.defined() && !finite(gradient)) {
        throw Error(fmt::format("step {}: expected finite numbers, found others in the gradient of '{}'", step,
                                parameter.name));
      }
      if (!finite(parameter.value)) {
        throw Error(fmt::format("step {}: expected finite numbers, found others in '{}'", step, parameter.name));
      }
    }
  }
}

double Schedule::at(int epoch) const {
  const int warm = warmup == Warmup::kNone ? 0 : warmup_epochs;
  if (epoch < warm) {
    if (warmup == Warmup::kConstant || epoch == 0) return warmup_rate;
    return base * epoch / warm;
  }
  if (kind == Kind::kConstant) return base;
  return last + (base - last) * (1.0 + std::cos(M_PI * (epoch - warm) / epochs)) / 2.0;
}

}  // namespace attune
