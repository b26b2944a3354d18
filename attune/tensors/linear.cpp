#include "attune/tensors/linear.h"

#include <mutex>
#include <optional>
#include <string_view>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attune/base/error.h"
#include "attune/tensors/packed_matrix.h"
#include "attune/tensors/processor.h"

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::optional<Tensor> optional_tensor(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

// oneDNN's packed kernels have no C++ header; they are reached through the dispatcher.
using OneDnnSignature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                               c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

bool onednn_exists() {
  static const bool kExists =
      at::hasMKLDNN() && c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""}).has_value() &&
      c10::Dispatcher::singleton().findSchema({"mkldnn::_reorder_linear_weight", ""}).has_value();
  return kExists;
}

Tensor onednn_pack(const Tensor& weight, std::int64_t rows) {
  static const auto kReorder = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_linear_weight", "");
  std::vector<c10::IValue> stack{weight, rows};
  kReorder.callBoxed(stack);
  return stack[0].toTensor();
}

Tensor onednn_linear(const Tensor& input, const Tensor& packed, const Tensor& bias) {
  static const auto kLinear =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<OneDnnSignature>();
  return kLinear.call(input, packed, optional_tensor(bias), "none", c10::List<std::optional<at::Scalar>>(),
                      std::nullopt);
}

enum class Kernel { kDense, kPacked, kOneDnn };

bool is_int8(at::ScalarType products) {
  return products == at::kChar;
}

const ProductKernel* own_kernel(at::ScalarType products) {
  if (is_int8(products)) return product_kernel(ProductType::kInt8);
  if (products == at::kBFloat16) return product_kernel(ProductType::kBFloat16);
  return products == at::kFloat ? product_kernel(ProductType::kFloat) : nullptr;
}

/// The one place that chooses: our own kernels where this processor has one, else oneDNN's where it has instructions
/// for the type, else LibTorch's.
Kernel kernel_for(const Tensor& weight, at::ScalarType products) {
  if (!weight.is_cpu()) return Kernel::kDense;
  if (own_kernel(products) != nullptr) return Kernel::kPacked;
  const bool fits = products == at::kFloat || (products == at::kBFloat16 && processor().bf16);
  return fits && onednn_exists() ? Kernel::kOneDnn : Kernel::kDense;
}

/// What a forward adds to x W^T + b, and what it leaves for the backward.
struct Product {
  bool quick_gelu = false;
  Tensor residual;
  Tensor before;  // out: x W^T + b, where `keep` asked for it
  bool keep = false;
};

}  // namespace

/// The dense weights and, once they were needed, their packed forms.
struct FrozenWeights {
  Tensor weight, bias;
  Tensor own_bias;  // fp32
  Kernel kernel = Kernel::kDense;
  const ProductKernel* own_product = nullptr;
  std::mutex mutex;
  PackedMatrix own, own_transposed;
  Tensor onednn, onednn_transposed;

  // oneDNN's packed form pays from a few rows on.
  bool uses_onednn(const Tensor& input) const {
    constexpr std::int64_t kFewRows = 8;
    return kernel == Kernel::kOneDnn && input.scalar_type() == at::kFloat && input.numel() >= kFewRows * input.size(-1);
  }
  bool uses_own(const Tensor& input) const {
    return kernel == Kernel::kPacked && input.is_cpu() && input.scalar_type() == at::kFloat;
  }

  const PackedMatrix& own_once(bool transposed) {
    const std::lock_guard lock(mutex);
    PackedMatrix& slot = transposed ? own_transposed : own;
    if (!slot.defined()) slot = PackedMatrix(*own_product, weight.to(at::kFloat), transposed);
    return slot;
  }

  Tensor onednn_once(bool transposed, std::int64_t rows) {
    const std::lock_guard lock(mutex);
    Tensor& slot = transposed ? onednn_transposed : onednn;
    if (!slot.defined()) slot = onednn_pack(transposed ? weight.t().contiguous() : weight, rows);
    return slot;
  }

  /// The input as products take it: 16-bit weights want 16 bits, others take what comes.
  Tensor for_products(const Tensor& input) const {
    return at::isReducedFloatingType(weight.scalar_type()) ? input.to(weight.scalar_type()) : input;
  }

  Tensor forward(const Tensor& input, Product& product) {
    const at::AutoDispatchBelowAutograd below;
    if (uses_own(input)) return own_forward(input.contiguous(), product);
    const Tensor rows = for_products(input);
    Tensor output = uses_onednn(rows) ? onednn_linear(rows, onednn_once(false, rows.numel() / rows.size(-1)), bias)
                                      : at::linear(rows, weight, optional_tensor(bias));
    if (product.quick_gelu) {
      product.before = output;
      output = activate(output, Activation::kQuickGelu);
    }
    output = output.to(input.scalar_type());
    return product.residual.defined() ? output.add_(product.residual) : output;
  }

  // Shows a product of our own kernel to observers of LibTorch's operations, such as profilers, which see all others.
  void run_own(const Tensor& input, float* output, const ProductEnd& end, const float* before, bool transposed) {
    RECORD_FUNCTION("attune::linear", std::vector<c10::IValue>({input, weight}));
    own_once(transposed).multiply(input.const_data_ptr<float>(), input.numel() / input.size(-1), output, end, before);
  }

