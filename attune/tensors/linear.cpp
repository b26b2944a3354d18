#include "attune/tensors/linear.h"

#include <mutex>
#include <optional>
#include <string_view>

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::optional<Tensor> optional_tensor(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

// oneDNN's packed kernels have no C++ header; they are reached through the dispatcher.
using PackedSignature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                               c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

bool packed_kernels_exist() {
  static const bool exist = at::hasMKLDNN() &&
                            c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""}).has_value() &&
                            c10::Dispatcher::singleton().findSchema({"mkldnn::_reorder_linear_weight", ""}).has_value();
  return exist;
}

Tensor pack(const Tensor& weight, std::int64_t rows) {
  static const auto reorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_linear_weight", "");
  std::vector<c10::IValue> stack{weight, rows};
  reorder.callBoxed(stack);
  return stack[0].toTensor();
}

Tensor packed_linear(const Tensor& input, const Tensor& packed, const Tensor& bias, std::string_view after) {
  static const auto linear =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<PackedSignature>();
  const auto algorithm = after == "gelu" ? std::optional<std::string_view>("none") : std::nullopt;
  return linear.call(input, packed, optional_tensor(bias), after, c10::List<std::optional<at::Scalar>>(), algorithm);
}

}  // namespace

/// The dense weights and, once they were needed, their packed forms.
struct FrozenWeights {
  Tensor weight, bias;
  std::mutex mutex;
  Tensor packed, packed_transposed;

  // Packed weights pay for matrices of fp32 on the CPU; a few rows are bound by memory, where packing gains nothing.
  bool pays(const Tensor& input) const {
    constexpr std::int64_t kFewRows = 8;
    return packed_kernels_exist() && input.is_cpu() && input.scalar_type() == at::kFloat &&
           weight.scalar_type() == at::kFloat && input.numel() >= kFewRows * weight.size(1);
  }

  Tensor packed_once(Tensor& slot, bool transposed, std::int64_t rows) {
    const std::lock_guard lock(mutex);
    if (!slot.defined()) slot = pack(transposed ? weight.t().contiguous() : weight, rows);
    return slot;
  }

  Tensor forward(const Tensor& input, std::string_view after = "none") {
    const at::AutoDispatchBelowAutograd below;
    if (!pays(input)) return at::linear(input, weight, optional_tensor(bias));
    return packed_linear(input, packed_once(packed, false, input.numel() / weight.size(1)), bias, after);
  }

  Tensor backward(const Tensor& gradient) {
    const at::AutoDispatchBelowAutograd below;
    if (!pays(gradient)) return at::matmul(gradient, weight);
    const Tensor dense = gradient.contiguous();
    return packed_linear(dense, packed_once(packed_transposed, true, dense.numel() / weight.size(0)), {}, "none");
  }
};

namespace {

/// Keeps the weights alive as long as a graph needs them.
struct Held : torch::CustomClassHolder {
  explicit Held(std::shared_ptr<FrozenWeights> shared) : weights(std::move(shared)) {}
  std::shared_ptr<FrozenWeights> weights;
};

struct FrozenLinearFunction : torch::autograd::Function<FrozenLinearFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const std::shared_ptr<FrozenWeights>& weights) {
    context->saved_data["weights"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(weights));
    return weights->forward(input);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto held = context->saved_data["weights"].toCapsule();
    return {static_cast<Held*>(held.get())->weights->backward(gradients[0]), Tensor()};
  }
};

bool wants_gradient(const Tensor& input) {
  return at::GradMode::is_enabled() && input.requires_grad();
}

}  // namespace

Tensor Linear::operator()(const Tensor& input) const {
  return at::linear(input, weight, optional_tensor(bias));
}

FrozenLinear::FrozenLinear(const Tensor& weight, const Tensor& bias) : weights_(std::make_shared<FrozenWeights>()) {
  weights_->weight = weight.detach().contiguous();
  if (bias.defined()) weights_->bias = bias.detach().contiguous();
}

Tensor FrozenLinear::operator()(const Tensor& input) const {
  return wants_gradient(input) ? FrozenLinearFunction::apply(input, weights_) : weights_->forward(input);
}

Tensor FrozenLinear::activated(const Tensor& input, Activation activation) const {
  if (wants_gradient(input) || activation == Activation::kQuickGelu || !weights_->pays(input)) {
    return activate((*this)(input), activation);
  }
  return weights_->forward(input, activation == Activation::kGelu ? "gelu" : "swish");
}

const Tensor& FrozenLinear::weight() const {
  return weights_->weight;
}
const Tensor& FrozenLinear::bias() const {
  return weights_->bias;
}

}  // namespace attune
