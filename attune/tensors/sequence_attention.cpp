#include "attune/tensors/sequence_attention.h"

#include <torch/csrc/autograd/custom_function.h>

#include "attune/tensors/parallel.h"
#include "attune/tensors/processor.h"
#include "attune/tensors/sequence_kernel.h"

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

double operations_of(const Tensor& fused, const std::vector<Sequence>& sequences) {
  return 4.0 * static_cast<double>(fused.numel() * longest_sequence(sequences));
}

Tensor forward_of(const Tensor& fused, std::int64_t heads, const std::vector<Sequence>& sequences,
                  std::int64_t outputs) {
  const std::int64_t width = fused.size(1) / 3, size = width / heads;
  Tensor output = at::empty({outputs, width}, fused.options());
  const auto* rows = fused.const_data_ptr<float>();
  auto* mixed = output.mutable_data_ptr<float>();
  const SequenceKernel& kernel = *sequence_kernel();
  in_parallel(heads, operations_of(fused, sequences), [&](std::int64_t head) {
    kernel.attend({rows, width, size, head}, sequences, mixed + head * size, width);
  });
  return output;
}

/// Keeps the list of sequences alive as long as a graph needs it.
struct HeldSequences : torch::CustomClassHolder {
  explicit HeldSequences(Sequences shared) : sequences(std::move(shared)) {}
  Sequences sequences;
};

struct AttendSequences : torch::autograd::Function<AttendSequences> {
  static Tensor forward(AutogradContext* context, const Tensor& fused, std::int64_t heads, const Sequences& sequences,
                        std::int64_t outputs) {
    const at::AutoDispatchBelowAutograd below;
    context->save_for_backward({fused});
    context->saved_data["heads"] = heads;
    context->saved_data["sequences"] = c10::IValue::make_capsule(c10::make_intrusive<HeldSequences>(sequences));
    return forward_of(fused, heads, *sequences, outputs);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::AutoDispatchBelowAutograd below;
    const Tensor fused = context->get_saved_variables().front(), dense = gradients[0].contiguous();
    const auto held = context->saved_data["sequences"].toCapsule();
    const auto& sequences = *static_cast<HeldSequences*>(held.get())->sequences;
    const std::int64_t heads = context->saved_data["heads"].toInt(), width = fused.size(1) / 3, size = width / heads;
    const Tensor result = at::zeros_like(fused);
    const auto* rows = fused.const_data_ptr<float>();
    const auto* mixed = dense.const_data_ptr<float>();
    auto* written = result.mutable_data_ptr<float>();
    const SequenceKernel& kernel = *sequence_kernel();
    in_parallel(heads, operations_of(fused, sequences), [&](std::int64_t head) {
      kernel.backward({rows, width, size, head}, {written, width, size, head}, sequences, mixed + head * size, width);
    });
    return {result, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

bool attends_sequences(const Tensor& fused, std::int64_t heads) {
  return sequence_kernel() != nullptr && fused.is_cpu() && fused.scalar_type() == at::kFloat &&
         fused.size(1) / 3 / heads % 8 == 0;
}

Tensor attend_sequences(const Tensor& fused, std::int64_t heads, const Sequences& sequences, std::int64_t outputs) {
  const Tensor rows = fused.contiguous();
  if (at::GradMode::is_enabled() && fused.requires_grad()) {
    return AttendSequences::apply(rows, heads, sequences, outputs);
  }
  return forward_of(rows, heads, *sequences, outputs);
}

}  // namespace attune