  Tensor own_forward(const Tensor& input, Product& product) {
    auto shape = input.sizes().vec();
    shape.back() = weight.size(0);
    Tensor output = at::empty(shape, input.options());
    ProductEnd end;
    if (own_bias.defined()) end.bias = own_bias.const_data_ptr<float>();
    const Tensor residual = product.residual.defined() ? product.residual.contiguous() : Tensor();
    if (residual.defined()) end.residual = residual.const_data_ptr<float>();
    end.quick_gelu = product.quick_gelu;
    if (product.keep) {
      product.before = at::empty_like(output);
      end.before = product.before.mutable_data_ptr<float>();
    }
    run_own(input, output.mutable_data_ptr<float>(), end, nullptr, false);
    return output;
  }

  /// Gradient of the input; `before` is defined where QuickGELU followed.
  Tensor backward(const Tensor& gradient, const Tensor& before) {
    const at::AutoDispatchBelowAutograd below;
    Tensor dense = gradient.contiguous();
    if (uses_own(dense)) {
      auto shape = dense.sizes().vec();
      shape.back() = weight.size(1);
      Tensor output = at::empty(shape, dense.options());
      run_own(dense, output.mutable_data_ptr<float>(), {}, before.defined() ? before.const_data_ptr<float>() : nullptr,
              true);
      return output;
    }
    dense = for_products(dense);
    if (before.defined()) dense = at::silu_backward(dense, before * kQuickGeluFactor);
    const Tensor result = uses_onednn(dense)
                              ? onednn_linear(dense, onednn_once(true, dense.numel() / dense.size(-1)), {})
                              : at::matmul(dense, weight);
    return result.to(gradient.scalar_type());
  }
};

namespace {

/// Keeps the weights alive as long as a graph needs them.
struct HeldWeights : torch::CustomClassHolder {
  explicit HeldWeights(std::shared_ptr<FrozenWeights> shared) : weights(std::move(shared)) {}
  std::shared_ptr<FrozenWeights> weights;
};

struct FrozenLinearFunction : torch::autograd::Function<FrozenLinearFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const std::optional<Tensor>& residual,
                        const std::shared_ptr<FrozenWeights>& weights, bool quick_gelu) {
    Product product{quick_gelu, residual.value_or(Tensor()), {}, quick_gelu};
    Tensor output = weights->forward(input, product);
    context->saved_data["weights"] = c10::IValue::make_capsule(c10::make_intrusive<HeldWeights>(weights));
    context->saved_data["residual"] = residual.has_value();
    if (product.before.defined()) context->save_for_backward({product.before});
    return output;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto held = context->saved_data["weights"].toCapsule();
    const variable_list saved = context->get_saved_variables();
    Tensor input;
    if (context->needs_input_grad(0)) {
      input = static_cast<HeldWeights*>(held.get())
                  ->weights->backward(gradients[0], saved.empty() ? Tensor() : saved.front());
    }
    return {input, context->saved_data["residual"].toBool() ? gradients[0] : Tensor(), Tensor(), Tensor()};
  }
};

/// Is a gradient wanted? Bytes are too coarse for one.
bool wants_gradient(const Tensor& input, const FrozenWeights& weights) {
  const bool wanted = at::GradMode::is_enabled() && input.requires_grad();
  if (wanted && weights.own_product != nullptr && weights.own_product == product_kernel(ProductType::kInt8)) {
    throw Error("frozen layer: a gradient was asked for, but int8 products are for features alone");
  }
  return wanted;
}

}  // namespace

Tensor Linear::operator()(const Tensor& input) const {
  return at::linear(input, weight, optional_tensor(bias));
}

FrozenLinear::FrozenLinear(const Tensor& weight, const Tensor& bias, at::ScalarType products)
    : weights_(std::make_shared<FrozenWeights>()) {
  const auto held = [&](const Tensor& tensor) {
    const Tensor own = tensor.detach().contiguous();
    return at::isReducedFloatingType(products) ? own.to(products) : own;
  };
  weights_->weight = held(weight);
  if (bias.defined()) weights_->bias = held(bias);
  const at::ScalarType type = is_int8(products) ? products : weights_->weight.scalar_type();
  weights_->kernel = kernel_for(weights_->weight, type);
  if (weights_->kernel == Kernel::kPacked) {
    weights_->own_product = own_kernel(type);
    if (bias.defined()) weights_->own_bias = bias.detach().to(at::kFloat).contiguous();
  } else if (is_int8(products)) {
    throw Error("frozen layer: int8 products were asked for, but this processor has no instructions for them");
  }
}

Tensor FrozenLinear::operator()(const Tensor& input) const {
  if (wants_gradient(input, *weights_)) return FrozenLinearFunction::apply(input, std::nullopt, weights_, false);
  Product product;
  return weights_->forward(input, product);
}

Tensor FrozenLinear::activated(const Tensor& input, Activation activation) const {
  if (activation != Activation::kQuickGelu) return activate((*this)(input), activation);
  if (wants_gradient(input, *weights_)) return FrozenLinearFunction::apply(input, std::nullopt, weights_, true);
  Product product{true, {}, {}, false};
  return weights_->forward(input, product);
}

Tensor FrozenLinear::added(const Tensor& input, const Tensor& residual) const {
  if (wants_gradient(input, *weights_) || wants_gradient(residual, *weights_)) {
    return FrozenLinearFunction::apply(input, residual, weights_, false);
  }
  Product product{false, residual, {}, false};
  return weights_->forward(input, product);
}

const Tensor& FrozenLinear::weight() const {
  return weights_->weight;
}
const Tensor& FrozenLinear::bias() const {
  return weights_->bias;
}

}  // namespace attune
